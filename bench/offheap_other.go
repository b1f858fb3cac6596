//go:build !unix

package main

func offHeap[T any](n int) []T { return make([]T, n) }
