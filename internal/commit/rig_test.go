package commit

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/internal/work"
	"github.com/seerdb-go/seerdb/observe"
)

// rig is a pipeline over a directory, without an engine: nothing flushes unless a test
// calls flush.
type rig struct {
	testing.TB
	*Pipeline
	disk  *memfs.FS
	fs    *faultfs.FS // over disk
	files *filecache.FS
	store *readstate.Store
	room  *reserve.Reserve
	pace  *pace.Pace
	work  *work.Group
	pins  *pins.List

	kicks    func()           // called by Kick, or nil
	blocking func(Stop) error // or nil
	events   observe.EventListener
	tree     tree
	l0       int // runs that the pace sees
	closed   bool
}

// tree is what transactions ask the stored versions; by default nothing is there.
type tree struct {
	newest func(keyspace uint32, key []byte) (base.SeqNum, error)
	any    func(keyspace uint32, lo, hi []byte, after base.SeqNum) (bool, error)
}

func (t *tree) NewestSeq(keyspace uint32, key []byte) (base.SeqNum, error) {
	if t.newest == nil {
		return 0, nil
	}
	return t.newest(keyspace, key)
}

func (t *tree) AnyNewer(keyspace uint32, lo, hi []byte, after base.SeqNum) (bool, error) {
	if t.any == nil {
		return false, nil
	}
	return t.any(keyspace, lo, hi, after)
}

var _ txn.Tree = (*tree)(nil)

// newRig returns a pipeline that has begun, with options as change makes them.
func newRig(t testing.TB, change func(*Env)) *rig { return newRigOn(t, memfs.New(), change) }

func newRigOn(t testing.TB, disk *memfs.FS, change func(*Env)) *rig {
	t.Helper()
	r := &rig{TB: t, disk: disk, fs: faultfs.New(disk), work: work.New(), pins: new(pins.List), room: new(reserve.Reserve)}
	r.check(r.fs.MkdirAll("db"))
	root, err := r.fs.OpenRoot("db")
	r.check(err)
	files := filecache.New(100)
	r.files = filecache.NewFS(vfs.NewCounting(root), files)
	c := cache.New(cache.Options{Budget: 1 << 20})
	r.pins.Init(c)
	r.room.Init()
	r.room.Adopt(filecache.NewFS(root, files))
	latch, now := new(poison.Latch), new(clock.Clock)
	now.Start(time.Now, nil)
	rep := report.New(slog.New(slog.NewTextHandler(io.Discard, nil)), observe.EventListener{
		StallBegin: func(reason string) {
			if r.events.StallBegin != nil {
				r.events.StallBegin(reason)
			}
		},
		BackgroundError: func(err error) {
			if r.events.BackgroundError != nil {
				r.events.BackgroundError(err)
			}
		},
	})
	r.pace = pace.New(pace.Options{
		L0Slowdown: 8, L0Stop: 12, BaseLevelBytes: 64 << 10, Done: r.work.Done(),
		Trees: func(fn func(uint32, int)) { fn(0, r.l0) },
	})
	r.store = readstate.New(readstate.Options{
		Dir: "db", FS: vfs.NewCounting(root), Files: files, Cache: c, Clock: now, Logger: rep.Logger,
		MemoryBudget: 1 << 20, MemtableSize: 16 << 10, Work: r.work,
		Damaged: rep.Damage, Remove: func(base.FileType, base.FileNum, int64) {}, Freed: func() { c.Close() },
	})
	dir, err := r.files.OpenDir(vfs.Top)
	r.check(err)
	v := versions.New(versions.Options{Latch: latch, Poison: func(err error) { r.Poison(err) }})
	env := Env{
		Durability: Sync, MemoryBudget: 1 << 20, MemtableSize: 16 << 10, Partitions: 1,
		FS: r.room.Over(r.files), Dir: dir, Store: r.store, Versions: v, Pins: r.pins, Clock: now, Room: r.room, Pace: r.pace,
		Report: rep, Work: r.work, Latch: latch, Tree: &r.tree,
		Kick: func() {
			if r.kicks != nil {
				r.kicks()
			}
		},
		Blocking: func(s Stop) error {
			if r.blocking != nil {
				return r.blocking(s)
			}
			return nil
		},
	}
	if change != nil {
		change(&env)
	}
	env.Keyspaces = keyspace.New(keyspace.Config{Versions: v, SyncNew: env.Durability == Sync, Closed: func() bool { return r.store.Closed() }}, keyspace.Options{})
	r.Pipeline = New(env)
	version, err := v.Create(env.FS)
	r.check(err)
	_, err = r.Begin(version, nil)
	r.check(err)
	r.check(env.Keyspaces.OpenRoot())
	r.room.Opened()
	r.Start()
	t.Cleanup(r.close)
	return r
}

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
	r.Close()
	r.work.Stop()
	r.work.Wait()
	for _, g := range r.store.Current().Generations() {
		g.AbandonLog()
	}
	r.store.MarkClosed()
	r.room.Close()
	r.store.Close()()
	r.store.Freed()
	r.env.Report.Drain()
}

// flush drops the immutable generations, as if they were in tables: their rows are gone.
func (r *rig) flush() {
	r.Helper()
	s := r.store.Current()
	v := r.env.Versions
	v.Lock()
	defer v.Unlock()
	gens := s.Imm
	for _, g := range gens {
		g.Mem.WaitWriters()
	}
	num := r.OldestBut(gens).Num
	edit := &manifest.Edit{LogNum: &num, LastSeq: r.LastSeq()}
	r.check(v.Append(edit))
	r.store.Install(v.Manifest().Version(), gens, nil, false)
	for _, g := range gens {
		r.durable.raise(g.LastSeq)
		g.AbandonLog()
	}
	r.pace.SetDebt(compaction.Backlogs(v.Manifest().Version(), compaction.Workload{}, compaction.DefaultConfig()))
	r.Changed()
}

// put commits one row.
func (r *rig) put(key, value string) (base.SeqNum, error) {
	var b batch.Batch
	if err := b.Put(0, []byte(key), []byte(value)); err != nil {
		return 0, err
	}
	return r.Commit(r.Context(), &b, DefaultDurability, nil)
}

// get returns what a reader sees at a key.
func (r *rig) get(key string) (string, bool) {
	r.Helper()
	var q readstate.Query
	if !q.Begin(r.store, 0, []byte(key), readstate.Newest, false) {
		r.Fatal("the store is closed")
	}
	defer q.Done()
	out, err := q.Get()
	r.check(err)
	return string(q.Value), out == readstate.Plain
}

// flushing flushes in the background, until the end is called.
func (r *rig) flushing() (end func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				if len(r.store.Current().Imm) > 0 {
					r.flush()
				}
			}
		}
	}()
	return func() { close(stop); <-ended }
}
