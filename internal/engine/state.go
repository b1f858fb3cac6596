package engine

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

// shards is how many reference counters a state has. Readers on different
// cores mostly hit different cache lines.
const shards = 8

// state is all that a read needs (I3): the active generation, the immutable
// ones newest first, and the tables. It is immutable but for its counters.
//
// Point reads hold it by acquire and release. The counters are sharded; a reader
// counts as holding only after it has seen that the state is still current,
// so once a state is unlinked no shard can gain a holder any more, and a state
// is quiet when each shard has been seen at zero after that.
//
// What lasts longer than a call (iterators, jobs, what snapshots keep) holds it by
// keep and letGo, which count apart: a quiet state may be kept for long, and it
// is free when it is quiet and nothing keeps it.
type state struct {
	e      *Engine
	active *generation.Generation
	imm    []*generation.Generation
	v      *view
	// limit is the newest sequence that is read here. It is short of what is
	// visible only where a load takes its place: what follows the load goes to
	// memtables of this state, and must not be seen without the load.
	limit base.SeqNum
	// filters is how many times a filter has taken effect.
	filters uint64

	refs     [shards]paddedCount
	retired  atomic.Bool // unlinked: releasers must look for the last one
	silent   atomic.Bool // the release that sets it reports that the state is quiet
	reclaims atomic.Bool // the one who sets it frees what the state held

	quiet   bool     // guarded by quietStates.mu; no point read holds it
	younger *state   // guarded by quietStates.mu; the state that followed
	dead    []func() // guarded by quietStates.mu; what quietStates.wait was given
}

type paddedCount struct {
	n    atomic.Int64 // point reads
	kept atomic.Int64 // what lasts longer
	_    [48]byte
}

// generations lists them, newest first.
func (s *state) generations() []*generation.Generation {
	return append([]*generation.Generation{s.active}, s.imm...)
}

// oldest is the generation behind which there are only tables.
func (s *state) oldest() *generation.Generation {
	if n := len(s.imm); n > 0 {
		return s.imm[n-1]
	}
	return s.active
}

// visible is the sequence that a read begun now sees.
func (s *state) visible() base.SeqNum { return min(s.e.visibleSeq(), s.limit) }

// acquire pins the current state; it answers nil when the engine is closed.
func (e *Engine) acquire() (*state, int) {
	shard := int(rand.Uint32() & (shards - 1))
	for {
		s := e.state.Load()
		if s == nil {
			return nil, 0
		}
		s.refs[shard].n.Add(1)
		if e.state.Load() == s {
			return s, shard
		}
		s.release(shard)
	}
}

// release gives back what acquire gave.
func (s *state) release(shard int) {
	if s.refs[shard].n.Add(-1) == 0 && s.retired.Load() {
		s.tryReclaim()
	}
}

// keep pins the current state as acquire does, for longer than a call.
func (e *Engine) keep() (*state, int) {
	s, shard := e.acquire()
	if s != nil {
		s.keepOn(shard)
	}
	return s, shard
}

// keepOn makes what acquire pinned last longer than a call. It counts the one
// before it gives up the other, so that the state is never without both.
func (s *state) keepOn(shard int) {
	s.refs[shard].kept.Add(1)
	s.release(shard)
}

// letGo gives back what keep gave.
func (s *state) letGo(shard int) {
	if s.refs[shard].kept.Add(-1) == 0 && s.retired.Load() {
		s.tryReclaim()
	}
}

// retire is called once, after the state pointer moved on.
func (s *state) retire() {
	s.retired.Store(true)
	s.tryReclaim()
}

func (s *state) tryReclaim() {
	for i := range s.refs {
		if s.refs[i].n.Load() != 0 {
			return
		}
	}
	if s.silent.CompareAndSwap(false, true) {
		s.e.quiet.note(s)
	}
	for i := range s.refs { // after the others: what is kept was acquired before
		if s.refs[i].kept.Load() != 0 {
			return
		}
	}
	if s.reclaims.CompareAndSwap(false, true) {
		s.e.reclaim(s)
	}
}

// view is a version with the open files that belong to it. Several states
// share one view while only memtables change, and views share the trees in which
// their versions do not differ.
type view struct {
	version *manifest.Version
	root    *levels      // of the default keyspace
	ids     []uint32     // of the keyspaces that have tables, ascending
	trees   []*treeView  // beside ids
	values  []*valueFile // sorted by number
	refs    int          // states that use it; guarded by Engine.mu
}

// treeView is the tree of one keyspace. It is immutable but for its counter.
type treeView struct {
	levels
	tree *manifest.Tree
	refs int // views that have it; guarded by Engine.mu
}

// levels are the runs of one keyspace, newest first.
type levels [base.NumLevels][]tableRun

