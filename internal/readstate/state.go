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

// Shards is the number of reference counters of a state. Readers on different
// cores mostly use different cache lines.
const Shards = 8

// State is everything that a read needs (I3): the active generation, the
// immutable ones, newest first, and the tables. It is immutable except for its
// counters.
//
// Point reads hold it by Acquire and Release. The counters are sharded. A
// reader counts as holding a state only after it has seen that the state is
// still current. So once a state is replaced no shard gains a holder, and the
// state is quiet when each shard has been seen at zero after that.
//
// Iterators, jobs and snapshots hold it by Keep and LetGo, which use other
// counters: a quiet state may be kept for long, and is freed when it is quiet
// and nothing keeps it.
type State struct {
	st     *Store
	Active *generation.Generation
	Imm    []*generation.Generation
	v      *view
	// limit is the newest sequence that may be read here. It is below the
	// visible one only while a load is being installed: commits after the load
	// go to memtables of this state, and must not be seen without the load.
	limit base.SeqNum
	// Filters is how many times a compaction filter had taken effect.
	Filters uint64

	refs     [Shards]paddedCount
	retired  atomic.Bool // replaced: each release checks whether it is the last
	silent   atomic.Bool // the release that sets it reports the state as quiet
	reclaims atomic.Bool // the release that sets it frees the state's references

	quiet   bool     // guarded by quietStates.mu; no point read holds it
	younger *State   // guarded by quietStates.mu; the next state
	dead    []func() // guarded by quietStates.mu; arguments of quietStates.wait
}

type paddedCount struct {
	n    atomic.Int64 // point reads
	kept atomic.Int64 // iterators, jobs and snapshots
	_    [48]byte
}

// Generations returns the generations, newest first.
func (s *State) Generations() []*generation.Generation {
	return append([]*generation.Generation{s.Active}, s.Imm...)
}

// again returns a new state with the content of s.
func (s *State) again() *State { return &State{Active: s.Active, Imm: s.Imm, v: s.v} }

// Oldest returns the oldest generation; older entries are in tables.
func (s *State) Oldest() *generation.Generation {
	if n := len(s.Imm); n > 0 {
		return s.Imm[n-1]
	}
	return s.Active
}

// Visible returns the sequence at which a read that begins now sees s.
func (s *State) Visible() base.SeqNum { return min(s.st.Visible(), s.limit) }

// Version returns the version of the tables.
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

// Acquire pins the current state, or returns nil if the database is closed.
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

// Release releases what Acquire pinned.
func (s *State) Release(shard int) {
	if s.refs[shard].n.Add(-1) == 0 && s.retired.Load() {
		s.tryReclaim()
	}
}

// Keep pins the current state for longer than a call.
func (st *Store) Keep() (*State, int) {
	s, shard := st.Acquire()
	if s != nil {
		s.keepOn(shard)
	}
	return s, shard
}

// keepOn turns Acquire's pin into one of Keep. It counts the new pin before it
// releases the old one, so that the state always has one.
func (s *State) keepOn(shard int) {
	s.refs[shard].kept.Add(1)
	s.Release(shard)
}

// KeepAgain adds another pin to one of Keep.
func (s *State) KeepAgain(shard int) { s.refs[shard].kept.Add(1) }

// LetGo releases a pin of Keep.
func (s *State) LetGo(shard int) {
	if s.refs[shard].kept.Add(-1) == 0 && s.retired.Load() {
		s.tryReclaim()
	}
}

// retire is called once, after the state was replaced.
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
	for i := range s.refs { // after the others: every kept state was acquired first
		if s.refs[i].kept.Load() != 0 {
			return
		}
	}
	if s.reclaims.CompareAndSwap(false, true) {
		s.st.reclaim(s)
	}
}

// view is a version with the handles of its files. Several states share a view
// while only memtables change, and views share the trees that do not differ
// between their versions.
type view struct {
	version *manifest.Version
	root    *Levels      // of the default keyspace
	ids     []uint32     // of the keyspaces that have tables, ascending
	trees   []*treeView  // parallel to ids
	values  []*valueFile // sorted by number
	refs    int          // states that use it; guarded by store.mu
}

// treeView is the tree of one keyspace. It is immutable except for its counter.
type treeView struct {
	Levels
	tree *manifest.Tree
	refs int // views that share it; guarded by store.mu
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

// setState makes s current and retires its predecessor. The caller holds st.mu
// and calls the returned function after unlocking it.
func (st *Store) setState(s *State) (retire func()) {
	s.st, s.limit, s.Filters = st, st.readLimit(), st.filters
	for _, g := range s.Generations() {
		st.gens[g]++
	}
	s.v.refs++
	st.lifetimes.Add() // reclaim calls Done
	st.quiet.add(s)
	old := st.state.Swap(s)
	return func() {
		if old != nil {
			old.retire()
		}
	}
}

// readLimit returns the newest sequence that reads of a new state may see. The
// caller holds mu.
func (st *Store) readLimit() base.SeqNum {
	if w := st.held; w != nil && st.tables[w.first] == nil {
		return w.seq - 1
	}
	return base.SeqNumMax
}

// reclaim drops the references of a state that no reader can reach.
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

// releaseView drops one use of a view and returns the files that lost their
// last use. The caller holds st.mu.
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

// newView returns the view of a version, with new or existing handles of its
// files. It opens no file, and takes over the trees that the version shares
// with that of cur. The caller holds st.mu.
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

// newTreeView returns a tree with its runs. The caller holds st.mu.
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

// handles returns new or existing handles of tables, and counts a use of each.
// The caller holds st.mu.
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

// Names reports whether a state names a file: a table with a file of its own, a
// pack, or a value file.
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

// lifetimes counts the users of the memory: the states, and the database until
// Close. The last one to end frees the cache.
type lifetimes struct {
	mu   sync.Mutex
	n    int    // guarded by mu
	last func() // called when n reaches zero; immutable after New
}

// Add adds a user.
func (l *lifetimes) Add() {
	l.mu.Lock()
	l.n++
	l.mu.Unlock()
}

// Done removes a user.
func (l *lifetimes) Done() {
	l.mu.Lock()
	l.n--
	last := l.n == 0
	l.mu.Unlock()
	if last && l.last != nil {
		l.last()
	}
}
