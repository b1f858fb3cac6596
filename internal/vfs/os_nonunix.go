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

// errsNoSpace are the errors of a full device besides ENOSPC.
var errsNoSpace = []error{syscall.EDQUOT, syscall.EFBIG}

// errTooManyFiles is the error of a process that has no descriptor left.
const errTooManyFiles = syscall.EMFILE

// DescriptorLimit returns false: there is no known limit.
func DescriptorLimit() (n int, ok bool) { return 0, false }

func openOSFile(name string, flag int) (*os.File, error) {
	return os.OpenFile(name, flag, fileMode)
}

// openLockFile opens the lock file of a directory.
func openLockFile(o *osRoot, _ *os.File, name string, flag int) (*os.File, error) {
	return o.open(name, flag)
}

func syncOSDir(f *os.File) error { return f.Sync() }

// passing returns false: no errors pass on these systems.
func passing(error) bool { return false }
