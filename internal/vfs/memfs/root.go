package memfs

import (
	"io"
	"path"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// memRoot implements Root. It holds the node, so the directory's name does not
// matter, nor whether it still has one.
type memRoot struct{ memView }

var _ vfs.Root = (*memRoot)(nil)

// OpenRoot implements FS.
func (v *memView) OpenRoot(name string) (vfs.Root, error) {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	n, err := v.dirLocked(name)
	if err != nil {
		return nil, v.err("open", name, err)
	}
	return &memRoot{memView{m: v.m, root: n, dir: path.Join(v.dir, name)}}, nil
}

// Close implements Root.
func (r *memRoot) Close() error {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	r.shut = true
	return nil
}

// Lock implements Root. Clones do not inherit locks: the process that held them
// died in the crash.
func (r *memRoot) Lock(name string) (io.Closer, error) {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	_, _, n, err := r.find(name)
	if err == nil && r.m.locks[r.root] != 0 {
		err = base.ErrLocked
	}
	if err == nil && n == nil {
		_, err = r.createLocked(name)
	}
	if err != nil {
		return nil, r.err("lock", name, err)
	}
	r.m.locks[r.root] = -1
	return &memLock{root: r}, nil
}

// LockShared implements Root.
func (r *memRoot) LockShared(name string) (io.Closer, error) {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	_, err := r.walk(nil)
	if err == nil && r.m.locks[r.root] < 0 {
		err = base.ErrLocked
	}
	if err != nil {
		return nil, r.err("lock", name, err)
	}
	r.m.locks[r.root]++
	return &memLock{root: r}, nil
}

type memLock struct {
	root *memRoot // immutable
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		m, n := l.root.m, l.root.root
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.locks[n]--; m.locks[n] <= 0 {
			delete(m.locks, n)
		}
	})
	return nil
}
