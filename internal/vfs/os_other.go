//go:build !linux && !darwin && !windows

package vfs

import "errors"

func (o *osFile) sync() error { return o.f.Sync() }

func (o *osFile) preallocate(int64) error { return nil }

// Usage implements FS.
func (osFS) Usage(name string) (free, total uint64, err error) {
	return 0, 0, pathError("statfs", name, errors.ErrUnsupported)
}
