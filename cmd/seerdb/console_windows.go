package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// prepareConsole makes the terminal understand what the line editor writes: the
// control sequences of VT100, which a console of Windows follows when told to.
func prepareConsole() (restore func(), err error) {
	out := windows.Handle(os.Stdout.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(out, &mode); err != nil {
		return nil, err
	}
	if err := windows.SetConsoleMode(out, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING); err != nil {
		return nil, err
	}
	return func() { _ = windows.SetConsoleMode(out, mode) }, nil
}