var noLevels levels

// of returns the levels of a keyspace.
func (v *view) of(k *Keyspace) *levels {
	if k.id == 0 {
		return v.root
	}
	if i, ok := slices.BinarySearch(v.ids, k.id); ok {
		return &v.trees[i].levels
	}
	return &noLevels
}

// eachTable calls fn for every table.
func (v *view) eachTable(fn func(level int, t *table)) {
	for _, t := range v.trees {
		t.each(fn)
	}
}

func (ls *levels) each(fn func(level int, t *table)) {
	for l := range ls {
		for _, r := range ls[l] {
			for _, t := range r.tables {
				fn(l, t)
			}
		}
	}
}

// tableRun is one sorted run: disjoint tables in key order.
type tableRun struct {
	id     uint64
	tables []*table
	ranges bool // some table has range tombstones
}

// setState makes s current and retires its predecessor. The caller holds e.mu;
// the returned function must be called after it is let go.
func (e *Engine) setState(s *state) (retire func()) {
	s.e, s.limit, s.filters = e, e.readLimit(), e.filters
	for _, g := range s.generations() {
		e.gens[g]++
	}
	s.v.refs++
	e.lifetimes.Add() // reclaim gives it back
	e.quiet.add(s)
	old := e.state.Swap(s)
	return func() {
		if old != nil {
			old.retire()
		}
	}
}

// reclaim drops the references of a state that no reader can reach any more.
func (e *Engine) reclaim(s *state) {
	e.mu.Lock()
	var free []*generation.Generation
	for _, g := range s.generations() {
		if e.gens[g]--; e.gens[g] == 0 {
			delete(e.gens, g)
			free = append(free, g)
		}
	}
	tables, values := e.releaseView(s.v)
	e.mu.Unlock()
	for _, g := range free {
		e.freeGeneration(g)
	}
	e.closeFiles(tables, values)
	e.lifetimes.Done()
}

// releaseView drops one use of a view and collects the files that lost their
// last one. The caller holds e.mu.
func (e *Engine) releaseView(v *view) (tables []*table, values []*valueFile) {
	v.refs--
	if v.refs > 0 {
		return nil, nil
	}
	if invariant.Enabled && v.refs < 0 {
		panic("engine: a view was released twice")
	}
	for _, tv := range v.trees {
		if tv.refs--; tv.refs > 0 {
			continue
		}
		tv.each(func(_ int, t *table) {
			if t.refs--; t.refs == 0 {
				delete(e.tables, t.meta.Num)
				e.leavePack(t)
				tables = append(tables, t)
			}
		})
	}
	for _, f := range v.values {
		if f.refs--; f.refs == 0 {
			delete(e.valueFiles, f.meta.Num)
			values = append(values, f)
		}
	}
	return tables, values
}

// newView opens nothing: it makes or finds the handle of each file of a
// version. The trees that the version shares with that of the current view are
// taken from there. The caller holds e.mu.
func (e *Engine) newView(ver *manifest.Version, cur *view) *view {
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
			v.trees[i] = e.newTreeView(t)
		}
		v.trees[i].refs++
		v.ids[i] = t.Keyspace
	}
	if len(trees) > 0 && trees[0].Keyspace == 0 {
		v.root = &v.trees[0].levels
	}
	for _, m := range sortedValues(ver) {
		f := e.valueFiles[m.Num]
		if f == nil {
			f = newValueFile(e, m)
			e.valueFiles[m.Num] = f
		}
		f.refs++
		v.values = append(v.values, f)
	}
	return v
}

// newTreeView makes the runs of a tree. The caller holds e.mu.
func (e *Engine) newTreeView(t *manifest.Tree) *treeView {
	tv := &treeView{tree: t}
	for l := range t.Levels {
		for _, r := range t.Levels[l] {
			tv.levels[l] = append(tv.levels[l], tableRun{
				id: r.ID, tables: e.handles(r.Files),
				ranges: slices.ContainsFunc(r.Files, func(f *manifest.FileMeta) bool { return f.Ranges > 0 }),
			})
		}
	}
	return tv
}

// handles makes or finds the handles of tables, and counts a use of each. The
// caller holds e.mu.
func (e *Engine) handles(files []*manifest.FileMeta) []*table {
	out := make([]*table, len(files))
	for i, m := range files {
		t := e.tables[m.Num]
		if t == nil {
			t = newTable(e, m)
			e.tables[m.Num] = t
		}
		t.refs++
		out[i] = t
	}
	return out
}

// lifetimes counts what must be gone before the engine's memory can be: the
// states, and Close itself. The last one to go frees the cache.
type lifetimes struct {
	mu   sync.Mutex
	n    int    // guarded by mu
	last func() // called when n reaches zero; immutable after Open
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
