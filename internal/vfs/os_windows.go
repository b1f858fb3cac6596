package vfs

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// FILE_FLAG_BACKUP_SEMANTICS, which a directory needs, is what os.OpenFile
// adds by itself to an open for reading.
const openDirFlags = 0

// errsNoSpace are, besides ENOSPC, the errors of a full device. Windows itself
// gives the ERROR ones, a fault injector those of Unix.
var errsNoSpace = []error{
	windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED,
	windows.ERROR_FILE_TOO_LARGE, syscall.EDQUOT, syscall.EFBIG,
}

// openOSFile opens with FILE_SHARE_DELETE, which os.OpenFile does not: a table
// may be removed while a reader of an older state still has it open.
func openOSFile(name string, flag int) (*os.File, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, pathError("open", name, err)
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
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	// The reparse point itself is opened, not what it leads to; it is then
	// refused as not regular.
	const attrs = windows.FILE_ATTRIBUTE_NORMAL | windows.FILE_FLAG_OPEN_REPARSE_POINT
	h, err := windows.CreateFile(path, access, share, nil, create, attrs, 0)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return os.NewFile(uintptr(h), name), nil
}

// syncOSDir has nothing to do: NTFS journals names, and there is no call to
// hurry it. A power cut may lose the newest ones.
func syncOSDir(*os.File) error { return nil }

func (o *osFile) sync() error { return o.f.Sync() }

func (o *osFile) preallocate(int64) error { return nil }

// Usage implements FS.
func (osFS) Usage(name string) (free, total uint64, err error) {
	path, err := windows.UTF16PtrFromString(name)
	if err == nil {
		err = windows.GetDiskFreeSpaceEx(path, &free, &total, nil)
	}
	return free, total, pathError("usage", name, err)
}
