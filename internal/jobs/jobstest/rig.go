// Package jobstest makes what package jobs works on: a Rig is a database over a directory in
// memory, with commits and readers and neither jobs nor an engine. Only test files import it.
package jobstest

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/internal/work"
	"github.com/seerdb-go/seerdb/observe"
)

// Options shape a Rig: see NewOptions.
type Options struct {
	Commit   commit.Env       // but for the rooms
	Keyspace keyspace.Options // of the default keyspace
	Listener observe.EventListener
	Now      func() time.Time
	L0Stop   int // runs of L0 at which writers are stopped
}

// NewOptions are those of a database with small memtables, each commit of which is synced.
func NewOptions() Options {
	return Options{
		Commit: commit.Env{Durability: commit.Sync, MemoryBudget: 1 << 20, MemtableSize: 16 << 10, Partitions: 1},
		Now:    time.Now,
		L0Stop: 12,
	}
}

// Config is for such memtables.
func Config() compaction.Config {
	c := compaction.DefaultConfig()
	c.L0Trigger, c.BaseLevelBytes, c.TableSize, c.ValueFileSize = 4, 64<<10, 8<<10, 16<<10
	return c
}

// Rig is a database without jobs.
type Rig struct {
	testing.TB
	Disk *memfs.FS
	FS   *faultfs.FS // over Disk

	Root      vfs.Root
	IO        *vfs.CountingFS // under Dir
	Dir       *filecache.FS
	Files     *filecache.Cache
	Cache     *cache.Cache
	Store     *readstate.Store
	Versions  *versions.Set
	Keyspaces *keyspace.Set
	Commit    *commit.Pipeline
	Clock     *clock.Clock
	Room      *reserve.Reserve
	Pace      *pace.Pace
	Report    *report.Reporter
	Work      *work.Group
	Latch     *poison.Latch
	// Outputs is what jobs make their files with.
	Outputs outputs.Env
	// Removing, if it is not nil, is called before a file is removed. Set before Begin.
	Removing func(t base.FileType, n base.FileNum)

	pins   pins.List
	iters  dbiter.Env
	mu     sync.Mutex
	jobs   Jobs // guarded by mu; nil before Begin
	closed bool
}

// Jobs is what commits and the beginning of a database ask of the jobs.
type Jobs interface {
	Kick()
	Blocking(commit.Stop) error
	Install(edit *manifest.Edit, flushed []*generation.Generation) error
	MakeCurrent(edit *manifest.Edit, missing func(uint32) bool, between func(), flushed []*generation.Generation, filtered bool) error
}

// New returns a database that has not begun.
func New(t testing.TB, disk *memfs.FS, o Options) *Rig {
	t.Helper()
	r := &Rig{TB: t, Disk: disk, FS: faultfs.New(disk)}
	r.Check(r.FS.MkdirAll("db"))
	r.Check(vfs.SyncDir(r.FS, ""))
	var err error
	r.Root, err = r.FS.OpenRoot("db")
	r.Check(err)
	r.Files = filecache.New(100)
	r.IO = vfs.NewCounting(r.Root)
	r.Dir = filecache.NewFS(r.IO, r.Files)
	dir, err := r.Dir.OpenDir(vfs.Top)
	r.Check(err)
	r.Cache = cache.New(cache.Options{Budget: 1 << 20})
	r.pins.Init(r.Cache)
	r.Room = new(reserve.Reserve)
	r.Room.Init()
	r.Room.Adopt(filecache.NewFS(r.Root, r.Files))
	r.Latch, r.Clock, r.Work = new(poison.Latch), new(clock.Clock), work.New()
	r.Clock.Start(o.Now, nil)
	r.Report = report.New(slog.New(slog.NewTextHandler(io.Discard, nil)), o.Listener)
	r.Store = readstate.New(readstate.Options{
		Dir: "db", FS: r.IO, Files: r.Files, Cache: r.Cache, Clock: r.Clock, Logger: r.Report.Logger,
		MemoryBudget: 1 << 20, MemtableSize: 16 << 10, Work: r.Work,
		Damaged: r.Report.Damage, Remove: r.Remove, Freed: func() { r.Cache.Close() },
	})
	r.Pace = pace.New(pace.Options{
		L0Slowdown: o.L0Stop - 4, L0Stop: o.L0Stop, BaseLevelBytes: 64 << 10, Trees: r.Store.Runs, Done: r.Work.Done(),
	})
	r.Versions = versions.New(versions.Options{Latch: r.Latch, Poison: func(err error) { r.Commit.Poison(err) }})
	r.Keyspaces = keyspace.New(keyspace.Config{Versions: r.Versions, SyncNew: true, Closed: r.Store.Closed}, o.Keyspace.Named())
	c := o.Commit
	c.FS, c.Dir, c.Store, c.Versions, c.Keyspaces = r.Room.Over(r.Dir), dir, r.Store, r.Versions, r.Keyspaces
	c.Pins, c.Clock, c.Room, c.Pace, c.Report = &r.pins, r.Clock, r.Room, r.Pace, r.Report
	c.Work, c.Latch, c.Tree = r.Work, r.Latch, noTree{}
	c.Kick = func() { r.theJobs().Kick() }
	c.Blocking = func(s commit.Stop) error { return r.theJobs().Blocking(s) }
	r.Commit = commit.New(c)
	r.iters = dbiter.Env{Store: r.Store, Pins: &r.pins, Folded: new(dbiter.Folded), DeadMin: 1 << 10, FoldFrom: 1 << 10, Share: r.Commit.ShareActive}
	r.Outputs = outputs.Env{
		FS: r.Dir, Room: r.Room.Over(r.Dir), Dir: dir, PageSize: 512, Index: sstable.IndexAuto,
	}
	return r
}

