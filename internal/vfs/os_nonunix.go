//go:build !unix && !windows

package vfs

import (
	"os"
	"syscall"
)

const openDirFlags = 0

// errsNoSpace are, besides ENOSPC, the errors of a full device.
var errsNoSpace = []error{syscall.EDQUOT, syscall.EFBIG}

func openOSFile(name string, flag int) (*os.File, error) {
	return os.OpenFile(name, flag, fileMode)
}

func syncOSDir(f *os.File) error { return f.Sync() }
