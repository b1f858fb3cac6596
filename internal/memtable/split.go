package memtable

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// step is a node on the path from the root to a leaf, and the position of the
// child taken.
type step struct {
	node ref
	pos  int
}

// splitLeaf adds a record to a full leaf, which the caller has locked, by
// moving part of the leaf to a new one. pos is the record's position among the
// entries. It unlocks the leaf.
//
// The new leaf is the right one, except that the last leaf of the tree gets a
// new left one. The last leaf has no upper fence and thus no skip, so whatever
// stays in it would be searched key by key for ever, including all that an
// ascending load leaves behind.
//
// The new leaf stays locked until the old one has given up the entries that are
// in both. Otherwise a writer could add a key to the new leaf, and a walk that
// began after that could still come to the old leaf, continue through the moved
// half there, and miss the key.
//
// A full leaf at the very end of the tree moves all its entries, so that
// ascending inserts leave full leaves behind; likewise at the very start for
// descending ones.
func (t *tree) splitLeaf(l *leaf, ctl uint64, pos int, r ref, key []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.a
	var path [maxHeight]step
	height, at := t.pathTo(key, toKey, &path)
	if a.leaf(at) != l {
		panic("memtable: a locked leaf is not where its keys are")
	}
	lo, hi := ref(l.lo.Load()), ref(l.hi.Load())
	cut := splitAt
	switch {
	case pos == fanout && hi == 0:
		cut = fanout
	case pos == 0 && lo == 0:
		cut = 0
	}
	goesLeft := pos <= cut && cut < fanout
	sep := r
	if cut < fanout {
		sep = ref(l.refs[slotAt(ctl, cut)].Load())
	}
	var fresh *leaf
	var opened, rest uint64 // final ctls of the fresh leaf and of l
	if hi == 0 {
		left := a.newLeaf(l, ctl, 0, cut, lo, sep)
		fresh, rest = a.leaf(left), withoutFirst(ctl, cut)
		opened = fresh.prepare(goesLeft, pos, r, key)
		t.addChild(path[:height], left, sep, at)
		invariant.Yield()
		publish32(&l.lo, uint32(sep))
		t.lastHead.Store(base.Head(a.key(sep)))
	} else {
		right := a.newLeaf(l, ctl, cut, fanout, sep, hi)
		fresh, rest = a.leaf(right), ctl&^(countMask|lockedBit)|uint64(cut)
		opened = fresh.prepare(!goesLeft, pos-cut, r, key)
		t.addChild(path[:height], at, sep, right)
		invariant.Yield()
		publish32(&l.hi, uint32(sep))
	}
	invariant.Yield()
	publish64(&l.ctl, rest|lockedBit)
	invariant.Yield()
	l.version.Add(1)
	switch {
	case goesLeft == (hi == 0):
		publish64(&l.ctl, rest)
	case goesLeft:
		l.insert(rest, pos, r, key)
	default:
		l.insert(rest, pos-cut, r, key)
	}
	publish64(&fresh.ctl, opened)
}

// prepare inserts into a leaf that no other writer can reach, if the record
// belongs there, and locks it. It returns the ctl that unlocks it.
func (l *leaf) prepare(insert bool, pos int, r ref, key []byte) (ctl uint64) {
	if insert {
		l.insert(l.ctl.Load(), pos, r, key)
	}
	ctl = l.ctl.Load()
	publish64(&l.ctl, ctl|lockedBit)
	return ctl
}

// pathTo walks to a leaf. The caller holds mu, so no inner node changes.
func (t *tree) pathTo(key []byte, to target, path *[maxHeight]step) (height int, leaf ref) {
	root := t.root.Load()
	height, at := int(root>>32), ref(root)
	for i := range height {
		n := t.a.inner(at)
		ctl := n.ctl.Load()
		pos := n.route(t.a, ctl, key, to)
		path[i] = step{at, pos}
		at = ref(n.children[slotAt(ctl, pos)].Load())
	}
	return height, at
}

