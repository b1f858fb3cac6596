//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"os"
	"syscall"
)

// lockDir locks a directory. If the file system cannot do that it returns true,
// and the lock file has to do.
func lockDir(f *os.File, shared bool) (bool, error) {
	ok, err := flock(f, shared)
	if errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EINVAL) || noLocks(err) {
		return true, nil
	}
	return ok, err
}

// lockFile locks the lock file. On a file system without locks a reader
// succeeds, since no writer can have a lock there.
func lockFile(f *os.File, shared bool) (bool, error) {
	ok, err := flock(f, shared)
	if shared && noLocks(err) {
		return true, nil
	}
	return ok, err
}

func noLocks(err error) bool {
	return errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) ||
		errors.Is(err, syscall.ENOLCK)
}

// flock returns false if another open file holds a lock that excludes this one.
// Unlike a lock of fcntl, it belongs to the open file: closing another
// descriptor of this process does not release it.
func flock(f *os.File, shared bool) (bool, error) {
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	err = control(raw, func(fd uintptr) error { return syscall.Flock(int(fd), how|syscall.LOCK_NB) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
