package vfs

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// openDirFlags are empty: os.OpenFile adds FILE_FLAG_BACKUP_SEMANTICS, which a
// directory needs, to an open for reading.
const openDirFlags = 0

// openFileFlags are for os.Root, which shares deletion and opens no reparse
// point by default.
const openFileFlags = 0

// errsNoSpace are the errors of a full device besides ENOSPC. Windows returns
// the ERROR ones, a fault injector those of Unix.
var errsNoSpace = []error{
	windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED,
	windows.ERROR_FILE_TOO_LARGE, syscall.EDQUOT, syscall.EFBIG,
}

// errTooManyFiles is the error of a process that has no descriptor left.
const errTooManyFiles = windows.ERROR_TOO_MANY_OPEN_FILES

// DescriptorLimit returns false: there is no known limit.
func DescriptorLimit() (n int, ok bool) { return 0, false }

// openOSFile opens with FILE_SHARE_DELETE, which os.OpenFile does not: a table
// may be removed while a reader of an older state has it open.
func openOSFile(name string, flag int) (*os.File, error) {
	return createFile(name, flag, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE)
}

// openLockFile opens without FILE_SHARE_DELETE, so that the file can be neither
// removed nor renamed while it is open: a recreated lock file would let a
// second writer in. It uses the current path of the open directory.
func openLockFile(_ *osRoot, dir *os.File, name string, flag int) (*os.File, error) {
	path, err := pathOf(dir)
	if err != nil {
		return nil, err
	}
	return createFile(path+`\`+name, flag, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE)
}

// pathOf returns the path of an open directory.
func pathOf(dir *os.File) (string, error) {
	raw, err := dir.SyscallConn()
	if err != nil {
		return "", err
	}
	buf := make([]uint16, windows.MAX_LONG_PATH)
	var n uint32
	err = control(raw, func(fd uintptr) (err error) {
		n, err = windows.GetFinalPathNameByHandle(windows.Handle(fd), &buf[0], uint32(len(buf)), 0)
		return err
	})
	switch {
	case err != nil:
	case n > uint32(len(buf)):
		err = windows.ERROR_FILENAME_EXCED_RANGE
	default:
		return windows.UTF16ToString(buf[:n]), nil
	}
	return "", PathError("path of", dir.Name(), err)
}

func createFile(name string, flag int, share uint32) (*os.File, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, PathError("open", name, err)
	}
	access := uint32(windows.GENERIC_READ)
	if flag&os.O_RDWR != 0 {
		access |= windows.GENERIC_WRITE
	}
	create := uint32(windows.OPEN_EXISTING)
	switch {
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		create = windows.CREATE_NEW
	case flag&os.O_CREATE != 0:
		create = windows.OPEN_ALWAYS
	}
	// Open the reparse point itself, not what it leads to; it is then refused
	// as not regular.
	const attrs = windows.FILE_ATTRIBUTE_NORMAL | windows.FILE_FLAG_OPEN_REPARSE_POINT
	h, err := windows.CreateFile(path, access, share, nil, create, attrs, 0)
	if err != nil {
		return nil, PathError("open", name, err)
	}
	return os.NewFile(uintptr(h), name), nil
}

// syncOSDir does nothing: NTFS journals names, and no call makes it do so
// sooner. A power cut may lose the newest ones.
func syncOSDir(*os.File) error { return nil }

func (o *osFile) sync() error { return o.f.Sync() }

func (o *osFile) preallocate(int64) error { return nil }

// usage returns the usage of the volume of an open directory.
func usage(f *os.File) (free, total uint64, err error) {
	name, err := pathOf(f)
	if err != nil {
		return 0, 0, err
	}
	path, err := windows.UTF16PtrFromString(name)
	if err == nil {
		err = windows.GetDiskFreeSpaceEx(path, &free, &total, nil)
	}
	return free, total, PathError("usage", f.Name(), err)
}

// passing reports whether another program has the file open without sharing the
// access that was asked for. ERROR_ACCESS_DENIED is the error of a rename over
// such a file, and over one that is being deleted.
func passing(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_LOCK_VIOLATION) ||
		errors.Is(err, windows.ERROR_ACCESS_DENIED)
}
