package memtable

// step is a node of the path from the root to a leaf, and the position of the
// child taken.
type step struct {
	node ref
	pos  int
}

// splitLeaf adds a record to a full leaf, which the caller has locked, by
// moving part of it to a new leaf on its right. It unlocks the leaf.
//
// A leaf that is full at the very end of the tree keeps everything, so that
// ascending inserts leave full leaves behind; at the very start it keeps
// nothing, for descending ones.
func (t *tree) splitLeaf(l *leaf, ctl uint64, r ref, key []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.a
	var path [maxHeight]step
	height, at := t.pathTo(key, &path)
	if a.leaf(at) != l {
		panic("memtable: a locked leaf is not where its keys are")
	}
	pos := l.search(a, ctl, 0, key, int(l.skip), false)
	keep := splitAt
	switch {
	case pos == fanout && l.hi.Load() == 0:
		keep = fanout
	case pos == 0 && l.lo == 0:
		keep = 0
	}
	newRight := pos > keep || keep == fanout
	sep := r
	if keep < fanout {
		sep = ref(l.refs[slotAt(ctl, keep)].Load())
	}
	right := a.newLeaf(l, ctl, keep, sep)
	if newRight {
		rl := a.leaf(right)
		rl.insert(a, rl.ctl.Load(), r, key)
	}
	t.addChild(path[:height], at, at, sep, right)
	l.hi.Store(uint32(sep))
	cut := ctl&^(countMask|lockedBit) | uint64(keep)
	l.ctl.Store(cut | lockedBit)
	l.version.Add(1)
	if newRight {
		l.ctl.Store(cut)
	} else {
		l.insert(a, cut, r, key)
	}
}

// pathTo walks to the leaf of a key. The caller holds mu, so nothing above the
// leaves moves.
func (t *tree) pathTo(key []byte, path *[maxHeight]step) (height int, leaf ref) {
	root := t.root.Load()
	height, at := int(root>>32), ref(root)
	for i := range height {
		n := t.a.inner(at)
		ctl := n.ctl.Load()
		pos := n.route(t.a, ctl, key, toKey)
		path[i] = step{at, pos}
		at = ref(n.children[slotAt(ctl, pos)].Load())
	}
	return height, at
}

// newLeaf makes the right sibling of a leaf, with the entries from position
// keep on.
func (a *arena) newLeaf(l *leaf, ctl uint64, keep int, sep ref) ref {
	r := a.allocBlock(leafSize)
	n := a.leaf(r)
	hi := ref(l.hi.Load())
	n.lo = sep
	n.hi.Store(uint32(hi))
	n.skip = l.skip
	// New heads cost a look at every record. Half a head lost is where that
	// begins to pay.
	rehead := false
	if skip := uint32(a.commonPrefix(sep, hi)); skip >= n.skip+4 {
		n.skip, rehead = skip, true
	}
	count := 0
	for pos := keep; pos < countOf(ctl); pos++ {
		slot := slotAt(ctl, pos)
		rec := ref(l.refs[slot].Load())
		h := l.headAt(slot)
		if rehead {
			h = headOf(a.key(rec), int(n.skip))
		}
		n.heads[count].Store(h)
		n.refs[count].Store(uint32(rec))
		count++
	}
	n.ctl.Store(emptyCtl | uint64(count))
	return r
}

// addChild puts right, which begins at sep, after the child old, which becomes
// left, at the end of a path. The caller holds mu.
func (t *tree) addChild(path []step, old, left, sep, right ref) {
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
	n.heads[slot].Store(headOf(a.key(sep), int(n.skip)))
	n.refs[slot].Store(uint32(sep))
	n.children[slot].Store(uint32(right))
	n.ctl.Store(withInserted(ctl, end.pos+1))
	if left != old {
		n.children[slotAt(ctl, end.pos)].Store(uint32(left))
	}
}

// growRoot puts a new root above two nodes.
func (t *tree) growRoot(left, sep, right ref) {
	height := t.root.Load()>>32 + 1
	b := innerBuilder{a: t.a}
	b.add(0, left)
	b.add(sep, right)
	t.root.Store(height<<32 | uint64(b.finish(0, 0)))
}

// splitInner does what addChild does where the node is full: two new nodes
// take its place.
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
	t.addChild(path[:len(path)-1], end.node, l.finish(n.lo, up), up, r.finish(up, n.hi))
	n.ctl.Store(ctl | frozenBit)
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
			n.heads[i].Store(headOf(a.key(b.seps[i]), int(n.skip)))
			n.refs[i].Store(uint32(b.seps[i]))
		}
		n.children[i].Store(uint32(b.children[i]))
	}
	n.ctl.Store(emptyCtl | uint64(b.count))
	return r
}
