//go:build unix

package vfs

import (
	"os"
	"syscall"
)

// O_NONBLOCK keeps the open of a FIFO from waiting for its other end; on a
// regular file it means nothing.
const openFileFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC | syscall.O_NOCTTY

const openDirFlags = syscall.O_NONBLOCK | syscall.O_CLOEXEC

// errsNoSpace are, besides ENOSPC, the errors of a full device. EFBIG is what
// RLIMIT_FSIZE gives; the Go runtime ignores the SIGXFSZ that comes with it.
var errsNoSpace = []error{syscall.EDQUOT, syscall.EFBIG}

func openOSFile(name string, flag int) (*os.File, error) {
	return os.OpenFile(name, flag|openFileFlags, fileMode)
}

func syncOSDir(f *os.File) error { return f.Sync() }
