//go:build !unix && !windows

package vfs

import (
	"os"
	"syscall"
)

const (
	openFileFlags = 0
	openDirFlags  = 0
)

// errsNoSpace are, besides ENOSPC, the errors of a full device.
var errsNoSpace = []error{syscall.EDQUOT, syscall.EFBIG}

// errTooManyFiles is what the system says when a process has no descriptor left.
const errTooManyFiles = syscall.EMFILE

// DescriptorLimit reports that there is no limit to be known.
func DescriptorLimit() (n int, ok bool) { return 0, false }

func openOSFile(name string, flag int) (*os.File, error) {
	return os.OpenFile(name, flag, fileMode)
}

// openLockFile opens the lock file of a directory.
func openLockFile(o *osRoot, _ *os.File, name string, flag int) (*os.File, error) {
	return o.open(name, flag)
}

func syncOSDir(f *os.File) error { return f.Sync() }

// passing: nothing passes by itself here.
func passing(error) bool { return false }
