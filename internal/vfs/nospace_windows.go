package vfs

import (
	"errors"
	"syscall"
)

// The codes that Windows has for a full disk, which package syscall does not
// map to ENOSPC.
const (
	errorHandleDiskFull syscall.Errno = 39
	errorDiskFull       syscall.Errno = 112
	errorDiskQuota      syscall.Errno = 1295
)

func isNoSpaceHere(err error) bool {
	return errors.Is(err, errorHandleDiskFull) || errors.Is(err, errorDiskFull) || errors.Is(err, errorDiskQuota)
}