// noTree is a tree in which transactions find nothing.
type noTree struct{}

func (noTree) NewestSeq(uint32, []byte) (base.SeqNum, error) { return 0, nil }

func (noTree) AnyNewer(uint32, []byte, []byte, base.SeqNum) (bool, error) { return false, nil }

func (r *Rig) theJobs() Jobs {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jobs
}

// Begin creates the database. It starts no worker. When the test ends it is closed.
func (r *Rig) Begin(js Jobs) {
	r.Helper()
	r.mu.Lock()
	r.jobs = js
	r.mu.Unlock()
	v, err := r.Versions.Create(r.Room.Over(r.Dir))
	r.Check(err)
	g, err := r.Commit.Begin(v, nil)
	r.Check(err)
	r.Check(js.Install(&manifest.Edit{LogNum: &g.Num, LogIncarnation: r.Versions.Incarnation()}, nil))
	r.Check(r.Keyspaces.OpenRoot())
	r.Room.Opened()
	r.Cleanup(r.Close)
}

// Stop refuses commits and then makes all work end, as Engine.Close begins.
func (r *Rig) Stop() {
	r.Commit.Close()
	r.Work.Stop()
}

// Close ends everything, as Engine.Close does, and all faults.
func (r *Rig) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.FS.Clear()
	r.Stop()
	r.Work.Wait()
	for _, g := range r.Store.Current().Generations() {
		g.AbandonLog()
	}
	r.Store.MarkClosed()
	r.Room.Close()
	r.Store.Close()()
	r.Versions.Lock()
	_ = r.Versions.Close()
	r.Versions.Unlock()
	r.Store.Freed()
	r.Report.Drain()
}

// Check fails the test if err is not nil.
func (r *Rig) Check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// Remove removes a file.
func (r *Rig) Remove(t base.FileType, n base.FileNum, size int64) {
	if r.Removing != nil {
		r.Removing(t, n)
	}
	_ = r.Dir.Remove(base.FileName(t, n))
	r.Report.FileRemoved(t, n, size)
}

// Keyspace opens a keyspace, or creates it.
func (r *Rig) Keyspace(name string, c keyspace.Choice) *keyspace.Keyspace {
	r.Helper()
	asked, err := c.Ask(name)
	r.Check(err)
	k, err := r.Keyspaces.Open(asked, true)
	r.Check(err)
	return k
}

// Drop drops a keyspace, as Engine.DropKeyspace does.
func (r *Rig) Drop(k *keyspace.Keyspace) {
	r.Helper()
	r.Versions.Lock()
	defer r.Versions.Unlock()
	edit := &manifest.Edit{DropKeyspaces: []uint32{k.ID()}}
	r.Versions.Manifest().Version().Tree(k.ID()).All(func(level int, f *manifest.FileMeta) bool {
		edit.Remove = append(edit.Remove, manifest.OldFile{Level: level, Num: f.Num})
		return true
	})
	r.Check(r.theJobs().MakeCurrent(edit, r.Keyspaces.Missing, func() { r.Commit.Drop(k) }, nil, false))
}

// Write commits a batch.
func (r *Rig) Write(add func(b *batch.Batch) error) error {
	var b batch.Batch
	err := add(&b)
	if err == nil {
		_, err = r.Commit.Commit(r.Context(), &b, commit.DefaultDurability, nil)
	}
	return err
}

