//go:build unix

package vfs

import (
	"errors"
	"math"
	"os"
	"syscall"
)

// O_NONBLOCK keeps the open of a FIFO from waiting for its other end; on a
// regular file it has no effect.
const openFileFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC | syscall.O_NOCTTY

const openDirFlags = syscall.O_NONBLOCK | syscall.O_CLOEXEC

// errsNoSpace are the errors of a full device besides ENOSPC. RLIMIT_FSIZE
// causes EFBIG; the Go runtime ignores the SIGXFSZ that comes with it.
var errsNoSpace = []error{syscall.EDQUOT, syscall.EFBIG}

// errTooManyFiles is the error of a process that has no descriptor left.
const errTooManyFiles = syscall.EMFILE

// DescriptorLimit returns how many descriptors the process may have: the soft
// limit of RLIMIT_NOFILE, which the Go runtime raises to the hard limit when it
// starts.
func DescriptorLimit() (n int, ok bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return int(min(uint64(r.Cur), math.MaxInt32)), true
}

func openOSFile(name string, flag int) (*os.File, error) {
	return os.OpenFile(name, flag|openFileFlags, fileMode)
}

// openLockFile opens the lock file of a directory.
func openLockFile(o *osRoot, _ *os.File, name string, flag int) (*os.File, error) {
	return o.open(name, flag)
}

func syncOSDir(f *os.File) error { return f.Sync() }

// passing reports whether err is an interruption by a signal, which the os
// package does not hide in every call.
func passing(err error) bool { return errors.Is(err, syscall.EINTR) }
