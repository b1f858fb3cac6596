package memtable

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// tree is the ordered set of the records of a generation.
//
// A reader goes down without locks, by optimistic coupling: it loads a child,
// then looks whether the parent's ctl is still what led to it, and if not
// starts again. What makes that enough, with S the splitter:
//
//   - inner: S puts the right half into the parent (ctl), then the left half
//     in the child's place, then freezes the child. A frozen node's ctl differs
//     from what anybody read before.
//   - leaf: S builds the right half, puts it into the parent (ctl), lowers the
//     leaf's hi, cuts its ctl to the left half, and raises its version, all
//     under the leaf's lock; only later inserts reuse the slots. A reader loads
//     version, ctl, then checks the parent, then reads slots, then checks the
//     version. A cut ctl implies a changed parent; a reused slot implies a
//     changed version. So what passes both checks was the whole content of the
//     leaf at one moment after the reader began.
//
// A retry means that a split went through, so the system as a whole never
// stands still.
type tree struct {
	a    *arena        // immutable
	root atomic.Uint64 // height<<32 | ref; height 0 is a leaf
	mu   sync.Mutex    // held while inner nodes change
}

// maxHeight bounds the levels above the leaves: 7^12 leaves pass any arena.
const maxHeight = 12

func (t *tree) init(a *arena) {
	t.a = a
	r := a.allocBlock(leafSize)
	a.leaf(r).ctl.Store(emptyCtl)
	t.root.Store(uint64(r))
}

// target says where a descent goes.
type target uint8

const (
	toKey    target = iota // the leaf that has, or would get, the key
	toBefore               // the leaf of the last keys before the key
	toFirst
	toLast
)

// route is the position of the child to go to.
func (n *inner) route(a *arena, ctl uint64, key []byte, to target) int {
	switch to {
	case toFirst:
		return 0
	case toLast:
		return countOf(ctl) - 1
	}
	return n.search(a, ctl, 1, key, int(n.skip), to == toKey) - 1
}

// found is a leaf as a descent saw it.
type found struct {
	leaf    *leaf
	version uint32
	ctl     uint64
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
	parent, expect := &t.root, root
	at := ref(root)
	for range root >> 32 {
		n := t.a.inner(at)
		ctl := n.ctl.Load()
		if parent.Load() != expect || ctl&frozenBit != 0 {
			return found{}, false
		}
		at = ref(n.children[slotAt(ctl, n.route(t.a, ctl, key, to))].Load())
		parent, expect = &n.ctl, ctl
	}
	l := t.a.leaf(at)
	version := l.version.Load()
	ctl := l.ctl.Load()
	return found{l, version, ctl}, parent.Load() == expect
}

// find is the record of a key, or 0.
func (t *tree) find(key []byte) ref {
	for {
		f := t.descend(key, toKey)
		var r ref
		pos := f.leaf.search(t.a, f.ctl, 0, key, int(f.leaf.skip), false)
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

// insert adds a record whose key the tree does not hold, and which nobody else
// is adding.
func (t *tree) insert(r ref, key []byte) {
	for {
		f := t.descend(key, toKey)
		ctl, ok := f.leaf.lock(f.version)
		if !ok {
			continue
		}
		if countOf(ctl) < fanout {
			f.leaf.insert(t.a, ctl, r, key)
		} else {
			t.splitLeaf(f.leaf, ctl, r, key)
		}
		return
	}
}

// lock takes the leaf for writing, unless it was split since the version was
// read, and gives its ctl. Storing a ctl unlocks.
func (l *leaf) lock(version uint32) (uint64, bool) {
	for spins := 0; ; spins++ {
		ctl := l.ctl.Load()
		if ctl&lockedBit == 0 && l.ctl.CompareAndSwap(ctl, ctl|lockedBit) {
			if l.version.Load() != version {
				l.ctl.Store(ctl)
				return 0, false
			}
			return ctl, true
		}
		if spins > 30 {
			runtime.Gosched()
		}
	}
}

// insert fills a free slot of the locked leaf and unlocks it.
func (l *leaf) insert(a *arena, ctl uint64, r ref, key []byte) {
	pos := l.search(a, ctl, 0, key, int(l.skip), false)
	slot := slotAt(ctl, countOf(ctl))
	l.heads[slot].Store(headOf(key, int(l.skip)))
	l.refs[slot].Store(uint32(r))
	l.ctl.Store(withInserted(ctl, pos))
}
