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
	view atomic.Pointer[View] // nil when empty
	mu   sync.Mutex           // held by Add
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
	return s.add(lo, hi, adder{seq: seq, stripes: stripes})
}

// AddSeen is Add of a tombstone that reads see as soon as it is in the view: its
// sequence is visible. The fragments that get it are not clean before ReuseRange
// found nothing newer in them.
func (s *Set) AddSeen(lo, hi []byte, seq base.SeqNum, stripes []base.SeqNum) *View {
	return s.add(lo, hi, adder{seq: seq, stripes: stripes, mark: unsure})
}

func (s *Set) add(lo, hi []byte, a adder) *View {
	if len(hi) > 0 && bytes.Compare(lo, hi) >= 0 {
		return s.View()
	}
	lo = append([]byte{}, lo...)
	if len(hi) > 0 {
		hi = bytes.Clone(hi)
	} else {
		hi = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var root *node
	if v := s.view.Load(); v != nil {
		root = v.root
	}
	before, middle := root.split(lo)
	var after *node
	if hi != nil {
		middle, after = middle.split(hi)
	}
	a.pos, a.out = lo, make([]*node, 0, 2*size(middle)+1)
	middle.walk(a.cover)
	if !a.endless && (hi == nil || bytes.Compare(a.pos, hi) < 0) {
		a.fill(hi)
	}
	v := &View{concat(concat(before, build(a.out)), after)}
	s.view.Store(v)
	return v
}

// adder puts a tombstone over the fragments in its range, one by one.
type adder struct {
	seq     base.SeqNum
	stripes []base.SeqNum
	mark    uint32 // of fragments that the tombstone gives a new meaning
	pos     []byte // up to here it is done
	endless bool   // all is done
	out     []*node
}

// cover puts the tombstone over a fragment and what there was before it.
func (a *adder) cover(n *node) bool {
	if bytes.Compare(a.pos, n.Lo) < 0 {
		a.fill(n.Lo)
	}
	c := &node{Fragment: Fragment{n.Lo, n.Hi, a.withSeq(n.Seqs)}, mark: n.mark}
	if c.Seqs[0] != n.Seqs[0] {
		// Being newer than its newest sequence means something else now.
		c.mark = newMark(a.mark)
	}
	a.put(c)
	return true
}

// fill covers keys that no tombstone had covered, up to hi.
func (a *adder) fill(hi []byte) {
	a.put(&node{Fragment: Fragment{a.pos, hi, []base.SeqNum{a.seq}}, mark: newMark(a.mark)})
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
