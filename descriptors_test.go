package seerdb_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"sync"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// descriptorFS is a file system for a process with few descriptors.
type descriptorFS struct {
	vfs.FS
	limit int

	mu      sync.Mutex
	open    int            // guarded by mu
	peak    int            // guarded by mu; of open
	refused int            // guarded by mu
	uses    map[string]int // guarded by mu; what has how many
	most    map[string]int // guarded by mu; of uses
}

func newDescriptorFS(inner vfs.FS, limit int) *descriptorFS {
	return &descriptorFS{FS: inner, limit: limit, uses: map[string]int{}, most: map[string]int{}}
}

func (d *descriptorFS) take(name, use string, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open+n > d.limit {
		d.refused++
		return &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	d.open += n
	d.peak = max(d.peak, d.open)
	d.uses[use] += n
	d.most[use] = max(d.most[use], d.uses[use])
	return nil
}

func (d *descriptorFS) give(use string, n int) {
	d.mu.Lock()
	d.open -= n
	d.uses[use] -= n
	d.mu.Unlock()
}

// counts returns how many descriptors are in use, and how many were refused.
func (d *descriptorFS) counts() (open, refused int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open, d.refused
}

// written says what a file that is written takes its descriptor for: outputs of
// jobs, logs, or what else has its name.
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
func opened[T any](d *descriptorFS, name, use string, n int, open func(string) (T, error)) (T, closing, error) {
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

func (d *descriptorFS) OpenRoot(name string) (vfs.Root, error) {
	root, c, err := opened(d, name, "root", 1, d.FS.OpenRoot)
	if err != nil {
		return nil, err
	}
	return &descriptorRoot{descriptorView{root, d}, root, c}, nil
}

// descriptorView is what is opened below a root; it takes from the same
// descriptors.
type descriptorView struct {
	vfs.FS
	d *descriptorFS
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

// Lock takes two, as it does where directories can be locked.
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

// mostDescriptors is for what a database has how many descriptors at most, besides
// the tables and value files that it reads.
var mostDescriptors = map[string]int{
	"root": 1, "directory": 2, "lock": 2, // the directory is opened again while the manifest is rewritten
	"RESERVE":  1,
	"manifest": 2, "temporary": 1, // the next manifest, and the next CURRENT
	"log":  8, // of three memtables that were flushed, of three that wait, of the one in use, and one made ahead
	"list": 1, "usage": 1,
}

const (
	// outputsOfJob is how many a job has for what it writes: a value file, eight
	// tables that wait for it, and a file of small tables.
	outputsOfJob = 10
	// fewestDescriptors is what docs/GUARANTEES.md says that a database with one
	// compaction at a time can do everything with but loads: what it has at most, three
	// jobs (a flush, a compaction and a Compact), and two to read.
	fewestDescriptors = 19 + 3*outputsOfJob + 2
	// oneAtATime is enough for the model test, which does one thing at a time.
	oneAtATime = 16
)

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
	for _, limit := range []int{oneAtATime, fewestDescriptors, 256} {
		for i, c := range configs() {
			name := fmt.Sprintf("%d/%s", limit, c.name)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c.o.MaxCompactions = 1
				r := &modelRun{t: t, config: c, g: testkit.NewGen(seed+uint64(i), 200, 120), m: testkit.NewModel(), fs: memfs.New(), limit: limit}
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
	mem := memfs.New()
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
	if k := db.KeyspaceMetrics(); len(k) != 1 || k[0].Total.Files != 20 || k[0].Total.Entries != 20 {
		t.Errorf("metrics of keyspaces: %+v", k)
	}
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
	d := newDescriptorFS(memfs.New(), oneAtATime)
	o.TableSize, o.ValueThreshold, o.MemtableSize, o.MaxCompactions, to.FS, to.ManualOnly = 2<<10, 200, 1<<20, 1, d, true
	db := open(t, "db", o.With(to))
	value, random := make([]byte, 2<<10), rand.NewChaCha8([32]byte{1}) // so that it does not compress
	for i := range 100 {
		_, _ = random.Read(value)
		must(t, db.Put(fmt.Appendf(nil, "%03d", i), value))
	}
	must(t, db.Flush(context.Background()))
	report, err := db.Verify(context.Background())
	if must(t, err); !report.Clean() || report.ValueFiles < 3*oneAtATime {
		t.Fatalf("%d value files: %v", report.ValueFiles, report.Damage)
	}
}