// Put commits one row of a keyspace.
func (r *Rig) Put(k *keyspace.Keyspace, key, value string) {
	r.Helper()
	r.Check(r.Write(func(b *batch.Batch) error { return b.Put(k.ID(), []byte(key), []byte(value)) }))
}

// Get returns what a reader sees at a key.
func (r *Rig) Get(k *keyspace.Keyspace, key string) (value string, ok bool) {
	r.Helper()
	var q readstate.Query
	if !q.Begin(r.Store, k.ID(), []byte(key), readstate.Newest, true) {
		r.Fatal("the store is closed")
	}
	out, err := q.Get()
	r.Check(err)
	switch out {
	case readstate.Plain:
		value, ok = string(q.Value), true
	case readstate.Pointer:
		b, err := q.Fetch(nil)
		r.Check(err)
		value, ok = string(b), true
	case readstate.Absent:
	default:
		r.Check(errors.New("an outcome that the rig does not know"))
	}
	q.Done()
	return value, ok
}

// Rows returns what a scan of a keyspace sees, at a moment.
func (r *Rig) Rows(k *keyspace.Keyspace, at readstate.Point) map[string]string {
	r.Helper()
	s, shard := r.Store.KeepAt(at)
	if s == nil {
		r.Fatal("the store is closed")
	}
	it := dbiter.New(&r.iters, k, s, shard, dbiter.Options{Own: true}, at, nil)
	rows := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		rows[string(it.Key())] = string(it.Value())
	}
	r.Check(it.Err())
	r.Check(it.Close())
	return rows
}

// WantRows fails the test unless a scan of a keyspace sees the rows.
func (r *Rig) WantRows(what string, k *keyspace.Keyspace, want map[string]string) {
	r.Helper()
	if got := r.Rows(k, readstate.Newest); !maps.Equal(got, want) {
		for key, v := range want {
			if g, ok := got[key]; !ok || g != v {
				r.Errorf("%s: %s: %q is %.60q (%v), expected %.60q", what, k.Describe(), key, g, ok, v)
				break
			}
		}
		for key, g := range got {
			if _, ok := want[key]; !ok {
				r.Errorf("%s: %s: %q is %.60q, and should not be there", what, k.Describe(), key, g)
				break
			}
		}
		r.Fatalf("%s: %s has %d rows, expected %d", what, k.Describe(), len(got), len(want))
	}
}

// Tables returns the files of a keyspace by level.
func (r *Rig) Tables(k *keyspace.Keyspace) (levels [base.NumLevels][]*manifest.FileMeta) {
	r.Store.Current().Version().Tree(k.ID()).All(func(level int, f *manifest.FileMeta) bool {
		levels[level] = append(levels[level], f)
		return true
	})
	return levels
}

// stray returns the files of data that nothing names, and those that are named and missing.
func (r *Rig) stray() []string {
	names, err := r.Disk.List("db")
	r.Check(err)
	s := r.Store.Current()
	want := map[string]bool{}
	for _, g := range s.Generations() {
		want[base.FileName(base.FileTypeLog, g.Num)] = true
	}
	s.Version().All(func(_ int, f *manifest.FileMeta) bool {
		want[f.FileName()] = true
		return true
	})
	for num := range s.Version().Values {
		want[base.FileName(base.FileTypeValues, num)] = true
	}
	var bad []string
	newest := s.Active.Num
	for _, name := range names {
		switch t, n, _ := base.ParseFileName(name); {
		case t == base.FileTypeLog && n > newest: // made ahead
		case t == base.FileTypeLog, t == base.FileTypeTable, t == base.FileTypePack, t == base.FileTypeValues, t == base.FileTypeTemp:
			if !want[name] {
				bad = append(bad, name)
			}
			delete(want, name)
		}
	}
	for name := range want {
		bad = append(bad, "no "+name)
	}
	slices.Sort(bad)
	return bad
}

// WantFiles fails the test unless, soon, exactly the files of data are there that the current
// state names.
func (r *Rig) WantFiles(what string) {
	r.Helper()
	var bad []string
	r.Soon(what, func() bool {
		bad = r.stray()
		return len(bad) == 0
	}, func() any { return bad })
}

// Soon waits until ok; it fails the test with what why says if that takes too long.
func (r *Rig) Soon(what string, ok func() bool, why func() any) {
	r.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("%s: %v", what, why())
		}
	}
}
