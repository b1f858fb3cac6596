package memtable

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// Where a key goes, without a descent and without a look at the index.
//
// Of keys in order the next one mostly goes to the leaf of the one before. A leaf
// stays in the tree and keeps its place there for ever; what changes is that
// splits narrow its fences, and raise its version after. So a writer that loads a
// leaf's version, then its fences, and finds the key between them, knows where
// the key belongs if the version is still the same under the leaf's lock: the
// same that a descent's result has to pass.
//
// Such a leaf also answers whether the tree holds the key, if its ctl is loaded
// after the version and before the fences. A split stores a fence, then the ctl
// without what went elsewhere, then the version: so a ctl that lacks entries
// comes with fences that keep away readers that look for them. (With the fences first,
// a key that a split had just moved was taken for absent, and added again.) The
// slots that a ctl says are in use are used for others only at a later version,
// so what is read before the version is looked at again is what the leaf held
// when its ctl was loaded; and while it still holds what a split has copied to
// another leaf, nothing is added there. A key that is then absent stays so as long as the
// lock of its partition is held, under which alone it can be added.
//
// Within a version entries only come, and each raises the count in ctl. So a
// writer that has the leaf's lock and finds the version and the ctl as they were, finds also
// the key's position as it was.

// leafRef is where a key belongs: a leaf as it was at some version.
type leafRef struct {
	leaf    *leaf
	version uint32
	absent  bool   // the tree does not hold the key
	pos     int    // if absent: the key's position at this ctl
	ctl     uint64 // likewise
}

// Finger remembers where the last key of a sequence of keys went, so that the
// next one, if it is near, gets there without a descent. The zero value
// remembers nothing. It is for one generation and one goroutine.
type Finger struct {
	leaf *leaf
	// near says that two keys in a row went to the leaf, without which a look at
	// it is not worth the misses on its fences.
	near bool
}

// note remembers where a key went.
func (f *Finger) note(l *leaf) {
	f.near = f.leaf == l
	f.leaf = l
}

// atEnd returns the last leaf, if the key belongs there: ascending inserts need
// neither finger nor descent. If the key is greater than all in the tree, it
// need not be searched either.
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

// near returns the leaf that the finger points to, if the key belongs there,
// and the key's record, if it is there.
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
