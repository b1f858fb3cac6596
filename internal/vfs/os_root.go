package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// osRoot implements Root with os.Root, which works relative to an open
// directory where the system can (openat and the like, NtCreateFile on
// Windows). On Plan 9 and js it uses the path.
//
// os.Root follows symbolic links that stay inside; osRoot follows none as the
// last element of a name.
type osRoot struct {
	r *os.Root // immutable
}

// OpenRoot implements FS.
func (osFS) OpenRoot(name string) (Root, error) {
	info, err := os.Stat(name)
	if err := mustBeDir(name, info, err); err != nil {
		return nil, err
	}
	r, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &osRoot{r}, nil
}

// mustBeDir returns an error unless name is a directory. It is called before
// os.Root, whose own error has no errno, and which would wait for the other end
// of a FIFO.
func mustBeDir(name string, info fs.FileInfo, err error) error {
	if err == nil && !info.IsDir() {
		err = PathError("open", name, syscall.ENOTDIR)
	}
	return err
}

// local returns a name in os.Root's form.
func local(name string) string {
	if name == "" {
		return "."
	}
	return name
}

// err replaces the names in an error of os.Root by those that the user knows.
func (o *osRoot) err(op, name string, err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		err = p.Err
	case errors.As(err, &l):
		err = l.Err
	}
	return PathError(op, filepath.Join(o.r.Name(), name), err)
}

// open opens a file that is not a symbolic link. If one takes its place at this
// very moment that does no harm: os.Root does not leave the directory.
func (o *osRoot) open(name string, flag int) (*os.File, error) {
	info, err := o.r.Lstat(name)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		err = ErrNotRegular
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) && flag&os.O_CREATE != 0 {
		var f *os.File
		if f, err = o.r.OpenFile(name, flag|openFileFlags, fileMode); err == nil {
			return f, nil
		}
	}
	return nil, o.err("open", name, err)
}

// Create implements FS.
func (o *osRoot) Create(name string) (File, error) {
	f, err := o.r.OpenFile(local(name), os.O_RDWR|os.O_CREATE|os.O_EXCL|openFileFlags, fileMode)
	if err != nil {
		err = o.err("create", name, err)
		if errors.Is(err, fs.ErrNotExist) && filepath.Base(name) == name {
			// A plain name needs only the directory.
			err = fmt.Errorf("the directory %s was removed while it was open: %w", o.r.Name(), err)
		}
		return nil, err
	}
	if err := exactMode(f, fileMode); err != nil {
		return nil, errors.Join(err, f.Close(), o.Remove(name))
	}
	return newOSFile(f)
}

// Open implements FS.
func (o *osRoot) Open(name string) (File, error) {
	f, err := regular(o.open(local(name), os.O_RDONLY))
	if err != nil {
		return nil, err
	}
	return newOSFile(f)
}

// openDir opens the directory itself or one inside.
func (o *osRoot) openDir(name string) (*os.File, error) {
	f, err := o.r.OpenFile(local(name), os.O_RDONLY|openDirFlags, 0)
	if err != nil {
		return nil, o.err("open", name, err)
	}
	return directory(f, nil)
}

// OpenDir implements FS.
func (o *osRoot) OpenDir(name string) (Dir, error) {
	f, err := o.openDir(name)
	if err != nil {
		return nil, err
	}
	return osDir{f}, nil
}

// OpenRoot implements FS.
func (o *osRoot) OpenRoot(name string) (Root, error) {
	name = local(name)
	info, err := o.r.Stat(name)
	if err := mustBeDir(name, info, err); err != nil {
		return nil, o.err("open", name, err)
	}
	r, err := o.r.OpenRoot(name)
	if err != nil {
		return nil, o.err("open", name, err)
	}
	return &osRoot{r}, nil
}

// Rename implements FS.
func (o *osRoot) Rename(oldName, newName string) error {
	return o.err("rename", oldName, patiently(func() error { return o.r.Rename(local(oldName), local(newName)) }))
}

// Remove implements FS.
func (o *osRoot) Remove(name string) error { return o.err("remove", name, o.r.Remove(local(name))) }

// MkdirAll implements FS.
func (o *osRoot) MkdirAll(name string) error {
	return o.err("mkdir", name, mkdirAll(dirMaker{o.r.Stat, o.r.Mkdir, o.r.Chmod}, name))
}

// List implements FS.
func (o *osRoot) List(dir string) ([]string, error) { return listNames(o.openDir(dir)) }

// Stat implements FS.
func (o *osRoot) Stat(name string) (fs.FileInfo, error) {
	info, err := o.r.Lstat(local(name))
	return info, o.err("stat", name, err)
}

// Usage implements FS for the directory itself: everything inside is on the
// same file system.
func (o *osRoot) Usage(string) (free, total uint64, err error) {
	f, err := o.openDir("")
	if err != nil {
		return 0, 0, err
	}
	free, total, err = usage(f)
	return free, total, errors.Join(err, f.Close())
}

// PathJoin implements FS.
func (o *osRoot) PathJoin(elem ...string) string { return filepath.Join(elem...) }

// Close implements Root.
func (o *osRoot) Close() error { return o.r.Close() }
