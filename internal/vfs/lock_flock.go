//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"os"
	"syscall"
)

// lockDir locks a directory. Where the file system cannot do that it answers
// true, and the lock file has to do.
func lockDir(f *os.File, shared bool) (bool, error) {
	ok, err := flock(f, shared)
	if errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EINVAL) || noLocks(err) {
		return true, nil
	}
	return ok, err
}

// lockFile locks the lock file. A reader goes without where the file system has
// no locks, since no writer can have one there.
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

// flock answers false when another open file holds a lock that excludes this
// one. Unlike a lock of fcntl, this one belongs to the open file: another
// descriptor of this process does not release it by closing.
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
