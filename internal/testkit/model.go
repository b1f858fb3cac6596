// Package testkit has a model of a database that is too simple to be wrong, and
// a generator of operations, for the tests of the whole engine. Only test files
// import it.
//
// The model keeps every operation on every key, and answers a read by walking
// that list back. It knows nothing of memtables, tables, compaction or
// sequences. It defines what the engine must do:
//
//   - Put, Delete and SingleDelete hide everything older. The model treats a
//     SingleDelete as a Delete; with it the caller promises that the key was
//     put exactly once, and nothing else, since the last SingleDelete or
//     DeleteRange, and MaySingleDelete reports whether that holds.
//   - DeleteRange is a Delete of every key in [lo, hi).
//   - PutTTL is a Put until its expiry, and a Delete for every read at or
//     after it. That also holds for operands merged onto it: they stay, and
//     then have nothing under them. (They cannot vanish with the value:
//     whether an operand was written before or after the expiry is not known,
//     so the result would depend on when a compaction ran.)
//   - Merge adds an operand. Reading passes the newest version that is not an
//     operand, and all operands since, to the merge operator in one call. If
//     that fails the key exists, reading its value is an error, and a later
//     Put or Delete ends that. Existence needs no operator: Has and reads of
//     keys only never fail because of one.
//   - The operations of one commit take effect one after the other.
//   - A keyspace is created and dropped at once and durably, outside commits.
//     One created under the name of a dropped one is another keyspace, and
//     empty.
//
// A read has a View: a commit and a time, both fixed when a snapshot, an
// iterator or a transaction begins.
package testkit

import (
	"fmt"
	"slices"
	"sort"
)

// Default is the default keyspace, which every database has. It cannot be
// dropped.
const Default = 0

// Model is a database that keeps every version, so that it can be read as of
// any commit. Commits are numbered from 1; 0 is the empty database.
type Model struct {
	spaces []*space // by id, including dropped ones
	log    [][]Op   // log[c-1] is commit c
	asked  []asked  // by commits of transactions
	now    int64    // milliseconds
}

// space is one keyspace.
type space struct {
	name   string
	dead   bool     // it was dropped; its content is kept for transactions
	merger *Merger  // nil if it takes no merges
	keys   []*entry // every key that ever had a version, sorted
	byKey  map[string]*entry
}

// entry is a key and its versions, oldest first.
type entry struct {
	key     string
	history []version
}

type version struct {
	commit int
	kind   Kind // a DeleteRange adds a version to each key that existed
	value  string
	expiry int64 // of a PutTTL
}

func (op *Op) version(commit int) version {
	return version{commit: commit, kind: op.kind(), value: op.Value, expiry: op.Expiry}
}

// View is what a read sees: the commits up to one, at a time.
type View struct {
	Commit int
	Now    int64
}

// NewModel returns an empty model. Its default keyspace takes no merges.
func NewModel() *Model {
	m := &Model{}
	m.CreateKeyspace("default", nil)
	return m
}

// CreateKeyspace creates a keyspace, at once and durably, and returns its id.
// Ids are never reused; names may be.
func (m *Model) CreateKeyspace(name string, merger *Merger) int {
	if _, live := m.Find(name); live {
		panic(fmt.Sprintf("testkit: keyspace %q exists", name))
	}
	m.spaces = append(m.spaces, &space{name: name, merger: merger, byKey: map[string]*entry{}})
	return len(m.spaces) - 1
}

// NextKeyspace returns the number that the next keyspace gets.
func (m *Model) NextKeyspace() int { return len(m.spaces) }

// DropKeyspace drops a keyspace and its content, at once and durably, for every
// view.
func (m *Model) DropKeyspace(id int) {
	if id == Default {
		panic("testkit: the default keyspace cannot be dropped")
	}
	m.space(id).dead = true
}

// UseMerger sets the merge operator of a keyspace; nil removes it.
func (m *Model) UseMerger(id int, merger *Merger) { m.space(id).merger = merger }

