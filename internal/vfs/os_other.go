//go:build !linux && !darwin && !windows

package vfs

import (
	"errors"
	"os"
)

func (o *osFile) sync() error { return o.f.Sync() }

func (o *osFile) preallocate(int64) error { return nil }

// usage returns the usage of the file system of an open directory.
func usage(f *os.File) (free, total uint64, err error) {
	return 0, 0, PathError("statfs", f.Name(), errors.ErrUnsupported)
}
