package commit

import (
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/memtable"
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
	l0       atomic.Int64 // runs that the pace sees
	tables   archive
	flushMu  sync.Mutex       // one flush at a time; an ingestion that has its place
	holds    []*faultfs.Fired // what waits, until the end at most
	failed   bool             // begin failed
	closed   bool
}

// archive is what flush took out of memory, as tables would be: every version of each key.
type archive struct {
	mu   sync.Mutex
	rows map[row][]version // guarded by mu
	last base.SeqNum       // guarded by mu; everything up to there was flushed
}

// row is a key of a keyspace.
type row struct {
	space uint32
	key   string
}

// version is what a key is from a sequence on.
type version struct {
	seq     base.SeqNum
	value   string
	deleted bool
}

// add keeps a version.
func (a *archive) add(r row, v version) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rows == nil {
		a.rows = map[row][]version{}
	}
	a.rows[r] = append(a.rows[r], v)
}

// newest returns the newest version of a key up to a sequence.
func (a *archive) newest(r row, at base.SeqNum) (out version) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.rows[r] {
		if v.seq <= at && v.seq > out.seq {
			out = v
		}
	}
	return out
}

// take keeps all of a generation.
func (a *archive) take(g *generation.Generation) {
	for _, space := range append(g.Mem.Keyspaces(), 0) {
		it := g.Mem.AllIter(space)
		if it == nil {
			continue
		}
		for kv := it.First(); kv != nil; kv = it.Next() {
			v := version{seq: kv.Trailer.Seq(), value: string(kv.Value), deleted: kv.Trailer.Kind() != base.KindPut}
			a.add(row{space, string(kv.Key)}, v)
		}
	}
	a.mu.Lock()
	a.last = max(a.last, g.LastSeq)
	a.mu.Unlock()
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
	r := makeRig(t, disk, change)
	r.check(r.begin())
	return r
}

// makeRig returns a pipeline that has not begun.
func makeRig(t testing.TB, disk *memfs.FS, change func(*Env)) *rig {
	t.Helper()
	r := &rig{TB: t, disk: disk, fs: faultfs.New(disk), work: work.New(), pins: new(pins.List), room: new(reserve.Reserve)}
	r.mkdir("db")
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
		StallEnd: func(reason string, d time.Duration) {
			if r.events.StallEnd != nil {
				r.events.StallEnd(reason, d)
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
		Trees: func(fn func(uint32, int)) { fn(0, int(r.l0.Load())) },
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
	t.Cleanup(r.close)
	return r
}

// mkdir makes a directory that survives a power cut.
func (r *rig) mkdir(name string) {
	r.check(r.disk.MkdirAll(name))
	parent, err := r.disk.OpenDir(".")
	r.check(err)
	r.check(parent.Sync())
	r.check(parent.Close())
}

// begin makes a database, and begins the pipeline.
func (r *rig) begin() (err error) {
	defer func() { r.failed = err != nil }()
	v := r.env.Versions
	version, err := v.Create(r.env.FS)
	if err != nil {
		return err
	}
	g, err := r.Begin(version, nil)
	if err != nil {
		return err
	}
	v.Lock()
	err = v.Append(&manifest.Edit{LogNum: &g.Num, LogIncarnation: v.Incarnation()})
	v.Unlock()
	if err != nil {
		return err
	}
	if err := r.env.Keyspaces.OpenRoot(); err != nil {
		return err
	}
	r.room.Opened()
	r.Start()
	return nil
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
	for _, f := range r.holds {
		f.Remove()
	}
	r.Close()
	r.work.Stop()
	r.work.Wait()
	if s := r.store.Current(); s == nil || r.failed {
		r.Abandon()
	} else {
		for _, g := range s.Generations() {
			g.AbandonLog()
		}
	}
	r.store.MarkClosed()
	r.room.Close()
	r.store.Close()()
	r.store.Freed()
	r.env.Report.Drain()
}

// flush drops the immutable generations, as if they were in tables: their rows are in the
// archive alone. It reports whether the database takes that.
func (r *rig) flush() bool {
	r.flushMu.Lock()
	defer r.flushMu.Unlock()
	return r.flushLocked()
}

// flushLocked is flush for callers that hold flushMu.
func (r *rig) flushLocked() bool {
	s := r.store.Current()
	v := r.env.Versions
	v.Lock()
	defer v.Unlock()
	gens := s.Imm
	for _, g := range slices.Backward(gens) {
		g.Mem.WaitWriters()
		r.tables.take(g)
	}
	num := r.OldestBut(gens).Num
	edit := &manifest.Edit{LogNum: &num, LastSeq: r.LastSeq()}
	if v.Appendable() != nil || v.Append(edit) != nil {
		return false // the database is read-only
	}
	r.store.Install(v.Manifest().Version(), gens, nil, false)
	for _, g := range gens {
		r.RaiseDurable(g.LastSeq)
		g.AbandonLog()
	}
	r.pace.SetDebt(compaction.Backlogs(v.Manifest().Version(), compaction.Workload{}, compaction.DefaultConfig()))
	r.Changed()
	return true
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

// at returns what a key is at a sequence, in memory or in the archive.
func (r *rig) at(s *readstate.State, k row, seq base.SeqNum) version {
	hash := base.Hash([]byte(k.key))
	key := memtable.RootKey([]byte(k.key), hash)
	if k.space != 0 {
		key = memtable.MakeKey(nil, k.space, []byte(k.key), hash)
	}
	for _, g := range s.Generations() {
		if t, v, ok := g.Mem.Get(&key, seq); ok {
			return version{seq: t.Seq(), value: string(v), deleted: t.Kind() != base.KindPut}
		}
	}
	return r.tables.newest(k, seq)
}

// until waits for something to become true. What it looks at is guarded by mu.
func (r *rig) until(what string, f func() bool) {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		r.mu.Lock()
		done := f()
		r.mu.Unlock()
		switch {
		case done:
			return
		case time.Now().After(deadline):
			panic("in vain for: " + what)
		}
	}
}

// begun starts a call that takes its time. The channel has its outcome.
func begun(call func() error) <-chan error {
	out := make(chan error, 1)
	go func() { out <- call() }()
	return out
}

// ended is the outcome of a call that must not take long any more.
func (r *rig) ended(what string, out <-chan error) error {
	select {
	case err := <-out:
		return err
	case <-time.After(30 * time.Second):
		panic("in vain for the end of: " + what)
	}
}

// still says whether a call has not ended.
func still(out <-chan error) bool { return len(out) == 0 }

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
