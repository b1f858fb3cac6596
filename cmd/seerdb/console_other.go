//go:build !windows

package main

// prepareConsole prepares the terminal for the line editor's control sequences.
func prepareConsole() (restore func(), err error) { return func() {}, nil }
