package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockDir does nothing: the lock file is enough, since it cannot be removed or
// replaced while it is open (see openLockFile).
func lockDir(*os.File, bool) (bool, error) { return true, nil }

// lockFile locks a byte far beyond the content: locks are mandatory there, and
// the process id must stay readable.
func lockFile(f *os.File, shared bool) (bool, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if !shared {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err = control(raw, func(fd uintptr) error {
		return windows.LockFileEx(windows.Handle(fd), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1})
	})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}
