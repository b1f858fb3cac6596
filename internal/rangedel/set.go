package rangedel

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Set is tombstones that come one at a time, in any order of their sequences.
// The zero Set is empty. It is safe for concurrent use; readers take no lock.
type Set struct {
	view  atomic.Pointer[View] // nil when empty; stored under mu
	mu    sync.Mutex           // held by edits
	edits edit                 // guarded by mu; how many there were
}

// View is a Set at one moment, and immutable but for which of its fragments are
// clean.
type View struct{ root *node }

// View returns the set as it is now, or nil when it is empty.
//
// A read that must see every tombstone up to a sequence, and none of them
// dropped, loads the view first, then takes its sequence from what is visible,
// and then looks whether the view is still the current one.
func (s *Set) View() *View { return s.view.Load() }

// Add adds a tombstone, copying the keys, and returns the view with it. An
// empty hi is no end. Tombstones with no key between lo and hi are not added.
//
// stripes are the live snapshots, ascending, and last the visible sequence: all
// at which there are reads that began before, and below all at which there will
// be any. In the fragments it covers, Add drops each sequence for which there
// is a newer one that all those reads see which see the older. A commit that
// follows right on what is visible may add its own last sequence to stripes:
// nobody will ever read in the midst of it. Otherwise a batch that deletes one
// range many times keeps them all until they are visible.
func (s *Set) Add(lo, hi []byte, seq base.SeqNum, stripes []base.SeqNum) *View {
	return s.add(adder{stripes: stripes}, Tombstone{lo, hi, seq})
}

// AddAll is Add for each of several tombstones, ascending by sequence, which
// readers see in one step.
func (s *Set) AddAll(tombstones []Tombstone, stripes []base.SeqNum) *View {
	return s.add(adder{stripes: stripes}, tombstones...)
}

// AddSeen is Add of a tombstone that reads see as soon as it is in the view: its
// sequence is visible. The fragments that get it are not clean before ReuseRange
// found nothing newer in them.
func (s *Set) AddSeen(lo, hi []byte, seq base.SeqNum, stripes []base.SeqNum) *View {
	return s.add(adder{stripes: stripes, mark: unsure}, Tombstone{lo, hi, seq})
}

func (s *Set) add(a adder, tombstones ...Tombstone) *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view.Load()
	var root *node
	if v != nil {
		root = v.root
	}
	s.edits++
	a.edit = s.edits
	changed := false
	for i := range tombstones {
		t := &tombstones[i]
		if len(t.Hi) == 0 || bytes.Compare(t.Lo, t.Hi) < 0 {
			root = a.over(root, t)
			changed = true
		}
	}
	if changed {
		v = &View{root}
		s.view.Store(v)
	}
	return v
}

// adder puts tombstones over the fragments in their ranges, one by one.
type adder struct {
	edit    edit
	stripes []base.SeqNum
	mark    uint32 // of fragments that a tombstone gives a new meaning

	// Of the tombstone at hand.
	seq     base.SeqNum
	pos     []byte // up to here it is done
	endless bool   // all is done
	out     []*node
}

// over returns the tree with a tombstone in it, whose keys it copies.
func (a *adder) over(root *node, t *Tombstone) *node {
	keys := make([]byte, len(t.Lo)+len(t.Hi))
	n := copy(keys, t.Lo)
	copy(keys[n:], t.Hi)
	lo, hi := keys[:n:n], keys[n:]
	if len(hi) == 0 {
		hi = nil
	}
	a.seq = t.Seq
	if met := root.ending(lo); met == nil || hi != nil && bytes.Compare(hi, met.Lo) <= 0 {
		// Most tombstones meet no other: this takes one walk down where cutting
		// the tree and joining the parts takes four.
		return a.edit.insert(root, a.newNode(lo, hi))
	}
	before, middle := a.edit.split(root, lo)
	var after *node
	if hi != nil {
		middle, after = a.edit.split(middle, hi)
	}
	a.pos, a.endless, a.out = lo, false, a.out[:0]
	middle.walk(a.cover)
	if !a.endless && (hi == nil || bytes.Compare(a.pos, hi) < 0) {
		a.fill(hi)
	}
	return a.edit.concat(a.edit.concat(before, a.edit.build(a.out)), after)
}

// cover puts the tombstone over a fragment and what there was before it.
func (a *adder) cover(n *node) bool {
	if bytes.Compare(a.pos, n.Lo) < 0 {
		a.fill(n.Lo)
	}
	c := &node{Fragment: Fragment{n.Lo, n.Hi, a.withSeq(n.Seqs)}, mark: n.mark, owner: a.edit}
	if c.Seqs[0] != n.Seqs[0] {
		// Being newer than its newest sequence means something else now.
		c.mark = newMark(a.mark)
	}
	a.put(c)
	return true
}

// fill covers keys that no tombstone had covered, up to hi.
func (a *adder) fill(hi []byte) {
	a.put(a.newNode(a.pos, hi))
}

// newNode is a fragment that only the tombstone at hand covers.
func (a *adder) newNode(lo, hi []byte) *node {
	return &node{Fragment: Fragment{lo, hi, []base.SeqNum{a.seq}}, mark: newMark(a.mark), owner: a.edit}
}

// put appends a fragment, or makes the last one longer if they are alike. Then
// it has a new mark: somebody may be about to set either of the old ones.
// ReuseRange sets the new one if need be, and until it has nobody reads at the
// newest sequence, which is that of a tombstone not yet visible, or finds it
// clean (AddSeen).
func (a *adder) put(n *node) {
	a.pos, a.endless = n.Hi, n.Hi == nil
	if i := len(a.out) - 1; i >= 0 && joins(&a.out[i].Fragment, &n.Fragment) {
		last := a.out[i]
		last.Hi = n.Hi
		if last.mark != n.mark {
			last.mark = newMark(max(a.mark, last.mark.v.Load(), n.mark.v.Load()))
		}
		return
	}
	a.out = append(a.out, n)
}

// withSeq adds the sequence to those of a fragment, and drops what no read
// needs.
func (a *adder) withSeq(old []base.SeqNum) []base.SeqNum {
	seqs := make([]base.SeqNum, len(old), len(old)+1)
	copy(seqs, old)
	if i, found := slices.BinarySearchFunc(old, a.seq, newestFirst); !found {
		seqs = slices.Insert(seqs, i, a.seq)
	}
	out := seqs[:0]
	last := len(a.stripes)
	for _, p := range seqs {
		stripe, _ := slices.BinarySearch(a.stripes, p)
		if stripe == len(a.stripes) || stripe != last {
			out = append(out, p)
		}
		last = stripe
	}
	return out
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
	return int(v.root.size)
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
	if v != nil {
		v.root.reuseRange(lo, hi, s)
	}
}

func (t *node) reuseRange(lo, hi []byte, s base.SeqNum) {
	if t == nil {
		return
	}
	begins, ends := len(hi) == 0 || bytes.Compare(t.Lo, hi) < 0, t.endsBefore(lo)
	if !ends {
		t.left.reuseRange(lo, hi, s)
	}
	if begins && !ends {
		if t.Seqs[0] < s {
			t.mark.reuse()
		} else {
			t.mark.settle()
		}
	}
	if begins {
		t.right.reuseRange(lo, hi, s)
	}
}
