//go:build !windows

package main

// prepareConsole makes the terminal understand what the line editor writes.
func prepareConsole() (restore func(), err error) { return func() {}, nil }
