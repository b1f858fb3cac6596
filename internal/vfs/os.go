package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// OS is the file system of the operating system.
//
// Files are made with mode 0600 and directories with 0700, whatever the umask.
// They are closed on exec, and never opened through a symbolic link as the last
// element of a name. The os package underneath loops over EINTR and short reads
// and writes.
var OS FS = osFS{}

// osFS implements FS. The differences between systems are in os_<system>.go and
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
		// Only this process knows the name: the creation was exclusive.
		return nil, errors.Join(err, f.Close(), os.Remove(name))
	}
	return newOSFile(f)
}

// exactMode restores what the umask took away. The umask cannot add anything,
// so nothing is done on a file system without such modes (FAT).
func exactMode(f *os.File, want fs.FileMode) error {
	if runtime.GOOS == "windows" {
		return nil // access is inherited from the directory's list on Windows
	}
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&want == want {
		return err
	}
	return f.Chmod(want)
}

// Open implements FS.
func (osFS) Open(name string) (File, error) {
	f, err := regular(openOSFile(name, os.O_RDONLY))
	if err != nil {
		return nil, err
	}
	return newOSFile(f)
}

// regular closes an open file that is not regular, and returns an error.
func regular(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = PathError("open", f.Name(), ErrNotRegular)
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

// openOSDir opens a directory. Its own name may be a symbolic link, since users
// choose where a database is.
func openOSDir(name string) (*os.File, error) {
	return directory(os.OpenFile(name, os.O_RDONLY|openDirFlags, 0))
}

// directory closes an open file that is not a directory, and returns an error.
func directory(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() {
		err = PathError("open", f.Name(), syscall.ENOTDIR)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Rename implements FS.
func (osFS) Rename(oldName, newName string) error {
	return patiently(func() error { return os.Rename(oldName, newName) })
}

// Remove implements FS.
func (osFS) Remove(name string) error { return os.Remove(name) }

// MkdirAll implements FS.
func (osFS) MkdirAll(name string) error {
	return mkdirAll(dirMaker{os.Stat, os.Mkdir, os.Chmod}, name)
}

// dirMaker has the operations that mkdirAll needs.
type dirMaker struct {
	stat  func(name string) (fs.FileInfo, error)
	mkdir func(name string, mode fs.FileMode) error
	chmod func(name string, mode fs.FileMode) error
}

// mkdirAll makes a directory and its parents. Existing ones keep their mode.
func mkdirAll(d dirMaker, name string) error {
	name = filepath.Clean(name)
	if done, err := d.isDir(name); done || err != nil {
		return err
	}
	if parent := filepath.Dir(name); parent != name {
		if err := mkdirAll(d, parent); err != nil {
			return err
		}
	}
	if err := d.mkdir(name, dirMode); err != nil {
		// Another process may have made it first.
		if done, statErr := d.isDir(name); done || statErr != nil {
			return statErr
		}
		return err
	}
	// Set the mode before making children: a umask that takes away the owner's
	// bits would keep this process out.
	info, err := d.stat(name)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&dirMode == dirMode {
		return err
	}
	return d.chmod(name, dirMode)
}

// isDir reports whether name is a directory, or leads to one. If it is
// something else that is an error.
func (d dirMaker) isDir(name string) (bool, error) {
	info, err := d.stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.IsDir():
		return false, PathError("mkdir", name, syscall.ENOTDIR)
	}
	return true, nil
}

// List implements FS.
func (osFS) List(dir string) ([]string, error) { return listNames(openOSDir(dir)) }

// listNames reads an open directory and closes it.
func listNames(f *os.File, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, errors.Join(err, f.Close())
}

// Stat implements FS.
func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// Usage implements FS.
func (osFS) Usage(name string) (free, total uint64, err error) {
	f, err := openOSDir(name)
	if err != nil {
		return 0, 0, err
	}
	free, total, err = usage(f)
	return free, total, errors.Join(err, f.Close())
}

// PathJoin implements FS.
func (osFS) PathJoin(elem ...string) string { return filepath.Join(elem...) }

// patience is how long an operation is repeated that fails for a reason that
// passes.
const patience = 2 * time.Second

// patiently repeats an operation, for a bounded time, while it fails for a
// reason that passes: a signal or, on Windows, another program (a virus
// scanner, an indexer, a backup) that has the file open.
func patiently(call func() error) error {
	var waited time.Duration
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := call()
		if err == nil || waited >= patience || !passing(err) {
			return err
		}
		time.Sleep(pause)
		waited += pause
	}
}

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
// only this handle writes, and Truncate moves the offset. O_APPEND would do the
// same on Unix, but on Windows it takes away the right to truncate.
func (o *osFile) Write(p []byte) (int, error) { return o.f.Write(p) }

// Sync implements File.
func (o *osFile) Sync() error { return PathError("sync", o.f.Name(), o.sync()) }

// Truncate implements File.
func (o *osFile) Truncate(size int64) error {
	length, err := o.Size()
	if err != nil {
		return err
	}
	if size < 0 || size > length {
		return PathError("truncate", o.f.Name(), fs.ErrInvalid)
	}
	if err := o.f.Truncate(size); err != nil {
		return err
	}
	_, err = o.f.Seek(size, 0)
	return err
}

// Preallocate implements File.
func (o *osFile) Preallocate(size int64) error {
	return PathError("preallocate", o.f.Name(), o.preallocate(size))
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

// control runs a system call on the descriptor.
func (o *osFile) control(call func(fd uintptr) error) error { return control(o.raw, call) }

// control runs a system call on a descriptor, and repeats it when a signal
// interrupts it.
func control(raw syscall.RawConn, call func(fd uintptr) error) error {
	var callErr error
	err := raw.Control(func(fd uintptr) {
		for {
			if callErr = call(fd); !errors.Is(callErr, syscall.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return fs.ErrClosed // the only possible reason
	}
	return callErr
}

// osDir implements Dir.
type osDir struct{ f *os.File }

// Sync implements Dir.
func (d osDir) Sync() error { return syncOSDir(d.f) }

// Close implements Dir.
func (d osDir) Close() error { return d.f.Close() }

// IsTooManyFiles reports whether an open failed because the process, or the
// machine, has no descriptor left.
func IsTooManyFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, errTooManyFiles)
}
