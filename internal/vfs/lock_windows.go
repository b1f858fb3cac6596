package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockDir has nothing to do: a file in use cannot be replaced by another of
// its name there, so that the lock file is enough.
func lockDir(*os.File) (bool, error) { return true, nil }

// lockFile locks a byte far behind the content: locks are mandatory there, and
// the process number must stay readable.
func lockFile(f *os.File) (bool, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var callErr error
	err = raw.Control(func(fd uintptr) {
		const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
		callErr = windows.LockFileEx(windows.Handle(fd), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1})
	})
	switch {
	case err != nil:
		return false, err
	case errors.Is(callErr, windows.ERROR_LOCK_VIOLATION):
		return false, nil
	}
	return callErr == nil, callErr
}
