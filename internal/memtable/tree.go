package memtable

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// tree is the ordered set of the records of a generation.
//
// A reader descends without locks, by optimistic coupling: it loads a child,
// then checks that the parent's ctl is still the one that led to it, and if not
// starts again. This is why that is enough, where S is a splitter:
//
//   - inner: S puts the right half into the parent (ctl), then the left half
//     in the child's place, then freezes the child. A frozen node's ctl
//     differs from what any reader read before.
//   - leaf: S builds a new leaf for one half, puts both halves into the
//     parent (ctl, then the left child's place), moves the leaf's fence, cuts
//     its ctl to the other half, and raises its version, all under the locks
//     of both leaves; only later inserts reuse the slots. A reader loads
//     version and ctl, then checks that the parent's ctl and child are those
//     that led it here, then reads slots, then checks the version. A cut ctl
//     implies a changed parent; a reused slot implies a changed version. So
//     what passes both checks was the whole content of the leaf at one moment
//     after the reader began.
//
// A retry means that a split succeeded, so some goroutine always makes
// progress.
type tree struct {
	a        *arena        // immutable
	root     atomic.Uint64 // height<<32 | ref; height 0 is a leaf
	last     ref           // immutable; the last leaf, which splits never replace
	lastHead atomic.Uint64 // first bytes of its lower fence; a hint
	_        [lineSize]byte
	mu       sync.Mutex // held while inner nodes change; alone on its cache line
	_        [lineSize - 8]byte
}

// maxHeight bounds the levels above the leaves: 7^12 leaves fit no arena.
const maxHeight = 12

func (t *tree) init(a *arena) {
	t.a = a
	r := a.allocBlock(leafSize)
	a.leaf(r).ctl.Store(emptyCtl)
	t.root.Store(uint64(r))
	t.last = r
}

// found is a leaf as a descent saw it, with its parent.
type found struct {
	leaf      *leaf
	version   uint32
	pos       int // of the leaf in the parent
	ctl       uint64
	parent    *inner // nil if the leaf is the root
	parentCtl uint64
}

// descend goes to a leaf.
func (t *tree) descend(key []byte, to target) found {
	for {
		if f, ok := t.tryDescend(key, to); ok {
			return f
		}
	}
}

func (t *tree) tryDescend(key []byte, to target) (found, bool) {
	root := t.root.Load()
	ledBy, expect := &t.root, root
	at := ref(root)
	var f found
	for range root >> 32 {
		n := t.a.inner(at)
		ctl := n.ctl.Load()
		if ledBy.Load() != expect || ctl&frozenBit != 0 {
			return found{}, false
		}
		f.parent, f.parentCtl, f.pos = n, ctl, n.route(t.a, ctl, key, to)
		invariant.Yield()
		at = ref(n.children[slotAt(ctl, f.pos)].Load())
		ledBy, expect = &n.ctl, ctl
	}
	f.arrive(t.a.leaf(at))
	return f, ledBy.Load() == expect && f.ledHere(t.a, at)
}

func (f *found) arrive(l *leaf) {
	f.leaf = l
	invariant.Yield()
	f.version = l.version.Load()
	invariant.Yield()
	f.ctl = l.ctl.Load()
}

// ledHere reports whether the parent still has this leaf at the same position.
func (f *found) ledHere(a *arena, at ref) bool {
	return f.parent == nil || ref(f.parent.children[slotAt(f.parentCtl, f.pos)].Load()) == at
}

// neighbour returns the leaf one to the right (by = 1) or left (-1) of f. It
// does so only if both have the same parent, which has not changed since f was
// found, and neither was locked when its ctl was read. A locked leaf may be in
// the middle of a split and still hold entries that its new neighbour holds
// too; a walk that sees one has to compare keys with fences.
func (t *tree) neighbour(f found, by int) (found, bool) {
	at := t.peek(&f, by)
	if at == 0 || f.ctl&lockedBit != 0 || f.parent.ctl.Load() != f.parentCtl {
		return found{}, false
	}
	f.pos += by
	f.arrive(t.a.leaf(at))
	return f, f.ctl&lockedBit == 0 && f.parent.ctl.Load() == f.parentCtl && f.ledHere(t.a, at)
}

// peek returns the ref of the possible neighbour, or 0.
func (t *tree) peek(f *found, by int) ref {
	pos := f.pos + by
	if f.parent == nil || pos < 0 || pos >= countOf(f.parentCtl) {
		return 0
	}
	return ref(f.parent.children[slotAt(f.parentCtl, pos)].Load())
}

// find returns the record of a key, or 0.
func (t *tree) find(key []byte) ref {
	for {
		f := t.descend(key, toKey)
		var r ref
		pos := f.leaf.search(t.a, f.ctl, key)
		if pos < countOf(f.ctl) {
			r = ref(f.leaf.refs[slotAt(f.ctl, pos)].Load())
		}
		if f.leaf.version.Load() != f.version {
			continue
		}
		if r != 0 && t.a.equalKey(r, key) {
			return r
		}
		return 0
	}
}

// place returns the leaf where a key belongs.
func (t *tree) place(key []byte) leafRef {
	if s := t.atEnd(key); s.leaf != nil {
		return s
	}
	return t.inside(key)
}

// inside is place for a key that is probably not at the end.
func (t *tree) inside(key []byte) leafRef {
	f := t.descend(key, toKey)
	return leafRef{leaf: f.leaf, version: f.version}
}

// insert adds a record at its place. The tree does not hold its key, and no
// other writer is adding it.
func (t *tree) insert(s leafRef, r ref, key []byte) {
	ctl, ok := s.leaf.lock(s.version)
	for !ok {
		s = t.place(key)
		ctl, ok = s.leaf.lock(s.version)
	}
	l, pos := s.leaf, s.pos
	if !s.absent || ctl != s.ctl {
		pos = l.search(t.a, ctl, key)
	}
	if countOf(ctl) < fanout {
		l.insert(ctl, pos, r, key)
	} else {
		t.splitLeaf(l, ctl, pos, r, key)
	}
}

// lock takes the leaf for writing and returns its ctl, or false if the leaf was
// split since the version was read. Storing a ctl unlocks it.
func (l *leaf) lock(version uint32) (uint64, bool) {
	for spins := 0; ; spins++ {
		ctl := l.ctl.Load()
		if ctl&lockedBit == 0 && l.ctl.CompareAndSwap(ctl, ctl|lockedBit) {
			if l.version.Load() != version {
				publish64(&l.ctl, ctl)
				return 0, false
			}
			return ctl, true
		}
		if spins > 30 {
			runtime.Gosched()
		}
	}
}

// insert fills a free slot of the locked leaf, with the entry at a sorted
// position, and unlocks the leaf.
func (l *leaf) insert(ctl uint64, pos int, r ref, key []byte) {
	slot := slotAt(ctl, countOf(ctl))
	publish64(&l.heads[slot], base.HeadFrom(key, int(l.skip)))
	invariant.Yield()
	publish32(&l.refs[slot], uint32(r))
	publish64(&l.ctl, withInserted(ctl, pos))
}