// newLeaf makes a leaf between two fences, with the entries of another at
// positions first to end-1.
func (a *arena) newLeaf(l *leaf, ctl uint64, first, end int, lo, hi ref) ref {
	r := a.allocBlock(leafSize)
	n := a.leaf(r)
	publish32(&n.lo, uint32(lo))
	publish32(&n.hi, uint32(hi))
	n.skip = l.skip
	// Computing new heads reads every record. That begins to pay when half a
	// head is lost.
	rehead := false
	if skip := uint32(a.commonPrefix(lo, hi)); skip >= n.skip+4 {
		n.skip, rehead = skip, true
	}
	count := 0
	for pos := first; pos < end; pos++ {
		slot := slotAt(ctl, pos)
		rec := ref(l.refs[slot].Load())
		h := l.headAt(slot)
		if rehead {
			h = base.HeadFrom(a.key(rec), int(n.skip))
		}
		publish64(&n.heads[count], h)
		publish32(&n.refs[count], uint32(rec))
		count++
	}
	publish64(&n.ctl, emptyCtl|uint64(count))
	return r
}

// addChild replaces the child at the end of a path by two nodes, one of which
// may be that child. The second begins at sep. The caller holds mu.
func (t *tree) addChild(path []step, left, sep, right ref) {
	if len(path) == 0 {
		t.growRoot(left, sep, right)
		return
	}
	a := t.a
	end := path[len(path)-1]
	n := a.inner(end.node)
	ctl := n.ctl.Load()
	if countOf(ctl) == fanout {
		t.splitInner(path, left, sep, right)
		return
	}
	slot := slotAt(ctl, countOf(ctl))
	publish64(&n.heads[slot], base.HeadFrom(a.key(sep), int(n.skip)))
	publish32(&n.refs[slot], uint32(sep))
	publish32(&n.children[slot], uint32(right))
	publish64(&n.ctl, withInserted(ctl, end.pos+1))
	invariant.Yield()
	publish32(&n.children[slotAt(ctl, end.pos)], uint32(left))
}

// growRoot makes a new root above two nodes.
func (t *tree) growRoot(left, sep, right ref) {
	height := t.root.Load()>>32 + 1
	b := innerBuilder{a: t.a}
	b.add(0, left)
	b.add(sep, right)
	t.root.Store(height<<32 | uint64(b.finish(0, 0)))
}

// splitInner is addChild for a full node, which it replaces by two new nodes.
func (t *tree) splitInner(path []step, left, sep, right ref) {
	a := t.a
	end := path[len(path)-1]
	n := a.inner(end.node)
	ctl := n.ctl.Load()
	var seps, children [fanout + 1]ref
	count := 0
	add := func(s, c ref) {
		seps[count], children[count] = s, c
		count++
	}
	for pos := range fanout {
		slot := slotAt(ctl, pos)
		if pos == end.pos {
			add(ref(n.refs[slot].Load()), left)
			add(sep, right)
		} else {
			add(ref(n.refs[slot].Load()), ref(n.children[slot].Load()))
		}
	}
	keep := splitAt + 1
	if end.pos == fanout-1 && n.hi == 0 {
		keep = fanout // ascending inserts leave full nodes behind
	}
	up := seps[keep]
	seps[keep] = 0 // the first key of a node counts as minus infinity
	l, r := innerBuilder{a: a}, innerBuilder{a: a}
	for i := range count {
		if i < keep {
			l.add(seps[i], children[i])
		} else {
			r.add(seps[i], children[i])
		}
	}
	t.addChild(path[:len(path)-1], l.finish(n.lo, up), up, r.finish(up, n.hi))
	invariant.Yield()
	publish64(&n.ctl, ctl|frozenBit)
}

// innerBuilder collects the entries of a new inner node.
type innerBuilder struct {
	a        *arena
	count    int
	seps     [fanout]ref
	children [fanout]ref
}

func (b *innerBuilder) add(sep, child ref) {
	b.seps[b.count], b.children[b.count] = sep, child
	b.count++
}

func (b *innerBuilder) finish(lo, hi ref) ref {
	a := b.a
	r := a.allocBlock(innerSize)
	n := a.inner(r)
	n.lo, n.hi = lo, hi
	n.skip = uint32(a.commonPrefix(lo, hi))
	for i := range b.count {
		if i > 0 {
			publish64(&n.heads[i], base.HeadFrom(a.key(b.seps[i]), int(n.skip)))
			publish32(&n.refs[i], uint32(b.seps[i]))
		}
		publish32(&n.children[i], uint32(b.children[i]))
	}
	publish64(&n.ctl, emptyCtl|uint64(b.count))
	return r
}
