package rangedel

import (
	"bytes"
	"sync/atomic"
)

// node is one fragment in a search tree by key, balanced by height. Nodes of a
// published tree never change; an edit makes new ones from the root down to
// what it touches. (Adams, "Efficient sets: a balancing act", 1993: all is built
// on joining two trees with a node between them.)
//
// An edit changes the nodes that it made itself in place, since no reader has
// them yet (Driscoll et al. call such structures partially persistent; Clojure
// calls the trick transients). One Add passes the path to its range four times
// and copies it once; a batch of many copies each node once for all of them.
type node struct {
	Fragment
	mark        *mark // shared by the pieces of one fragment
	left, right *node
	height      int32
	size        int32
	owner       edit // the edit that made the node
}

// edit numbers the edits of a Set; only the running one may change the nodes it
// owns.
type edit uint64

// mark says whether an entry in a fragment is newer than its newest sequence.
type mark struct{ v atomic.Uint32 }

const (
	clean  uint32 = iota
	unsure        // nobody has looked yet: see Set.AddSeen
	reused
)

func (m *mark) reuse() {
	if m.v.Load() != reused {
		m.v.Store(reused)
	}
}

// settle is called by one who looked.
func (m *mark) settle() {
	if m.v.Load() == unsure {
		m.v.CompareAndSwap(unsure, clean)
	}
}

func newMark(v uint32) *mark {
	m := new(mark)
	m.v.Store(v)
	return m
}

func (t *node) clean() bool { return t.mark.v.Load() == clean }

func height(t *node) int32 {
	if t == nil {
		return 0
	}
	return t.height
}

func size(t *node) int32 {
	if t == nil {
		return 0
	}
	return t.size
}

// with is the fragment of t between other children, whose heights differ by 2
// at most: t itself if e owns it, else a copy.
func (e edit) with(t, left, right *node) *node {
	if t.owner != e {
		t = &node{Fragment: t.Fragment, mark: t.mark, owner: e}
	}
	t.left, t.right = left, right
	t.height, t.size = max(height(left), height(right))+1, size(left)+size(right)+1
	return t
}

// balanced is with for heights that differ by 3 at most.
func (e edit) balanced(t, left, right *node) *node {
	switch {
	case height(left) > height(right)+2:
		if height(left.left) >= height(left.right) {
			return e.with(left, left.left, e.with(t, left.right, right))
		}
		m := left.right
		ml, mr := m.left, m.right
		return e.with(m, e.with(left, left.left, ml), e.with(t, mr, right))
	case height(right) > height(left)+2:
		if height(right.right) >= height(right.left) {
			rr := right.right
			return e.with(right, e.with(t, left, right.left), rr)
		}
		m := right.left
		ml, mr := m.left, m.right
		return e.with(m, e.with(t, left, ml), e.with(right, mr, right.right))
	}
	return e.with(t, left, right)
}

// between is with for any heights: it goes down the edge of the higher tree to
// where the other fits.
func (e edit) between(t, left, right *node) *node {
	switch {
	case height(left) > height(right)+2:
		return e.balanced(left, left.left, e.between(t, left.right, right))
	case height(right) > height(left)+2:
		return e.balanced(right, e.between(t, left, right.left), right.right)
	}
	return e.with(t, left, right)
}

// concat is all of left, then all of right.
func (e edit) concat(left, right *node) *node {
	if left == nil || right == nil {
		if left == nil {
			return right
		}
		return left
	}
	first, rest := e.takeFirst(right)
	return e.between(first, left, rest)
}

func (e edit) takeFirst(t *node) (first, rest *node) {
	if t.left == nil {
		return t, t.right
	}
	first, rest = e.takeFirst(t.left)
	return first, e.balanced(t, rest, t.right)
}

// split cuts a tree in what lies before key and the rest. A fragment that
// contains key becomes two.
func (e edit) split(t *node, key []byte) (before, after *node) {
	switch {
	case t == nil:
		return nil, nil
	case bytes.Compare(key, t.Lo) <= 0:
		before, after = e.split(t.left, key)
		return before, e.between(t, after, t.right)
	case t.endsBefore(key):
		before, after = e.split(t.right, key)
		return e.between(t, t.left, before), after
	}
	left, right := t.left, t.right
	a, b := *t, *t
	a.Hi, b.Lo, a.owner, b.owner = key, key, e, e
	return e.between(&a, left, nil), e.between(&b, nil, right)
}

// insert puts n into a tree in which no fragment has a key of it.
func (e edit) insert(t, n *node) *node {
	switch {
	case t == nil:
		return e.with(n, nil, nil)
	case n.endsBefore(t.Lo):
		return e.balanced(t, e.insert(t.left, n), t.right)
	}
	return e.balanced(t, t.left, e.insert(t.right, n))
}

// build makes a tree of nodes that are in order. Their children are ignored.
func (e edit) build(nodes []*node) *node {
	if len(nodes) == 0 {
		return nil
	}
	m := len(nodes) / 2
	return e.with(nodes[m], e.build(nodes[:m]), e.build(nodes[m+1:]))
}

// walk calls fn for the nodes in order until it returns false.
func (t *node) walk(fn func(*node) bool) bool {
	return t == nil || t.left.walk(fn) && fn(t) && t.right.walk(fn)
}

// ending returns the first fragment that ends after key, or nil.
func (t *node) ending(key []byte) *node {
	var found *node
	for t != nil {
		if t.endsBefore(key) {
			t = t.right
		} else {
			found, t = t, t.left
		}
	}
	return found
}

// starting returns the last fragment that begins before key, or nil.
func (t *node) starting(key []byte) *node {
	var found *node
	for t != nil {
		if bytes.Compare(t.Lo, key) < 0 {
			found, t = t, t.right
		} else {
			t = t.left
		}
	}
	return found
}
