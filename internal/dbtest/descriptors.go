package dbtest

import (
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// DescriptorFS is a file system for a process with few descriptors.
type DescriptorFS struct {
	vfs.FS
	Limit int

	Mu      sync.Mutex
	open    int            // guarded by mu
	Peak    int            // guarded by mu; the maximum of open
	refused int            // guarded by mu
	Uses    map[string]int // guarded by mu; descriptors by use
	Most    map[string]int // guarded by mu; the maxima of Uses
}

// NewDescriptorFS returns a file system that opens at most limit files at a
// time.
func NewDescriptorFS(inner vfs.FS, limit int) *DescriptorFS {
	return &DescriptorFS{FS: inner, Limit: limit, Uses: map[string]int{}, Most: map[string]int{}}
}

func (d *DescriptorFS) take(name, use string, n int) error {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	if d.open+n > d.Limit {
		d.refused++
		return &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	d.open += n
	d.Peak = max(d.Peak, d.open)
	d.Uses[use] += n
	d.Most[use] = max(d.Most[use], d.Uses[use])
	return nil
}

func (d *DescriptorFS) give(use string, n int) {
	d.Mu.Lock()
	d.open -= n
	d.Uses[use] -= n
	d.Mu.Unlock()
}

// Counts returns how many descriptors are in use, and how many opens were
// refused.
func (d *DescriptorFS) Counts() (open, refused int) {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	return d.open, d.refused
}

// Has checks the most descriptors that a use had.
func (d *DescriptorFS) Has(t *testing.T, use string, want int) {
	t.Helper()
	d.Mu.Lock()
	defer d.Mu.Unlock()
	if d.Most[use] != want {
		t.Errorf("%d descriptors at most for %s; want %d", d.Most[use], use, want)
	}
}

// written returns the use of a file that is written: the output of a job, a
// log, or another, by its name.
func written(name string) string {
	switch t, _, _ := base.ParseFileName(path.Base(name)); t {
	case base.FileTypeTable, base.FileTypePack, base.FileTypeValues:
		return "output"
	case base.FileTypeLog:
		return "log"
	case base.FileTypeManifest:
		return "manifest"
	case base.FileTypeTemp:
		return "temporary"
	}
	return path.Base(name)
}

// opened opens something that takes descriptors until it is closed.
func opened[T any](d *DescriptorFS, name, use string, n int, open func(string) (T, error)) (T, closing, error) {
	if err := d.take(name, use, n); err != nil {
		var none T
		return none, closing{}, err
	}
	f, err := open(name)
	if err != nil {
		d.give(use, n)
	}
	return f, closing{func() { d.give(use, n) }, new(sync.Once)}, err
}

func (d *DescriptorFS) OpenRoot(name string) (vfs.Root, error) {
	root, c, err := opened(d, name, "root", 1, d.FS.OpenRoot)
	if err != nil {
		return nil, err
	}
	return &descriptorRoot{descriptorView{root, d}, root, c}, nil
}

// descriptorView is a root of a DescriptorFS; it takes from the same
// descriptors.
type descriptorView struct {
	vfs.FS
	d *DescriptorFS
}

func (v *descriptorView) Create(name string) (vfs.File, error) {
	f, c, err := opened(v.d, name, written(name), 1, v.FS.Create)
	if err != nil {
		return nil, err
	}
	return &descriptorFile{f, c}, nil
}

func (v *descriptorView) Open(name string) (vfs.File, error) {
	f, c, err := opened(v.d, name, "read", 1, v.FS.Open)
	if err != nil {
		return nil, err
	}
	return &descriptorFile{f, c}, nil
}

func (v *descriptorView) OpenDir(name string) (vfs.Dir, error) {
	f, c, err := opened(v.d, name, "directory", 1, v.FS.OpenDir)
	if err != nil {
		return nil, err
	}
	return &descriptorDir{f, c}, nil
}

func (v *descriptorView) List(name string) ([]string, error) {
	names, c, err := opened(v.d, name, "list", 1, v.FS.List)
	if err == nil {
		c.once.Do(c.give)
	}
	return names, err
}

func (v *descriptorView) Usage(name string) (free, total uint64, err error) {
	if err := v.d.take(name, "usage", 1); err != nil {
		return 0, 0, err
	}
	defer v.d.give("usage", 1)
	return v.FS.Usage(name)
}

type descriptorRoot struct {
	descriptorView
	root vfs.Root
	closing
}

// Lock takes two descriptors, as on systems where directories can be locked.
func (r *descriptorRoot) Lock(name string) (io.Closer, error) {
	f, c, err := opened(r.d, name, "lock", 2, r.root.Lock)
	if err != nil {
		return nil, err
	}
	return &descriptorLock{f, c}, nil
}

func (r *descriptorRoot) LockShared(name string) (io.Closer, error) { return r.root.LockShared(name) }

func (r *descriptorRoot) Close() error { return r.close(r.root) }

type closing struct {
	give func()
	once *sync.Once
}

func (c *closing) close(f io.Closer) error {
	err := f.Close()
	c.once.Do(c.give)
	return err
}

type descriptorFile struct {
	vfs.File
	closing
}

func (f *descriptorFile) Close() error { return f.close(f.File) }

type descriptorDir struct {
	vfs.Dir
	closing
}

func (f *descriptorDir) Close() error { return f.close(f.Dir) }

type descriptorLock struct {
	c io.Closer
	closing
}

func (f *descriptorLock) Close() error { return f.close(f.c) }

const (
	// OutputsOfJob is how many descriptors a job needs to write: for a value
	// file, eight tables that wait for it, and a pack.
	OutputsOfJob = 10
	// FewestDescriptors is the limit with which, as docs/GUARANTEES.md says, a
	// database with one compaction at a time can do everything except bulk
	// loads: its own, those of three jobs (a flush, a compaction and a
	// Compact), and two to read.
	FewestDescriptors = 19 + 3*OutputsOfJob + 2
	// OneAtATime is enough for the model test, which does one thing at a time.
	OneAtATime = 16
)

// OpenDescriptors returns how many descriptors the process has open, on Linux.
func OpenDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	Must(t, err)
	return len(list)
}
