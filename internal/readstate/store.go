package readstate

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/latency"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Options are the parameters of a store. All are required.
type Options struct {
	Dir          string // as the user gave it, for messages
	FS           vfs.FS // the directory
	Files        *filecache.Cache
	Cache        *cache.Cache
	Clock        *clock.Clock
	Logger       *slog.Logger
	MemoryBudget int64
	MemtableSize int64 // of future memtables
	Work         Work
	// Damaged reports damage that a read found. Remove removes a file that
	// nothing names any more. They may be called under any lock.
	Damaged func(error)
	Remove  func(t base.FileType, n base.FileNum, size int64)
	// Freed is called once after Close, when no reader is left.
	Freed func()
}

// Work lets goroutines run until the database is closed.
type Work interface {
	// Enter registers a goroutine until Leave. It returns false if the database
	// is closing.
	Enter() bool
	Leave()
	// Done is closed when the database closes.
	Done() <-chan struct{}
}

// Store holds the states of a database, one of which is current, and the
// handles of their files.
type Store struct {
	o  Options // immutable
	db uint64  // immutable after Begin; the id of the database

	// Point reads touch only these atomics.
	state    atomic.Pointer[State]
	seq      atomic.Uint64 // the visible sequence (I2)
	isClosed atomic.Bool
	reads    [Shards]readStats
	Seeks    latency.Sampler

	clock     *clock.Clock // immutable
	cache     *cache.Cache // immutable
	Snapshots Snapshots
	lifetimes lifetimes
	quiet     quietStates
	memory    tableMemory

	mu         sync.Mutex                     // held to change the state, and for files; never held over I/O
	tables     map[base.FileNum]*Table        // guarded by mu; every table of a view
	packs      map[base.FileNum]*packFile     // guarded by mu; the packs of these tables
	valueFiles map[base.FileNum]*valueFile    // guarded by mu
	gens       map[*generation.Generation]int // guarded by mu; number of states that name each
	filters    uint64                         // guarded by mu; how often a compaction filter took effect
	held       *window                        // guarded by mu

	memtables memtableCharge
}

// window is the range of sequences of tables that are being installed. Reads do
// not see beyond it until its first table is installed.
type window struct {
	seq, end base.SeqNum
	first    base.FileNum // 0 if it stays until LetReads
}

// New returns a store without a state.
func New(o Options) *Store {
	st := &Store{
		o: o, clock: o.Clock, cache: o.Cache,
		tables:     map[base.FileNum]*Table{},
		packs:      map[base.FileNum]*packFile{},
		valueFiles: map[base.FileNum]*valueFile{},
		gens:       map[*generation.Generation]int{},
	}
	st.memtables.cache, st.memtables.least = o.Cache, 2*o.MemtableSize
	st.Snapshots.st = st
	st.memory.init(st)
	st.lifetimes.last = o.Freed
	st.lifetimes.Add()
	return st
}

// Begin makes the first state.
func (st *Store) Begin(db uint64, active *generation.Generation, imm []*generation.Generation, v *manifest.Version) {
	st.db = db
	st.mu.Lock()
	defer st.mu.Unlock()
	st.setState(&State{Active: active, Imm: imm, v: st.newView(v, nil)}) // it replaces none
}

// Rotate makes g the active generation, and the one before it immutable.
func (st *Store) Rotate(g *generation.Generation) {
	st.change(false, func(cur *State) *State {
		if st.held != nil {
			g.After = max(g.After, st.held.end) // so that its tables go below
		}
		imm := make([]*generation.Generation, 0, len(cur.Imm)+1)
		return &State{Active: g, Imm: append(append(imm, cur.Active), cur.Imm...), v: cur.v}
	})
}

// Install makes a version current, from which files were dropped, and removes
// the generations that were flushed to its tables. With filtered a compaction
// filter took effect, and the open snapshots go on reading the state before.
func (st *Store) Install(next *manifest.Version, flushed []*generation.Generation, dropped []manifest.Dropped, filtered bool) {
	st.change(filtered, func(cur *State) *State {
		v := st.newView(next, cur.v)
		for _, d := range dropped {
			switch d.Type {
			case base.FileTypeTable:
				st.tables[d.Num].drop()
			case base.FileTypeValues:
				if f := st.valueFiles[d.Num]; f != nil {
					f.gone = true
				}
			}
		}
		imm := slices.DeleteFunc(slices.Clone(cur.Imm), func(g *generation.Generation) bool { return slices.Contains(flushed, g) })
		return &State{Active: cur.Active, Imm: imm, v: v}
	})
}

// change replaces the current state by next's result, unless that is nil; next
// is called with mu held. With filtered the open snapshots go on reading the
// old state. If the database is closed, change does nothing and returns false.
func (st *Store) change(filtered bool, next func(cur *State) *State) bool {
	st.mu.Lock()
	cur := st.state.Load()
	if cur == nil {
		st.mu.Unlock()
		return false
	}
	retire := func() {}
	if s := next(cur); s != nil {
		unlock := func() {}
		if filtered {
			st.filters++
			unlock = st.Snapshots.keep(cur)
		}
		retire = st.setState(s)
		unlock()
	}
	st.mu.Unlock()
	retire()
	return true
}

// FreeGeneration frees the memory of a generation that is not used any more.
func (st *Store) FreeGeneration(g *generation.Generation) {
	g.Mem.Free()
	st.ChargeMemtables(-g.Charge)
}

// ChargeMemtables charges n bytes for memtables to the budget; n may be
// negative.
func (st *Store) ChargeMemtables(n int64) {
	st.memtables.add(n)
	st.memory.squeezed()
}

// HoldReads keeps reads below the sequences from seq to end until the table
// first is installed or LetReads is called.
func (st *Store) HoldReads(seq, end base.SeqNum, first base.FileNum) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.held = &window{seq, end, first}
}

// LetReads ends HoldReads, whether or not the tables were installed.
func (st *Store) LetReads() {
	st.change(false, func(cur *State) *State {
		st.held = nil
		if cur.limit == base.SeqNumMax {
			return nil
		}
		return cur.again()
	})
}

// Close removes the current state; readers of states go on. The caller calls
// retire when it has finished with the last state, and Freed when everything
// else has ended.
func (st *Store) Close() (retire func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if s := st.state.Swap(nil); s != nil {
		return s.retire
	}
	return func() {}
}

// Freed ends the database's use of the store.
func (st *Store) Freed() { st.lifetimes.Done() }

// Current returns the current state without pinning it, or nil.
func (st *Store) Current() *State { return st.state.Load() }

// Visible returns the newest visible sequence.
func (st *Store) Visible() base.SeqNum { return base.SeqNum(st.seq.Load()) }

// Publish makes a sequence visible.
func (st *Store) Publish(seq base.SeqNum) { st.seq.Store(uint64(seq)) }

// Closed reports whether the database is closed to iterators and snapshots.
func (st *Store) Closed() bool { return st.isClosed.Load() }

// MarkClosed closes the database to iterators and snapshots.
func (st *Store) MarkClosed() { st.isClosed.Store(true) }

// ReadTime returns the time by which a read that begins now takes values for
// expired, or 0 while nothing has an expiry.
func (st *Store) ReadTime() uint64 { return st.clock.IfUsed() }

// Damaged reports damage that a read found.
func (st *Store) Damaged(err error) { st.o.Damaged(err) }

// Runs calls fn for each keyspace that has tables, with its runs in level 0.
func (st *Store) Runs(fn func(keyspace uint32, runs int)) {
	if s := st.Current(); s != nil {
		s.EachTree(func(id uint32, ls *Levels) { fn(id, len(ls[0])) })
	}
}
