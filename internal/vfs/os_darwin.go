package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// sync does F_FULLFSYNC, through os.File.Sync: fsync alone leaves the data in
// the drive's cache on Darwin.
func (o *osFile) sync() error { return o.f.Sync() }

func (o *osFile) preallocate(size int64) error {
	have, err := o.Size()
	if err != nil || size <= have {
		return err
	}
	store := unix.Fstore_t{Flags: unix.F_ALLOCATEALL, Posmode: unix.F_PEOFPOSMODE, Length: size - have}
	err = o.control(func(fd uintptr) error {
		return unix.FcntlFstore(fd, unix.F_PREALLOCATE, &store)
	})
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// usage returns the usage of the file system of an open directory.
func usage(f *os.File) (free, total uint64, err error) {
	st, err := fstatfs(f)
	unit := uint64(st.Bsize)
	return st.Bavail * unit, st.Blocks * unit, PathError("fstatfs", f.Name(), err)
}
