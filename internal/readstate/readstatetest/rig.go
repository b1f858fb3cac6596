// Package readstatetest provides a Rig for tests: a readstate.Store over a
// directory in memory, driven as a database drives it. Commits go to the active
// generation; Rotate, Flush and Compact move them on; AddTable writes tables
// that no commit would. Only test files import it.
//
// One goroutine at a time changes a Rig, while any number read its Store.
package readstatetest

import (
	"context"
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
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// DB is the database id of every Rig.
const DB = 0x5eed

// Options configure a Rig. Each has a default.
type Options struct {
	Budget     int64   // of memory; 64 MiB
	Memtable   int64   // capacity of each; 1 MiB
	OpenFiles  int     // 64
	TableSize  uint64  // size at which tables end; 1 MiB
	PageSize   int     // as in package sstable
	FilterBits float64 // 0 for no filters
	ValuesFrom int     // the length from which values go to value files; 0 for never
	Packed     bool    // the tables of a job share a file
	KeepAll    bool    // jobs keep every version, not only those that snapshots see
	// Merger is the merge operator of every keyspace, with which jobs merge
	// operands.
	Merger base.Merger
	// Expire makes jobs drop values that have expired for every snapshot and
	// every later read.
	Expire bool
}

// Rig is a Store with its surroundings.
type Rig struct {
	testing.TB
	Store   *readstate.Store
	FS      *faultfs.FS // over memory
	Files   *filecache.Cache
	Cache   *cache.Cache
	Clock   *clock.Clock
	Version *manifest.Version // the current one
	Seq     base.SeqNum       // the newest sequence applied
	Filter  compaction.Filter // of Compact

	o    Options
	now  atomic.Int64 // Unix milliseconds
	next base.FileNum
	work work

	mu      sync.Mutex
	damage  []error  // guarded by mu
	removed []string // guarded by mu
	freed   bool     // guarded by mu; no reader is left
	closed  bool
}

// New returns a Rig with an empty generation and no table. It is closed when
// the test ends, and no State may be left then.
func New(t testing.TB, o Options) *Rig {
	t.Helper()
	o.Budget = or(o.Budget, 64<<20)
	o.Memtable = or(o.Memtable, 1<<20)
	o.OpenFiles = or(o.OpenFiles, 64)
	o.TableSize = or(o.TableSize, 1<<20)
	r := &Rig{
		TB: t, FS: faultfs.New(memfs.New()), Files: filecache.New(o.OpenFiles), Cache: cache.New(cache.Options{Budget: o.Budget}),
		Clock: new(clock.Clock), Version: new(manifest.Version), o: o, next: 1,
	}
	r.SetTime(1_000_000)
	r.Clock.Start(func() time.Time { return time.UnixMilli(r.now.Load()) }, nil)
	r.work.ctx, r.work.cancel = context.WithCancel(context.Background())
	r.Store = readstate.New(readstate.Options{
		Dir: "rig", FS: r.FS, Files: r.Files, Cache: r.Cache, Clock: r.Clock, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		MemoryBudget: o.Budget, MemtableSize: o.Memtable, Work: &r.work,
		Damaged: r.damaged, Remove: r.remove, Freed: r.free,
	})
	r.Store.Begin(DB, r.generation(), nil, r.Version)
	t.Cleanup(func() {
		r.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.freed && !t.Failed() {
			t.Error("some State was not let go")
		}
	})
	return r
}

// or returns a, or b if a is zero.
func or[T comparable](a, b T) T {
	if a == *new(T) {
		return b
	}
	return a
}

// Check fails the test if err is not nil.
func (r *Rig) Check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// Time returns the time by which values expire.
func (r *Rig) Time() uint64 { return uint64(r.now.Load()) }

// SetTime sets the clock.
func (r *Rig) SetTime(ms uint64) { r.now.Store(int64(ms)) }

// Damage returns the damage that reads reported since the last call.
func (r *Rig) Damage() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.damage
	r.damage = nil
	return d
}

// Removed returns the files that the Store had removed, in order.
func (r *Rig) Removed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.removed)
}

func (r *Rig) damaged(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.damage = append(r.damage, err)
}

func (r *Rig) remove(t base.FileType, n base.FileNum, _ int64) {
	name := base.FileName(t, n)
	if err := r.FS.Remove(name); err != nil {
		r.Errorf("remove %s: %v", name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed = append(r.removed, name)
}

func (r *Rig) free() {
	r.Cache.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.freed = true
}

// Close closes the Store as a database does. Readers continue.
func (r *Rig) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.work.close()
	r.Store.MarkClosed()
	r.Store.Close()()
	r.Store.Freed()
}

// work is the Work of a Rig.
type work struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu sync.Mutex
	wg sync.WaitGroup
}

