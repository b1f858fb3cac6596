package seerdb_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// descriptorFS is a file system for a process with few descriptors.
type descriptorFS struct {
	vfs.FS
	limit int

	mu      sync.Mutex
	open    int // guarded by mu
	refused int // guarded by mu
}

func newDescriptorFS(inner vfs.FS, limit int) *descriptorFS {
	return &descriptorFS{FS: inner, limit: limit}
}

func (d *descriptorFS) take(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.limit {
		d.refused++
		return &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	d.open++
	return nil
}

func (d *descriptorFS) give() {
	d.mu.Lock()
	d.open--
	d.mu.Unlock()
}

// counts returns how many descriptors are in use, and how many were refused.
func (d *descriptorFS) counts() (open, refused int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open, d.refused
}

// opened opens something that takes a descriptor until it is closed.
func opened[T any](d *descriptorFS, name string, open func(string) (T, error)) (T, error) {
	if err := d.take(name); err != nil {
		var none T
		return none, err
	}
	f, err := open(name)
	if err != nil {
		d.give()
	}
	return f, err
}

func (d *descriptorFS) OpenRoot(name string) (vfs.Root, error) {
	root, err := opened(d, name, d.FS.OpenRoot)
	if err != nil {
		return nil, err
	}
	return &descriptorRoot{descriptorView{root, d}, root, closing{d: d}}, nil
}

// descriptorView is what is opened below a root; it takes from the same
// descriptors.
type descriptorView struct {
	vfs.FS
	d *descriptorFS
}

func (v *descriptorView) Create(name string) (vfs.File, error) {
	f, err := opened(v.d, name, v.FS.Create)
	if err != nil {
		return nil, err
	}
	return &descriptorFile{File: f, closing: closing{d: v.d}}, nil
}

func (v *descriptorView) Open(name string) (vfs.File, error) {
	f, err := opened(v.d, name, v.FS.Open)
	if err != nil {
		return nil, err
	}
	return &descriptorFile{File: f, closing: closing{d: v.d}}, nil
}

func (v *descriptorView) OpenDir(name string) (vfs.Dir, error) {
	f, err := opened(v.d, name, v.FS.OpenDir)
	if err != nil {
		return nil, err
	}
	return &descriptorDir{Dir: f, closing: closing{d: v.d}}, nil
}

func (v *descriptorView) List(name string) ([]string, error) {
	names, err := opened(v.d, name, v.FS.List)
	if err == nil {
		v.d.give()
	}
	return names, err
}

type descriptorRoot struct {
	descriptorView
	root vfs.Root
	closing
}

func (r *descriptorRoot) Lock(name string) (io.Closer, error) {
	f, err := opened(r.descriptorView.d, name, r.root.Lock)
	if err != nil {
		return nil, err
	}
	return &descriptorLock{c: f, closing: closing{d: r.descriptorView.d}}, nil
}

func (r *descriptorRoot) LockShared(name string) (io.Closer, error) { return r.root.LockShared(name) }

func (r *descriptorRoot) Close() error { return r.close(r.root) }

type closing struct {
	d    *descriptorFS
	once sync.Once
}

func (c *closing) close(f io.Closer) error {
	c.once.Do(c.d.give)
	return f.Close()
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

// fewestDescriptors is what docs/GUARANTEES.md says that a database with one
// compaction at a time can do everything with: the directory twice, lock, two manifests,
// five logs, two files each for a flush, a compaction and a load, and one to read.
const fewestDescriptors = 16

// TestModelWithFewDescriptors is the model test on a machine that refuses to
// open more than so many files: no operation may fail for it.
func TestModelWithFewDescriptors(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	ops := *modelOps
	if ops == 0 {
		ops = 300
		if testing.Short() {
			ops = 60
		}
	}
	for _, limit := range []int{fewestDescriptors, 64, 256} {
		for i, c := range configs() {
			name := fmt.Sprintf("%d/%s", limit, c.name)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c.o.Jobs = 1
				r := &modelRun{t: t, config: c, g: testkit.NewGen(seed+uint64(i), 200, 120), m: testkit.NewModel(), fs: vfs.NewMem(), limit: limit}
				defer func() {
					if t.Failed() {
						t.Logf("reproduce with: go test -run 'TestModelWithFewDescriptors/%s$' -model.seed %d -model.ops %d", name, seed, ops)
					}
				}()
				r.run(ops)
			})
		}
	}
}

// TestMetricsOpenNoTable: what describes a database leaves its files alone, and
// what a caller asks of all indexes keeps to the limit.
func TestMetricsOpenNoTable(t *testing.T) {
	o, to := tiny()
	o.OpenFiles = 3
	mem := vfs.NewMem()
	to.FS, to.ManualOnly, to.L0Trigger = mem, true, 100
	db, err := seerdb.Open("db", o.With(to))
	must(t, err)
	for i := range 20 {
		must(t, db.Put(fmt.Appendf(nil, "key%02d", i), make([]byte, 300)))
		must(t, db.Flush(context.Background()))
	}
	must(t, db.Close())
	counting := newDescriptorFS(mem, 1000)
	to.FS = counting
	db = open(t, "db", o.With(to))
	before, _ := counting.counts()
	if m := db.Metrics(); m.Files.Opens != 0 || m.Files.Open != 0 || m.Files.Limit != 3 || m.Index.Tables != 0 || m.Levels[0].Files != 20 {
		t.Errorf("metrics: %+v, index %+v", m.Files, m.Index)
	}
	db.Health()
	if after, _ := counting.counts(); after != before {
		t.Errorf("metrics opened %d files", after-before)
	}
	x, err := db.IndexMetrics(context.Background())
	must(t, err)
	if x.Tables != 20 || x.Entries != 20 {
		t.Errorf("indexes: %+v", x)
	}
	for i := range 20 {
		if v, err := db.Get(fmt.Appendf(nil, "key%02d", i)); err != nil || len(v) != 300 {
			t.Fatalf("key %d: %d bytes, %v", i, len(v), err)
		}
	}
	m := db.Metrics()
	if after, _ := counting.counts(); m.Files.Open != 3 || after != before+3 || m.Index != x {
		t.Errorf("%d descriptors besides %d; %+v, index %+v", after-before, before, m.Files, m.Index)
	}
}

// TestVerifyKeepsToTheLimit: a table may refer to more value files than there are
// descriptors, and is verified all the same.
func TestVerifyKeepsToTheLimit(t *testing.T) {
	o, to := tiny()
	d := newDescriptorFS(vfs.NewMem(), fewestDescriptors)
	o.TableSize, o.ValueThreshold, o.MemtableSize, o.Jobs, to.FS, to.ManualOnly = 2<<10, 200, 1<<20, 1, d, true
	db := open(t, "db", o.With(to))
	value, random := make([]byte, 2<<10), rand.NewChaCha8([32]byte{1}) // so that it does not compress
	for i := range 100 {
		_, _ = random.Read(value)
		must(t, db.Put(fmt.Appendf(nil, "%03d", i), value))
	}
	must(t, db.Flush(context.Background()))
	report, err := db.Verify(context.Background())
	if must(t, err); !report.Clean() || report.ValueFiles < 3*fewestDescriptors {
		t.Fatalf("%d value files: %v", report.ValueFiles, report.Damage)
	}
}
