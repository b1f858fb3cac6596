package jobs

import (
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/filecache"
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

// rig is the jobs of a database, and the commits that give them something to do, without an
// engine.
type rig struct {
	testing.TB
	*Jobs
	disk   *memfs.FS
	fs     *faultfs.FS // over disk
	pace   *pace.Pace
	closed bool
}

// rigOptions are what a test may change.
type rigOptions struct {
	env      *Env // but for the rooms
	commit   *commit.Env
	keyspace *keyspace.Options // of the default keyspace
	listener observe.EventListener
	idle     bool // no worker runs: the test calls what they would
}

// newRig returns jobs that have started.
func newRig(t testing.TB, disk *memfs.FS, change func(o *rigOptions)) *rig {
	t.Helper()
	r := &rig{TB: t, disk: disk, fs: faultfs.New(disk)}
	config := compaction.DefaultConfig()
	config.L0Trigger, config.BaseLevelBytes, config.TableSize, config.ValueFileSize = 4, 64<<10, 8<<10, 16<<10
	env := &Env{
		Config: config, TableSize: 8 << 10, MaxCompactions: 1,
		Outputs: outputs.Env{PageSize: 512, Index: sstable.IndexAuto, ValueFileSize: 16 << 10, PackFrom: config.PackFrom, PackedMax: int(config.PackedMax)},
	}
	o := rigOptions{
		env: env, keyspace: new(keyspace.Options),
		commit: &commit.Env{Durability: commit.Sync, MemoryBudget: 1 << 20, MemtableSize: 16 << 10, Partitions: 1},
	}
	if change != nil {
		change(&o)
	}
	r.check(r.fs.MkdirAll("db"))
	root, err := r.fs.OpenRoot("db")
	r.check(err)
	files := filecache.New(100)
	counting := vfs.NewCounting(root)
	fs := filecache.NewFS(counting, files)
	dir, err := fs.OpenDir(vfs.Top)
	r.check(err)
	c := cache.New(cache.Options{Budget: 1 << 20})
	open := new(pins.List)
	open.Init(c)
	room := new(reserve.Reserve)
	room.Init()
	room.Adopt(filecache.NewFS(root, files))
	env.Latch, env.Clock, env.Work, env.Room, env.Root = new(poison.Latch), new(clock.Clock), work.New(), room, root
	env.Clock.Start(time.Now, nil)
	env.Report = report.New(slog.New(slog.NewTextHandler(io.Discard, nil)), o.listener)
	env.Remove = func(t base.FileType, n base.FileNum, size int64) {
		_ = fs.Remove(base.FileName(t, n))
		env.Report.FileRemoved(t, n, size)
	}
	env.Store = readstate.New(readstate.Options{
		Dir: "db", FS: counting, Files: files, Cache: c, Clock: env.Clock, Logger: env.Report.Logger,
		MemoryBudget: 1 << 20, MemtableSize: 16 << 10, Work: env.Work,
		Damaged: env.Report.Damage, Remove: env.Remove, Freed: func() { c.Close() },
	})
	env.Pace = pace.New(pace.Options{
		L0Slowdown: 8, L0Stop: 12, BaseLevelBytes: 64 << 10, Trees: env.Store.Runs, Done: env.Work.Done(),
	})
	r.pace = env.Pace
	env.Versions = versions.New(versions.Options{Latch: env.Latch, Poison: func(err error) { env.Commit.Poison(err) }})
	env.Keyspaces = keyspace.New(keyspace.Config{Versions: env.Versions, SyncNew: true, Closed: env.Store.Closed}, *o.keyspace)
	ce := *o.commit
	ce.FS, ce.Dir, ce.Store, ce.Versions, ce.Keyspaces = room.Over(fs), dir, env.Store, env.Versions, env.Keyspaces
	ce.Pins, ce.Clock, ce.Room, ce.Pace, ce.Report = open, env.Clock, room, env.Pace, env.Report
	ce.Work, ce.Latch, ce.Tree = env.Work, env.Latch, noTree{}
	ce.Kick, ce.Blocking = func() { r.Kick() }, func(s commit.Stop) error { return r.Blocking(s) }
	env.Commit = commit.New(ce)
	env.Outputs.FS, env.Outputs.Room, env.Outputs.Dir = fs, room.Over(fs), dir
	r.Jobs = New(*env)
	v, err := env.Versions.Create(ce.FS)
	r.check(err)
	g, err := env.Commit.Begin(v, nil)
	r.check(err)
	r.check(r.Install(&manifest.Edit{LogNum: &g.Num, LogIncarnation: env.Versions.Incarnation()}, nil))
	r.check(env.Keyspaces.OpenRoot())
	room.Opened()
	if !o.idle {
		env.Commit.Start()
		r.Start()
	}
	t.Cleanup(r.close)
	return r
}

// noTree is a tree in which transactions find nothing.
type noTree struct{}

func (noTree) NewestSeq(uint32, []byte) (base.SeqNum, error) { return 0, nil }

func (noTree) AnyNewer(uint32, []byte, []byte, base.SeqNum) (bool, error) { return false, nil }

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// close ends everything, as Engine.Close does.
func (r *rig) close() {
	if r.closed {
		return
	}
	r.closed = true
	e := &r.env
	e.Commit.Close()
	e.Work.Stop()
	e.Work.Wait()
	for _, g := range e.Store.Current().Generations() {
		g.AbandonLog()
	}
	e.Store.MarkClosed()
	e.Room.Close()
	e.Store.Close()()
	e.Versions.Lock()
	_ = e.Versions.Close()
	e.Versions.Unlock()
	e.Store.Freed()
	e.Report.Drain()
}

// keyspace opens a keyspace, or creates it.
func (r *rig) keyspace(name string) *keyspace.Keyspace {
	r.Helper()
	asked, err := keyspace.Choice{}.Ask(name)
	r.check(err)
	k, err := r.env.Keyspaces.Open(asked, true)
	r.check(err)
	return k
}

// put commits one row of a keyspace.
func (r *rig) put(k *keyspace.Keyspace, key, value string) {
	r.Helper()
	var b batch.Batch
	r.check(b.Put(k.ID(), []byte(key), []byte(value)))
	_, err := r.env.Commit.Commit(r.Context(), &b, commit.DefaultDurability, nil)
	r.check(err)
}

// get returns what a reader sees at a key.
func (r *rig) get(k *keyspace.Keyspace, key string) (value string, ok bool) {
	r.Helper()
	var q readstate.Query
	if !q.Begin(r.env.Store, k.ID(), []byte(key), readstate.Newest, true) {
		r.Fatal("the store is closed")
	}
	out, err := q.Get()
	r.check(err)
	switch out {
	case readstate.Plain:
		value, ok = string(q.Value), true
	case readstate.Pointer:
		b, err := q.Fetch(nil)
		r.check(err)
		value, ok = string(b), true
	case readstate.Absent:
	default:
		r.check(errors.New("an outcome that the rig does not know"))
	}
	q.Done()
	return value, ok
}
