package rangedel

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// Set is tombstones that come one at a time, in any order of their sequences.
// The zero Set is empty. It is safe for concurrent use.
type Set struct {
	view  atomic.Pointer[View] // nil when empty, claimed for a moment; stored under mu
	mu    sync.Mutex           // held by edits
	edits edit                 // guarded by mu; how many copied what they changed
	adder *adder               // guarded by mu; for its memory
}

// View is a Set at one moment. Once a reader has it, only the marks of its fragments
// change.
type View struct {
	root *node
	n    int         // fragments
	seen atomic.Bool // a reader may have it
}

// claimed is the view of a Set while an edit changes one in place that no reader
// has. Readers and edits meet as in Dekker's algorithm: a reader marks the view as
// seen and then looks whether it is still there, an edit takes it away and then looks
// whether it was seen. One of them at least notices the other.
var claimed = new(View)

// maxInPlace bounds how many tombstones an edit adds, and with it how long a reader
// waits for the edit: less than a millisecond.
const maxInPlace = 512

// View returns the set as it is now, or nil when it is empty.
//
// A read that must see every tombstone up to a sequence, and none of them
// dropped, loads the view first, then takes its sequence from what is visible,
// and then looks whether the view is still the current one.
func (s *Set) View() *View {
	v := s.view.Load()
	if v == nil {
		return nil
	}
	if v != claimed {
		invariant.Yield()
		if !v.seen.Load() {
			v.seen.Store(true)
		}
		invariant.Yield()
		if s.view.Load() == v {
			return v
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v = s.view.Load()
	v.seen.Store(true)
	return v
}

// Add adds a tombstone, copying the keys, and returns the view with it. An
// empty hi is no end. Tombstones with no key between lo and hi are not added.
//
// stripes are the live snapshots, ascending, and last the visible sequence: all
// at which there are reads that began before, and below all at which there will
// be any. In the fragments it covers, Add drops each sequence for which there
// is a newer one that all those reads see which see the older. A commit that
// follows right on what is visible may add its own last sequence to stripes:
// no read will ever be in the midst of it. Otherwise a batch that deletes one
// range many times keeps them all until they are visible.
func (s *Set) Add(lo, hi []byte, seq base.SeqNum, stripes []base.SeqNum) *View {
	return s.addOne(stripes, clean, Tombstone{lo, hi, seq})
}

// AddAll is Add for each of several tombstones, in the order of their keys: what
// 20,000 in any order change lies in as many places, and waiting for these took half
// of the time. It returns no view, and copies nothing as long as no reader asks for
// one.
func (s *Set) AddAll(tombstones []Tombstone, stripes []base.SeqNum) {
	order := inOrder(tombstones)
	for part := range slices.Chunk(order, maxInPlace) {
		s.mu.Lock()
		s.add(stripes, clean, tombstones, part)
		s.mu.Unlock()
	}
}

// AddSeen is Add of a tombstone that reads see as soon as it is in the view: its
// sequence is visible. The fragments that get it are not clean before ReuseRange
// found nothing newer in them.
func (s *Set) AddSeen(lo, hi []byte, seq base.SeqNum, stripes []base.SeqNum) *View {
	return s.addOne(stripes, unsure, Tombstone{lo, hi, seq})
}

func (s *Set) addOne(stripes []base.SeqNum, mark uint32, t Tombstone) *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(stripes, mark, []Tombstone{t}, []ordered{{}})
	v := s.view.Load()
	if v != nil {
		v.seen.Store(true)
	}
	return v
}

// add adds some of several tombstones. It marks as given the fragments to which one
// gives a new meaning. The caller holds mu.
func (s *Set) add(stripes []base.SeqNum, mark uint32, tombstones []Tombstone, part []ordered) {
	if s.adder == nil {
		s.adder = new(adder)
	}
	a := s.adder
	a.stripes, a.mark = stripes, mark
	v := s.view.Load()
	next := v
	if !s.claim(v) {
		s.edits++
		if next = new(View); v != nil {
			next.root, next.n = v.root, v.n
		}
	}
	a.edit = s.edits
	for _, o := range part {
		t := &tombstones[o.i]
		if len(t.Hi) == 0 || bytes.Compare(t.Lo, t.Hi) < 0 {
			a.over(next, t)
			invariant.Yield()
		}
	}
	if next.root == nil {
		next = nil // only tombstones with no key between their ends came
	}
	s.view.Store(next)
}

// claim reports whether tombstones may go into a view in place. The caller stores a
// view in the end.
func (s *Set) claim(v *View) bool {
	if v == nil || v.seen.Load() {
		return false
	}
	invariant.Yield()
	s.view.Store(claimed)
	invariant.Yield()
	return !v.seen.Load()
}

// adder puts tombstones over the fragments in their ranges, one by one.
type adder struct {
	splicer
	stripes []base.SeqNum
	mark    uint32 // of fragments to which a tombstone gives a new meaning

	// Of the tombstone at hand.
	seq     base.SeqNum
	lo, hi  []byte
	pos     []byte // up to here it is done
	endless bool   // all is done
	met     int    // fragments that it meets
	begun   int    // what is in with from here on is its own
}

// ordered is a tombstone among several.
type ordered struct {
	head uint64 // of Lo
	i    int
}

// inOrder lists tombstones by Lo.
func inOrder(ts []Tombstone) []ordered {
	order := make([]ordered, len(ts))
	for i := range ts {
		order[i] = ordered{base.Head(ts[i].Lo), i}
	}
	slices.SortFunc(order, func(x, y ordered) int {
		if x.head != y.head {
			return cmp.Compare(x.head, y.head)
		}
		return bytes.Compare(ts[x.i].Lo, ts[y.i].Lo)
	})
	return order
}

// over puts a tombstone into a view that no reader has. It copies the keys.
func (a *adder) over(v *View, t *Tombstone) {
	keys := make([]byte, len(t.Lo)+len(t.Hi))
	n := copy(keys, t.Lo)
	copy(keys[n:], t.Hi)
	a.lo, a.hi = keys[:n:n], keys[n:]
	if len(a.hi) == 0 {
		a.hi = nil
	}
	a.seq, a.pos, a.endless = t.Seq, a.lo, false
	a.met, a.begun, a.with = 0, 0, a.with[:0]
	if v.root != nil {
		first := v.root.find(&a.from, a.lo)
		a.to = a.from
		if first != nil && a.beginsIn(first) {
			a.overAll(v.root, first)
		}
	}
	if !a.endless && (a.hi == nil || bytes.Compare(a.pos, a.hi) < 0) {
		a.fill(a.hi)
	}
	v.n += len(a.with) - a.met
	v.root = a.splice(v.root)
}

// beginsIn reports whether a fragment begins before the tombstone ends.
func (a *adder) beginsIn(n *node) bool { return a.hi == nil || bytes.Compare(n.Lo, a.hi) < 0 }

// overAll covers the fragments that the tombstone meets. What of the first lies
// before it, and of the last behind, stays as it was.
func (a *adder) overAll(root, first *node) {
	if bytes.Compare(first.Lo, a.lo) < 0 {
		a.with = append(a.with, piece(first, first.Lo, a.lo))
	}
	a.begun = len(a.with)
	last := first
	a.cover(first)
	a.met++
	if first.Hi != nil && (a.hi == nil || first.endsBefore(a.hi)) { // there may be more
		root.from(first.Hi, func(n *node) bool {
			if !a.beginsIn(n) {
				return false
			}
			a.cover(n)
			a.met++
			last = n
			return true
		})
	}
	switch {
	case a.hi == nil:
		root.end(&a.to)
	case last != first:
		if found := root.find(&a.to, a.hi); found == last { // it ends behind hi
			a.to[root.lowest()]++
		}
	default:
		a.to[root.lowest()]++
	}
	if a.hi != nil && (last.Hi == nil || bytes.Compare(a.hi, last.Hi) < 0) {
		a.with = append(a.with, piece(last, a.hi, last.Hi))
	}
}

// piece is a part of a fragment.
func piece(n *node, lo, hi []byte) *node {
	return &node{Fragment: Fragment{lo, hi, n.Seqs}, mark: n.mark}
}

// cover puts the tombstone over a fragment, as far as it reaches, and over what there
// was before it.
func (a *adder) cover(n *node) {
	lo, hi := n.Lo, n.Hi
	switch c := bytes.Compare(a.pos, lo); {
	case c < 0:
		a.fill(lo)
	case c > 0:
		lo = a.pos
	}
	if a.hi != nil && !n.endsBefore(a.hi) {
		hi = a.hi
	}
	c := &node{Fragment: Fragment{lo, hi, nil}, mark: n.mark}
	c.Seqs = a.withSeq(c.seq[:0], n.Seqs)
	if c.Seqs[0] != n.Seqs[0] {
		// Being newer than its newest sequence means something else now.
		c.setMark(a.mark)
	}
	a.put(c)
}

// fill covers keys that no tombstone had covered, up to hi.
func (a *adder) fill(hi []byte) {
	a.put(a.newNode(a.pos, hi))
}

// newNode is a fragment that only the tombstone at hand covers.
func (a *adder) newNode(lo, hi []byte) *node {
	n := &node{Fragment: Fragment{lo, hi, nil}}
	n.seq[0] = a.seq
	n.Seqs = n.seq[:]
	n.setMark(a.mark)
	return n
}

// setMark gives a fragment a mark of its own.
func (t *node) setMark(v uint32) {
	t.own.v.Store(v)
	t.mark = &t.own
}

// put appends a fragment, or makes the last one longer if they are alike. Then
// it has a new mark: a commit may be about to set either of the old ones.
// ReuseRange sets the new one if need be, and until it has no read is at the
// newest sequence, which is that of a tombstone not yet visible, or finds it
// clean (AddSeen).
func (a *adder) put(n *node) {
	a.pos, a.endless = n.Hi, n.Hi == nil
	if i := len(a.with) - 1; i >= a.begun && joins(&a.with[i].Fragment, &n.Fragment) {
		last := a.with[i]
		last.Hi = n.Hi
		if last.mark != n.mark {
			last.mark = newMark(max(a.mark, last.mark.v.Load(), n.mark.v.Load()))
		}
		return
	}
	a.with = append(a.with, n)
}

// withSeq appends to dst, which is empty, the sequences of a fragment and that of
// the tombstone, but for those that no read needs.
func (a *adder) withSeq(dst, old []base.SeqNum) []base.SeqNum {
	last := len(a.stripes)
	add := func(p base.SeqNum) {
		stripe, _ := slices.BinarySearch(a.stripes, p)
		if stripe == len(a.stripes) || stripe != last {
			dst = append(dst, p)
		}
		last = stripe
	}
	i, found := slices.BinarySearchFunc(old, a.seq, newestFirst)
	for _, p := range old[:i] {
		add(p)
	}
	if !found {
		add(a.seq)
	}
	for _, p := range old[i:] {
		add(p)
	}
	return dst
}

// Find returns the fragment that contains key, or nil. It is clean if no entry
// in it is newer than its newest sequence, for a read that sees that sequence.
func (v *View) Find(key []byte) (f *Fragment, clean bool) {
	f, clean = v.Next(key)
	if f == nil || bytes.Compare(f.Lo, key) > 0 {
		return nil, false
	}
	return f, clean
}

// Next returns the first fragment that ends after key, or nil: the one that
// contains key, or else the one that a walk forward from key meets.
func (v *View) Next(key []byte) (f *Fragment, clean bool) {
	if v == nil {
		return nil, false
	}
	return v.root.ending(key).found()
}

// Prev returns the last fragment that begins before key, or nil: the one that a
// walk backward from key meets.
func (v *View) Prev(key []byte) (f *Fragment, clean bool) {
	if v == nil {
		return nil, false
	}
	return v.root.starting(key).found()
}

func (t *node) found() (*Fragment, bool) {
	if t == nil {
		return nil, false
	}
	return &t.Fragment, t.clean()
}

// Len is the number of fragments.
func (v *View) Len() int {
	if v == nil {
		return 0
	}
	return v.n
}

// List is the view as a list.
func (v *View) List() List {
	if v == nil {
		return List{}
	}
	l := List{make([]Fragment, 0, v.Len())}
	v.root.walk(func(t *node) bool {
		l.append(t.Fragment) // two that were cut may still be alike
		return true
	})
	return l
}

// Reuse tells of an entry that can be found since before the view was loaded.
func (v *View) Reuse(key []byte, s base.SeqNum) {
	if v == nil {
		return
	}
	t := v.root.ending(key)
	if t != nil && t.Seqs[0] < s && bytes.Compare(t.Lo, key) <= 0 {
		t.mark.reuse()
	}
}

// ReuseRange tells of entries, none newer than s, some of which may lie in
// [lo, hi) and may have been found before the view was published. An empty hi
// is no end.
func (v *View) ReuseRange(lo, hi []byte, s base.SeqNum) {
	if v == nil {
		return
	}
	v.root.from(lo, func(t *node) bool {
		switch {
		case len(hi) > 0 && bytes.Compare(t.Lo, hi) >= 0:
			return false
		case t.Seqs[0] < s:
			t.mark.reuse()
		default:
			t.mark.settle()
		}
		return true
	})
}