// Keyspaces returns the ids of the existing keyspaces, in the order of
// creation.
func (m *Model) Keyspaces() []int {
	var ids []int
	for id, s := range m.spaces {
		if !s.dead {
			ids = append(ids, id)
		}
	}
	return ids
}

// Live reports whether a keyspace exists. All other methods require that.
func (m *Model) Live(id int) bool { return id >= 0 && id < len(m.spaces) && !m.spaces[id].dead }

// Find returns the id of the keyspace with a name.
func (m *Model) Find(name string) (id int, ok bool) {
	id = slices.IndexFunc(m.spaces, func(s *space) bool { return !s.dead && s.name == name })
	return id, id >= 0
}

// KeyspaceName returns the name of a keyspace.
func (m *Model) KeyspaceName(id int) string { return m.space(id).name }

// Merger returns the merge operator of a keyspace, nil when it has none.
func (m *Model) Merger(id int) *Merger { return m.space(id).merger }

func (m *Model) space(id int) *space {
	if !m.Live(id) {
		panic(fmt.Sprintf("testkit: there is no keyspace %d", id))
	}
	return m.spaces[id]
}

// Now returns the time in milliseconds. It begins at 0.
func (m *Model) Now() int64 { return m.now }

// Advance advances the time. It never goes back, not even in a crash.
func (m *Model) Advance(milliseconds int64) {
	if milliseconds < 0 {
		panic("testkit: time goes forward only")
	}
	m.now += milliseconds
}

// View returns the view of a read that begins now.
func (m *Model) View() View { return View{m.Commits(), m.now} }

// Commit applies operations atomically and returns the number of the commit. It
// keeps the slice.
func (m *Model) Commit(ops []Op) int {
	m.log = append(m.log, ops)
	for i := range ops {
		m.apply(len(m.log), &ops[i])
	}
	return len(m.log)
}

func (m *Model) apply(commit int, op *Op) {
	s := m.space(op.Keyspace)
	switch kind := op.kind(); kind {
	case DeleteRange:
		for _, e := range s.between(op.Span()) {
			if n := len(e.history); n > 0 && e.history[n-1].kind != DeleteRange {
				e.history = append(e.history, version{commit: commit, kind: DeleteRange})
			}
		}
	default:
		if kind == Merge && s.merger == nil {
			panic(fmt.Sprintf("testkit: keyspace %q takes no merges", s.name))
		}
		e := s.entry(op.Key)
		e.history = append(e.history, op.version(commit))
	}
}

// entry returns the entry of a key, adding one if there is none.
func (s *space) entry(key string) *entry {
	e := s.byKey[key]
	if e == nil {
		e = &entry{key: key}
		s.byKey[key] = e
		s.keys = slices.Insert(s.keys, s.search(key), e)
	}
	return e
}

// search returns the index of the first entry at or after key.
func (s *space) search(key string) int {
	return sort.Search(len(s.keys), func(i int) bool { return s.keys[i].key >= key })
}

// between returns the entries within a span, with or without versions.
func (s *space) between(r Span) []*entry {
	i, j := s.search(r.Lo), len(s.keys)
	if !r.NoEnd {
		j = s.search(r.Hi)
	}
	return s.keys[i:max(i, j)]
}

// Commits returns the number of the newest commit.
func (m *Model) Commits() int { return len(m.log) }

// Wrote reports whether any commit wrote to a keyspace.
func (m *Model) Wrote(id int) bool {
	return slices.ContainsFunc(m.log, func(ops []Op) bool {
		return slices.ContainsFunc(ops, func(op Op) bool { return op.Keyspace == id })
	})
}

// Truncate removes every commit after number c, as a crash may. Keyspaces and
// the time stay.
func (m *Model) Truncate(c int) {
	for _, s := range m.spaces {
		for _, e := range s.keys {
			e.history = e.visible(c)
		}
	}
	m.log = m.log[:min(len(m.log), c)]
	m.asked = slices.DeleteFunc(m.asked, func(a asked) bool { return a.commit > c })
}

