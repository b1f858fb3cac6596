package readstate

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Shards is how many reference counters a state has. Readers on different
// cores mostly hit different cache lines.
const Shards = 8

// State is all that a read needs (I3): the active generation, the immutable
// ones newest first, and the tables. It is immutable but for its counters.
//
// Point reads hold it by Acquire and Release. The counters are sharded; a reader
// counts as holding only after it has seen that the state is still current,
// so once a state is unlinked no shard can gain a holder any more, and a state
// is quiet when each shard has been seen at zero after that.
//
// What lasts longer than a call (iterators, jobs, what snapshots keep) holds it by
// Keep and LetGo, which count apart: a quiet state may be kept for long, and it
// is free when it is quiet and nothing keeps it.
type State struct {
	st     *Store
	Active *generation.Generation
	Imm    []*generation.Generation
	v      *view
	// limit is the newest sequence that is read here. It is short of what is
	// visible only where a load takes its place: what follows the load goes to
	// memtables of this state, and must not be seen without the load.
	limit base.SeqNum
	// Filters is how many times a filter has taken effect.
	Filters uint64

	refs     [Shards]paddedCount
	retired  atomic.Bool // unlinked: releasers must look for the last one
	silent   atomic.Bool // the release that sets it reports that the state is quiet
	reclaims atomic.Bool // the release that sets it frees what the state held

	quiet   bool     // guarded by quietStates.mu; no point read holds it
	younger *State   // guarded by quietStates.mu; the state that followed
	dead    []func() // guarded by quietStates.mu; what quietStates.wait was given
}

type paddedCount struct {
	n    atomic.Int64 // point reads
	kept atomic.Int64 // what lasts longer
	_    [48]byte
}

// Generations lists them, newest first.
func (s *State) Generations() []*generation.Generation {
	return append([]*generation.Generation{s.Active}, s.Imm...)
}

// again returns a new state of what s has.
func (s *State) again() *State { return &State{Active: s.Active, Imm: s.Imm, v: s.v} }

// Oldest returns the generation behind which there are only tables.
func (s *State) Oldest() *generation.Generation {
	if n := len(s.Imm); n > 0 {
		return s.Imm[n-1]
	}
	return s.Active
}

// Visible returns the sequence that a read begun now sees.
func (s *State) Visible() base.SeqNum { return min(s.st.Visible(), s.limit) }

// Version returns that of the tables.
func (s *State) Version() *manifest.Version { return s.v.version }

// Levels returns the levels of a keyspace.
func (s *State) Levels(keyspace uint32) *Levels { return s.v.of(keyspace) }

// EachTree calls fn for every keyspace that has tables, in ascending order.
func (s *State) EachTree(fn func(keyspace uint32, ls *Levels)) {
	for i, t := range s.v.trees {
		fn(s.v.ids[i], &t.Levels)
	}
}

// ValueBytes returns the size of all value files.
func (s *State) ValueBytes() (n int64) {
	for _, f := range s.v.values {
		n += int64(f.meta.Size)
	}
	return n
}

// Acquire pins the current state; it answers nil when the database is closed.
func (st *Store) Acquire() (*State, int) {
	shard := int(rand.Uint32() & (Shards - 1))
	for {
		s := st.state.Load()
		if s == nil {
			return nil, 0
		}
		s.refs[shard].n.Add(1)
		if st.state.Load() == s {
			return s, shard
		}
		s.Release(shard)
	}
}

// Release gives back what Acquire gave.
func (s *State) Release(shard int) {
	if s.refs[shard].n.Add(-1) == 0 && s.retired.Load() {
		s.tryReclaim()
	}
}

// Keep pins the current state as Acquire does, for longer than a call.
func (st *Store) Keep() (*State, int) {
	s, shard := st.Acquire()
	if s != nil {
		s.keepOn(shard)
	}
	return s, shard
}

// keepOn makes what Acquire pinned last longer than a call. It counts the one
// before it gives up the other, so that the state is never without both.
func (s *State) keepOn(shard int) {
	s.refs[shard].kept.Add(1)
	s.Release(shard)
}

