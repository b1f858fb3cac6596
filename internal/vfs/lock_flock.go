//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"os"
	"syscall"
)

// lockDir locks a directory. Where the file system cannot do that it answers
// true, and the lock file has to do.
func lockDir(f *os.File) (bool, error) {
	ok, err := flock(f)
	if errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EINVAL) {
		return true, nil
	}
	return ok, err
}

func lockFile(f *os.File) (bool, error) { return flock(f) }

// flock answers false when someone else holds the lock. Unlike a lock of
// fcntl, this one belongs to the open file: another descriptor of this process
// does not release it by closing.
func flock(f *os.File) (bool, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var callErr error
	err = raw.Control(func(fd uintptr) {
		for {
			if callErr = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(callErr, syscall.EINTR) {
				return
			}
		}
	})
	switch {
	case err != nil:
		return false, err
	case errors.Is(callErr, syscall.EWOULDBLOCK):
		return false, nil
	}
	return callErr == nil, callErr
}
