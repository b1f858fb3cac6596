package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// sync does fdatasync: it syncs the bytes, and the metadata that is needed to
// read them back, which includes the size.
func (o *osFile) sync() error {
	return o.control(func(fd uintptr) error { return unix.Fdatasync(int(fd)) })
}

func (o *osFile) preallocate(size int64) error {
	if size <= 0 {
		return nil
	}
	err := o.control(func(fd uintptr) error {
		return unix.Fallocate(int(fd), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// usage returns the usage of the file system of an open directory.
func usage(f *os.File) (free, total uint64, err error) {
	st, err := fstatfs(f)
	unit := uint64(st.Frsize)
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	return st.Bavail * unit, st.Blocks * unit, PathError("fstatfs", f.Name(), err)
}