// KeepAgain pins once more what Keep pinned.
func (s *State) KeepAgain(shard int) { s.refs[shard].kept.Add(1) }

// LetGo gives back what Keep gave.
func (s *State) LetGo(shard int) {
	if s.refs[shard].kept.Add(-1) == 0 && s.retired.Load() {
		s.tryReclaim()
	}
}

// retire is called once, after the state pointer moved on.
func (s *State) retire() {
	s.retired.Store(true)
	s.tryReclaim()
}

func (s *State) tryReclaim() {
	for i := range s.refs {
		if s.refs[i].n.Load() != 0 {
			return
		}
	}
	if s.silent.CompareAndSwap(false, true) {
		s.st.quiet.note(s)
	}
	for i := range s.refs { // after the others: what is kept was acquired before
		if s.refs[i].kept.Load() != 0 {
			return
		}
	}
	if s.reclaims.CompareAndSwap(false, true) {
		s.st.reclaim(s)
	}
}

// view is a version with the open files that belong to it. Several states
// share one view while only memtables change, and views share the trees in which
// their versions do not differ.
type view struct {
	version *manifest.Version
	root    *Levels      // of the default keyspace
	ids     []uint32     // of the keyspaces that have tables, ascending
	trees   []*treeView  // beside ids
	values  []*valueFile // sorted by number
	refs    int          // states that use it; guarded by store.mu
}

// treeView is the tree of one keyspace. It is immutable but for its counter.
type treeView struct {
	Levels
	tree *manifest.Tree
	refs int // views that have it; guarded by store.mu
}

// Levels are the runs of one keyspace, newest first.
type Levels [base.NumLevels][]Run

var noLevels Levels

// of returns the levels of a keyspace.
func (v *view) of(keyspace uint32) *Levels {
	if keyspace == 0 {
		return v.root
	}
	if i, ok := slices.BinarySearch(v.ids, keyspace); ok {
		return &v.trees[i].Levels
	}
	return &noLevels
}

// eachTable calls fn for every table.
func (v *view) eachTable(fn func(level int, t *Table)) {
	for _, t := range v.trees {
		t.each(fn)
	}
}

func (ls *Levels) each(fn func(level int, t *Table)) {
	for l := range ls {
		for _, r := range ls[l] {
			for _, t := range r.Tables {
				fn(l, t)
			}
		}
	}
}

// Run is one sorted run: disjoint tables in key order.
type Run struct {
	id     uint64
	Tables []*Table
	Ranges bool // some table has range tombstones
}

// setState makes s current and retires its predecessor. The caller holds st.mu;
// the returned function must be called after it is let go.
func (st *Store) setState(s *State) (retire func()) {
	s.st, s.limit, s.Filters = st, st.readLimit(), st.filters
	for _, g := range s.Generations() {
		st.gens[g]++
	}
	s.v.refs++
	st.lifetimes.Add() // reclaim gives it back
	st.quiet.add(s)
	old := st.state.Swap(s)
	return func() {
		if old != nil {
			old.retire()
		}
	}
}

// readLimit returns the newest sequence that a read of a new state may see. The
// caller holds mu.
func (st *Store) readLimit() base.SeqNum {
	if w := st.held; w != nil && st.tables[w.first] == nil {
		return w.seq - 1
	}
	return base.SeqNumMax
}

// reclaim drops the references of a state that no reader can reach any more.
func (st *Store) reclaim(s *State) {
	st.mu.Lock()
	var free []*generation.Generation
	for _, g := range s.Generations() {
		if st.gens[g]--; st.gens[g] == 0 {
			delete(st.gens, g)
			free = append(free, g)
		}
	}
	tables, values := st.releaseView(s.v)
	st.mu.Unlock()
	for _, g := range free {
		st.FreeGeneration(g)
	}
	st.closeFiles(tables, values)
	st.lifetimes.Done()
}

