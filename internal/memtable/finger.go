package memtable

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// This file finds where a key goes without a descent or a look at the index.
//
// In a sequence of ascending keys, the next key mostly goes to the same leaf. A
// leaf keeps its position in the tree for ever; a split only narrows its fences
// and raises its version afterwards. So a writer that loads a leaf's version,
// then its fences, and finds the key between them, knows where the key belongs
// if the version is still the same once it holds the leaf's lock. The result of
// a descent passes the same check.
//
// Such a leaf also shows whether the tree holds the key, if its ctl is loaded
// after the version and before the fences. A split stores a fence, then the ctl
// without the entries that it moved, then the version. So a ctl that lacks
// entries comes with fences that exclude their keys. (With the fences loaded
// first, a key that a split had just moved was taken for absent and added
// again.) Slots in use in a ctl are reused only at a later version. So
// everything read before the version is checked again is what the leaf held
// when its ctl was loaded; and while the leaf still holds entries that a split
// has copied to another leaf, nothing is added there. A key found absent stays
// absent as long as the caller holds the lock of its partition, which every
// writer of the key needs.
//
// Within a version entries are only added, and each raises the count in ctl. So
// a writer that holds the leaf's lock and finds version and ctl unchanged also
// knows that the key's position is unchanged.

// leafRef is where a key belongs: a leaf at some version.
type leafRef struct {
	leaf    *leaf
	version uint32
	absent  bool   // the tree does not hold the key
	pos     int    // if absent: the key's position at this ctl
	ctl     uint64 // the ctl of pos
}

// Finger remembers the leaf of the last key of a sequence of keys, so that the
// next key, if it is near, needs no descent. The zero value remembers nothing.
// A finger is for one generation and one goroutine.
type Finger struct {
	leaf *leaf
	// near is set after two consecutive keys in the leaf; otherwise looking at
	// it is not worth the cache misses on its fences.
	near bool
}

// note remembers the leaf of a key.
func (f *Finger) note(l *leaf) {
	f.near = f.leaf == l
	f.leaf = l
}

// atEnd returns the last leaf if the key belongs there: ascending inserts need
// neither finger nor descent. If the key is greater than all in the tree, the
// leaf is not searched either.
func (t *tree) atEnd(key []byte) (s leafRef) {
	if base.Head(key) < t.lastHead.Load() {
		return leafRef{}
	}
	l := t.a.leaf(t.last)
	s.version = l.version.Load()
	invariant.Yield()
	s.ctl = l.ctl.Load()
	invariant.Yield()
	lo := ref(l.lo.Load())
	if lo == 0 || bytes.Compare(key, t.a.key(lo)) < 0 {
		return leafRef{}
	}
	s.leaf = l
	n := countOf(s.ctl)
	if n == 0 {
		return s
	}
	invariant.Yield()
	last := ref(l.refs[slotAt(s.ctl, n-1)].Load())
	s.pos = n
	s.absent = bytes.Compare(key, t.a.key(last)) > 0 && l.version.Load() == s.version
	return s
}

// near returns the finger's leaf if the key belongs there, and the key's record
// if it exists.
func (t *tree) near(f *Finger, key []byte) (s leafRef, r ref) {
	l := f.leaf
	s.version = l.version.Load()
	invariant.Yield()
	s.ctl = l.ctl.Load()
	invariant.Yield()
	lo, hi := ref(l.lo.Load()), ref(l.hi.Load())
	if lo == 0 || hi == 0 || bytes.Compare(key, t.a.key(lo)) < 0 || bytes.Compare(key, t.a.key(hi)) >= 0 {
		return leafRef{}, 0
	}
	invariant.Yield()
	s.pos = l.search(t.a, s.ctl, key)
	if s.pos < countOf(s.ctl) {
		r = ref(l.refs[slotAt(s.ctl, s.pos)].Load())
	}
	if l.version.Load() != s.version {
		return leafRef{}, 0
	}
	s.leaf = l
	if r != 0 && t.a.equalKey(r, key) {
		return s, r
	}
	s.absent = true
	return s, 0
}
