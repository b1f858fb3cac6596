package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// prepareConsole prepares the terminal for the line editor's control sequences,
// those of the VT100: a console of Windows follows them only when asked to.
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