func (w *work) Enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		return false
	}
	w.wg.Add(1)
	return true
}

func (w *work) Leave() { w.wg.Done() }

func (w *work) Done() <-chan struct{} { return w.ctx.Done() }

func (w *work) close() {
	w.mu.Lock()
	w.cancel()
	w.mu.Unlock()
	w.wg.Wait()
}

// generation returns an empty generation, charged to the memory budget.
func (r *Rig) generation() *generation.Generation {
	m, err := memtable.New(memtable.Options{Capacity: r.o.Memtable, Partitions: 4})
	r.Check(err)
	r.Store.ChargeMemtables(r.o.Memtable)
	return &generation.Generation{Mem: m, After: r.Seq, Charge: r.o.Memtable}
}

// Apply assigns sequences to a batch and adds it to the active generation.
// Reads do not see it before Publish.
func (r *Rig) Apply(b *batch.Batch) {
	r.Helper()
	r.Check(b.Err())
	m := r.Store.Current().Active.Mem
	if !m.BeginWrite() || !m.Reserve(memtable.BatchBound(b)) {
		r.Fatal("the active memtable has no room")
	}
	defer m.EndWrite()
	if len(b.Keyspaces()) > 0 {
		r.Check(m.Share())
	}
	if b.Expires() {
		r.Clock.Use()
	}
	b.SetSeq(r.Seq + 1)
	var a memtable.Applier
	a.Init(m, append(r.stripes(r.Seq+base.SeqNum(b.Count())-1), r.Seq+base.SeqNum(b.Count())), nil, b.RangeDeletes())
	for rd := b.Reader(); ; {
		op, ok, err := rd.Next()
		r.Check(err)
		if !ok {
			break
		}
		r.Seq++
		a.Add(&op, r.Seq)
	}
	a.Flush()
}

// Publish makes visible everything that was applied.
func (r *Rig) Publish() { r.Store.Publish(r.Seq) }

// Write applies and publishes a batch, in a new generation if the active one is
// half full.
func (r *Rig) Write(b *batch.Batch) {
	r.Helper()
	if active := r.Store.Current().Active.Mem; active.Bytes() > active.Capacity()/2 {
		r.Rotate()
	}
	r.Apply(b)
	r.Publish()
}

// Commit applies what fill adds to a batch, publishes it, and returns its last sequence.
func (r *Rig) Commit(fill func(b *batch.Batch)) base.SeqNum {
	r.Helper()
	var b batch.Batch
	fill(&b)
	r.Apply(&b)
	r.Publish()
	return r.Seq
}

// Put commits alternating keys and values of the default keyspace.
func (r *Rig) Put(keysAndValues ...string) base.SeqNum {
	r.Helper()
	return r.Commit(func(b *batch.Batch) {
		for kv := range slices.Chunk(keysAndValues, 2) {
			r.Check(b.Put(0, []byte(kv[0]), []byte(kv[1])))
		}
	})
}

// Rotate makes a new generation active.
func (r *Rig) Rotate() {
	old := r.Store.Current().Active
	old.Mem.WaitWriters()
	old.LastSeq = r.Seq
	r.Store.Rotate(r.generation())
}

// Rewrite replaces the content of a file.
func (r *Rig) Rewrite(name string, change func([]byte) []byte) {
	r.Helper()
	data := change(r.read(name))
	r.Check(r.FS.Remove(name))
	r.write(name, data)
}

// Adopt copies a file of another Rig into this one.
func (r *Rig) Adopt(from *Rig, name string) {
	r.Helper()
	r.write(name, from.read(name))
}

func (r *Rig) read(name string) []byte {
	r.Helper()
	f, err := r.FS.Open(name)
	r.Check(err)
	n, err := f.Size()
	r.Check(err)
	data := make([]byte, n)
	if n, err := f.ReadAt(data, 0); n < len(data) {
		r.Fatal(err)
	}
	r.Check(f.Close())
	return data
}

func (r *Rig) write(name string, data []byte) {
	r.Helper()
	f, err := r.FS.Create(name)
	r.Check(err)
	_, err = f.Write(data)
	r.Check(err)
	r.Check(f.Close())
}

// Flip changes a byte of a file; a negative offset counts from its end.
func (r *Rig) Flip(name string, at int) {
	r.Helper()
	r.Rewrite(name, func(data []byte) []byte {
		if at < 0 {
			at += len(data)
		}
		data[at] ^= 1
		return data
	})
}