// visible returns the part of the history up to a commit.
func (e *entry) visible(commit int) []version {
	h := e.history
	if n := len(h); n == 0 || h[n-1].commit <= commit {
		return h
	}
	return h[:sort.Search(len(h), func(i int) bool { return h[i].commit > commit })]
}

// under returns the index of the newest version that is not an operand, or -1.
func under(h []version) int {
	i := len(h) - 1
	for i >= 0 && h[i].kind == Merge {
		i--
	}
	return i
}

// resolve returns the value of a history, truncated to what is visible. If err
// is not nil the key exists and its value cannot be read.
func (s *space) resolve(h []version, now int64) (value string, exists bool, err error) {
	i := under(h)
	if i >= 0 && (h[i].kind == Put || h[i].kind == PutTTL && h[i].expiry > now) {
		value, exists = h[i].value, true
	}
	if i == len(h)-1 {
		return value, exists, nil
	}
	operands := make([]string, 0, len(h)-i)
	for _, v := range h[i+1:] {
		operands = append(operands, v.value)
	}
	value, err = s.merger.Full(value, exists, operands)
	return value, true, err
}

// Lookup returns the value of a key. Errors come from the merge operator, and
// wrap ErrMerge.
func (m *Model) Lookup(v View, keyspace int, key string) (value string, exists bool, err error) {
	s := m.space(keyspace)
	e := s.byKey[key]
	if e == nil {
		return "", false, nil
	}
	return s.resolve(e.visible(v.Commit), v.Now)
}

// Has reports whether a key exists, readable or not.
func (m *Model) Has(v View, keyspace int, key string) bool {
	_, exists, _ := m.Lookup(v, keyspace, key)
	return exists
}

// Get returns the value of a key of the default keyspace after commit at, at
// the current time. It is for tests that neither merge nor keep views while
// time passes.
func (m *Model) Get(key string, at int) (string, bool) {
	value, exists, err := m.Lookup(View{at, m.now}, Default, key)
	if err != nil {
		panic(err)
	}
	return value, exists
}

// MaySingleDelete reports whether the promise of a SingleDelete holds for a key
// after the newest commit and ops, which come next: the key was put exactly
// once, and nothing else, since the last SingleDelete or DeleteRange, or ever.
// A Delete in between breaks it: a compaction may drop the Delete under the
// later Put, and when the SingleDelete and that Put vanish together, they would
// uncover what was under the Delete.
func (m *Model) MaySingleDelete(ops []Op, keyspace int, key string) bool {
	h := m.history(m.Commits(), ops, keyspace, key)
	n := len(h)
	return n > 0 && h[n-1].kind == Put && (n == 1 || h[n-2].kind == SingleDelete || h[n-2].kind == DeleteRange)
}

// history returns the versions of a key up to a commit, followed by those of an
// overlay. It returns only versions from the newest that is not an operand on,
// which decide every read.
func (m *Model) history(commit int, overlay []Op, keyspace int, key string) []version {
	var h []version
	if e := m.spaces[keyspace].byKey[key]; e != nil {
		h = e.visible(commit)
	}
	from := max(0, under(h)-1)
	h = slices.Clip(h[from:]) // appending must not change the entry
	for i := range overlay {
		op := &overlay[i]
		switch {
		case op.Keyspace != keyspace:
		case op.kind() != DeleteRange:
			if op.Key == key {
				h = append(h, op.version(commit+1))
			}
		case op.Span().Contains(key):
			h = append(h, version{commit: commit + 1, kind: DeleteRange})
		}
	}
	return h
}

// asked is what the transaction of a commit read for update.
type asked struct {
	commit int
	keys   []keyRef
}

type keyRef struct {
	keyspace int
	key      string
}