// releaseView drops one use of a view and collects the files that lost their
// last one. The caller holds st.mu.
func (st *Store) releaseView(v *view) (tables []*Table, values []*valueFile) {
	v.refs--
	if v.refs > 0 {
		return nil, nil
	}
	if invariant.Enabled && v.refs < 0 {
		panic("readstate: a view was released twice")
	}
	for _, tv := range v.trees {
		if tv.refs--; tv.refs > 0 {
			continue
		}
		tv.each(func(_ int, t *Table) {
			if t.refs--; t.refs == 0 {
				delete(st.tables, t.Meta.Num)
				st.leavePack(t)
				tables = append(tables, t)
			}
		})
	}
	for _, f := range v.values {
		if f.refs--; f.refs == 0 {
			delete(st.valueFiles, f.meta.Num)
			values = append(values, f)
		}
	}
	return tables, values
}

// newView opens nothing: it makes or finds the handle of each file of a
// version. The trees that the version shares with that of the current view are
// taken from there. The caller holds st.mu.
func (st *Store) newView(ver *manifest.Version, cur *view) *view {
	trees := ver.Trees()
	v := &view{version: ver, root: &noLevels, ids: make([]uint32, len(trees)), trees: make([]*treeView, len(trees))}
	var old []*treeView
	if cur != nil {
		old = cur.trees
	}
	for i, t := range trees {
		for len(old) > 0 && old[0].tree.Keyspace < t.Keyspace {
			old = old[1:]
		}
		if len(old) > 0 && old[0].tree == t {
			v.trees[i] = old[0]
		} else {
			v.trees[i] = st.newTreeView(t)
		}
		v.trees[i].refs++
		v.ids[i] = t.Keyspace
	}
	if len(trees) > 0 && trees[0].Keyspace == 0 {
		v.root = &v.trees[0].Levels
	}
	for _, m := range ver.SortedValues() {
		f := st.valueFiles[m.Num]
		if f == nil {
			f = newValueFile(st, m)
			st.valueFiles[m.Num] = f
		}
		f.refs++
		v.values = append(v.values, f)
	}
	return v
}

// newTreeView makes the runs of a tree. The caller holds st.mu.
func (st *Store) newTreeView(t *manifest.Tree) *treeView {
	tv := &treeView{tree: t}
	for l := range t.Levels {
		for _, r := range t.Levels[l] {
			tv.Levels[l] = append(tv.Levels[l], Run{
				id: r.ID, Tables: st.handles(r.Files),
				Ranges: slices.ContainsFunc(r.Files, func(f *manifest.FileMeta) bool { return f.Ranges > 0 }),
			})
		}
	}
	return tv
}

// handles makes or finds the handles of tables, and counts a use of each. The
// caller holds st.mu.
func (st *Store) handles(files []*manifest.FileMeta) []*Table {
	out := make([]*Table, len(files))
	for i, m := range files {
		t := st.tables[m.Num]
		if t == nil {
			t = newTable(st, m)
			st.tables[m.Num] = t
		}
		t.refs++
		out[i] = t
	}
	return out
}

// Table returns the handle of a table that a pinned state names.
func (st *Store) Table(n base.FileNum) *Table {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.tables[n]
}

// Names reports whether a state names a file: a table that has a file of its own, a pack,
// or a value file.
func (st *Store) Names(t base.FileType, n base.FileNum) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch t {
	case base.FileTypeTable:
		return st.tables[n] != nil && st.tables[n].pack == nil
	case base.FileTypePack:
		return st.packs[n] != nil
	case base.FileTypeValues:
		return st.valueFiles[n] != nil
	}
	return false
}

// lifetimes counts what must be gone before the memory can be: the
// states, and Close itself. The last one to go frees the cache.
type lifetimes struct {
	mu   sync.Mutex
	n    int    // guarded by mu
	last func() // called when n reaches zero; immutable after New
}

// Add counts one more.
func (l *lifetimes) Add() {
	l.mu.Lock()
	l.n++
	l.mu.Unlock()
}

// Done counts one less.
func (l *lifetimes) Done() {
	l.mu.Lock()
	l.n--
	last := l.n == 0
	l.mu.Unlock()
	if last && l.last != nil {
		l.last()
	}
}
