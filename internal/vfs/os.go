package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/seerdb-go/seerdb/internal/base"
)

// OS is the file system of the operating system.
//
// Files are made with mode 0600 and directories with 0700 whatever the umask
// says, are closed on exec, and are never opened through a symbolic link as
// the last element of a name. The os package underneath loops over EINTR and
// short reads and writes.
var OS FS = osFS{}

// osFS implements FS. What differs between systems is in os_<system>.go and
// lock_<system>.go.
type osFS struct{}

const (
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

// Create implements FS.
func (osFS) Create(name string) (File, error) {
	f, err := openOSFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err := exactMode(f, fileMode); err != nil {
		// Nobody else may use the name yet: the creation was exclusive.
		return nil, errors.Join(err, f.Close(), os.Remove(name))
	}
	return newOSFile(f)
}

// exactMode undoes what the umask took away. The umask cannot add anything, so
// a file system without such modes (FAT) is left in peace.
func exactMode(f *os.File, want fs.FileMode) error {
	if runtime.GOOS == "windows" {
		return nil // access is inherited from the directory's list there
	}
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&want == want {
		return err
	}
	return f.Chmod(want)
}

// Open implements FS.
func (osFS) Open(name string) (File, error) {
	f, err := openRegular(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return newOSFile(f)
}

// openRegular opens an existing file, or one that flag says to create, if it
// is regular. Whatever else the name leads to, the open does not wait for it.
func openRegular(name string, flag int) (*os.File, error) {
	f, err := openOSFile(name, flag)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = pathError("open", name, errNotRegular)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// OpenDir implements FS.
func (osFS) OpenDir(name string) (Dir, error) {
	f, err := openOSDir(name)
	if err != nil {
		return nil, err
	}
	return osDir{f}, nil
}

// openOSDir opens a directory. Its own name may be a symbolic link: where the
// database lies is for the user to say.
func openOSDir(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|openDirFlags, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() {
		err = pathError("open", name, syscall.ENOTDIR)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Rename implements FS.
func (osFS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// Remove implements FS.
func (osFS) Remove(name string) error { return os.Remove(name) }

// MkdirAll implements FS. Directories that exist keep their mode.
func (osFS) MkdirAll(name string) error {
	name = filepath.Clean(name)
	if done, err := isDir(name); done || err != nil {
		return err
	}
	if parent := filepath.Dir(name); parent != name {
		if err := (osFS{}).MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(name, dirMode); err != nil {
		// Someone else may have been quicker.
		if done, statErr := isDir(name); done || statErr != nil {
			return statErr
		}
		return err
	}
	// The mode first, the children then: a umask that takes away the owner's
	// bits would keep us out.
	info, err := os.Stat(name)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&dirMode == dirMode {
		return err
	}
	return os.Chmod(name, dirMode)
}

// isDir reports whether name is a directory, or leads to one. That it is
// something else is an error.
func isDir(name string) (bool, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.IsDir():
		return false, pathError("mkdir", name, syscall.ENOTDIR)
	}
	return true, nil
}

// List implements FS.
func (osFS) List(dir string) ([]string, error) {
	f, err := openOSDir(dir)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, errors.Join(err, f.Close())
}

// Stat implements FS.
func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// PathJoin implements FS.
func (osFS) PathJoin(elem ...string) string { return filepath.Join(elem...) }

// osFile implements File.
type osFile struct {
	f   *os.File        // immutable
	raw syscall.RawConn // immutable; guards the descriptor against a concurrent Close
}

func newOSFile(f *os.File) (File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &osFile{f: f, raw: raw}, nil
}

// ReadAt implements File.
func (o *osFile) ReadAt(p []byte, off int64) (int, error) { return o.f.ReadAt(p, off) }

// Write implements File. The descriptor's own offset is the end of the file:
// only this handle writes, and Truncate moves it. O_APPEND would do the same
// on Unix, but on Windows it takes away the right to truncate.
func (o *osFile) Write(p []byte) (int, error) { return o.f.Write(p) }

// Sync implements File.
func (o *osFile) Sync() error { return pathError("sync", o.f.Name(), o.sync()) }

// Truncate implements File.
func (o *osFile) Truncate(size int64) error {
	length, err := o.Size()
	if err != nil {
		return err
	}
	if size < 0 || size > length {
		return pathError("truncate", o.f.Name(), fs.ErrInvalid)
	}
	if err := o.f.Truncate(size); err != nil {
		return err
	}
	_, err = o.f.Seek(size, 0)
	return err
}

// Preallocate implements File.
func (o *osFile) Preallocate(size int64) error {
	return pathError("preallocate", o.f.Name(), o.preallocate(size))
}

// Size implements File.
func (o *osFile) Size() (int64, error) {
	info, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Close implements File.
func (o *osFile) Close() error { return o.f.Close() }

// control runs a system call on the descriptor, again as long as a signal
// interrupts it.
func (o *osFile) control(call func(fd uintptr) error) error {
	var callErr error
	err := o.raw.Control(func(fd uintptr) {
		for {
			if callErr = call(fd); !errors.Is(callErr, syscall.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return fs.ErrClosed // the one reason there is
	}
	return callErr
}

// osDir implements Dir.
type osDir struct{ f *os.File }

// Sync implements Dir.
func (d osDir) Sync() error { return syncOSDir(d.f) }

// Close implements Dir.
func (d osDir) Close() error { return d.f.Close() }

// IsNoSpace reports whether a write or a creation failed for lack of room: the
// device, the quota, or the largest size a file may have. Such an error goes
// away by itself. It says nothing about a failed sync, whatever its errno.
func IsNoSpace(err error) bool {
	for _, full := range errsNoSpace {
		if errors.Is(err, full) {
			return true
		}
	}
	return errors.Is(err, base.ErrNoSpace) || errors.Is(err, syscall.ENOSPC)
}
