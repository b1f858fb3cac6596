package faultfs

import (
	"io"
	"io/fs"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// faultView is an FS seen from one of its directories.
type faultView struct {
	f     *FS    // immutable
	inner vfs.FS // immutable
	dir   string // immutable; the directory's name when it was opened, for rules and errors
}

var (
	_ vfs.FS   = (*FS)(nil)
	_ vfs.Root = (*faultRoot)(nil)
)

// full returns a name as seen from outside the directory.
func (v *faultView) full(name string) string {
	if v.dir == "" {
		return name
	}
	return v.inner.PathJoin(v.dir, name)
}

// do performs an operation that a rule may replace.
func (v *faultView) do(op OpKind, verb, name string, call func() error) error {
	return v.f.do(op, verb, v.full(name), call)
}

// Create implements FS.
func (v *faultView) Create(name string) (file vfs.File, err error) {
	err = v.do(OpCreate, "create", name, func() error {
		file, err = v.inner.Create(name)
		return err
	})
	return v.wrap(file, name, err)
}

// Open implements FS.
func (v *faultView) Open(name string) (file vfs.File, err error) {
	err = v.do(OpOpen, "open", name, func() error {
		file, err = v.inner.Open(name)
		return err
	})
	return v.wrap(file, name, err)
}

// wrap returns the file, or closes one that was opened only to fail.
func (v *faultView) wrap(file vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		if file != nil {
			_ = file.Close()
		}
		return nil, err
	}
	return &faultFile{fs: v.f, inner: file, name: v.full(name)}, nil
}

// OpenDir implements FS.
func (v *faultView) OpenDir(name string) (vfs.Dir, error) {
	var dir vfs.Dir
	err := v.do(OpOpen, "open", name, func() (err error) {
		dir, err = v.inner.OpenDir(name)
		return err
	})
	if err != nil {
		if dir != nil {
			_ = dir.Close()
		}
		return nil, err
	}
	return &faultDir{fs: v.f, inner: dir, name: v.full(name)}, nil
}

// OpenRoot implements FS.
func (v *faultView) OpenRoot(name string) (vfs.Root, error) {
	var root vfs.Root
	err := v.do(OpOpen, "open", name, func() (err error) {
		root, err = v.inner.OpenRoot(name)
		return err
	})
	if err != nil {
		if root != nil {
			_ = root.Close()
		}
		return nil, err
	}
	return &faultRoot{faultView{v.f, root, v.full(name)}, root}, nil
}

// Rename implements FS. A rule's pattern is matched against the old name.
func (v *faultView) Rename(oldName, newName string) error {
	return v.do(OpRename, "rename", oldName, func() error { return v.inner.Rename(oldName, newName) })
}

// Remove implements FS.
func (v *faultView) Remove(name string) error {
	return v.do(OpRemove, "remove", name, func() error { return v.inner.Remove(name) })
}

// MkdirAll implements FS.
func (v *faultView) MkdirAll(name string) error {
	return v.do(OpMkdir, "mkdir", name, func() error { return v.inner.MkdirAll(name) })
}

// List implements FS.
func (v *faultView) List(dir string) (names []string, err error) {
	err = v.do(OpList, "list", dir, func() error {
		names, err = v.inner.List(dir)
		return err
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

// Stat implements FS.
func (v *faultView) Stat(name string) (info fs.FileInfo, err error) {
	err = v.do(OpStat, "stat", name, func() error {
		info, err = v.inner.Stat(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

// Usage implements FS.
func (v *faultView) Usage(name string) (free, total uint64, err error) {
	err = v.do(OpStat, "usage", name, func() error {
		free, total, err = v.inner.Usage(name)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	return free, total, nil
}

// PathJoin implements FS.
func (v *faultView) PathJoin(elem ...string) string { return v.inner.PathJoin(elem...) }

// faultRoot is a directory of an FS. Closing it never fails.
type faultRoot struct {
	faultView
	root vfs.Root // immutable
}

// Lock implements Root.
func (r *faultRoot) Lock(name string) (io.Closer, error) { return r.lock(name, r.root.Lock) }

// LockShared implements Root.
func (r *faultRoot) LockShared(name string) (io.Closer, error) {
	return r.lock(name, r.root.LockShared)
}

func (r *faultRoot) lock(name string, take func(string) (io.Closer, error)) (lock io.Closer, err error) {
	err = r.do(OpLock, "lock", name, func() error {
		lock, err = take(name)
		return err
	})
	if err != nil {
		if lock != nil {
			_ = lock.Close()
		}
		return nil, err
	}
	return lock, nil
}

// Close implements Root.
func (r *faultRoot) Close() error { return r.root.Close() }
