//go:build !windows

package vfs

func isNoSpaceHere(error) bool { return false }
