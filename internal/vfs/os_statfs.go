//go:build darwin || linux

package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// fstatfs describes the file system of an open file. Its error has no path yet.
func fstatfs(f *os.File) (st unix.Statfs_t, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return st, err
	}
	err = control(raw, func(fd uintptr) error { return unix.Fstatfs(int(fd), &st) })
	return st, err
}
