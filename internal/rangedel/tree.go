package rangedel

import (
	"bytes"
	"sync/atomic"
)

// node is one fragment in a search tree by key, balanced by height. Nodes never
// change; a change makes new ones from the root down to it. (Adams, "Efficient
// sets: a balancing act", 1993: all is built on joining two trees with a node
// between them.)
type node struct {
	Fragment
	mark        *mark // shared by the pieces of one fragment
	left, right *node
	height      int32
	size        int32
}

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
// at most.
func (t *node) with(left, right *node) *node {
	return &node{
		Fragment: t.Fragment, mark: t.mark, left: left, right: right,
		height: max(height(left), height(right)) + 1, size: size(left) + size(right) + 1,
	}
}

// balanced is with for heights that differ by 3 at most.
func (t *node) balanced(left, right *node) *node {
	switch {
	case height(left) > height(right)+2:
		if height(left.left) >= height(left.right) {
			return left.with(left.left, t.with(left.right, right))
		}
		m := left.right
		return m.with(left.with(left.left, m.left), t.with(m.right, right))
	case height(right) > height(left)+2:
		if height(right.right) >= height(right.left) {
			return right.with(t.with(left, right.left), right.right)
		}
		m := right.left
		return m.with(t.with(left, m.left), right.with(m.right, right.right))
	}
	return t.with(left, right)
}

// between is with for any heights: it goes down the edge of the higher tree to
// where the other fits.
func (t *node) between(left, right *node) *node {
	switch {
	case height(left) > height(right)+2:
		return left.balanced(left.left, t.between(left.right, right))
	case height(right) > height(left)+2:
		return right.balanced(t.between(left, right.left), right.right)
	}
	return t.with(left, right)
}

// concat is all of left, then all of right.
func concat(left, right *node) *node {
	if left == nil || right == nil {
		if left == nil {
			return right
		}
		return left
	}
	first, rest := right.takeFirst()
	return first.between(left, rest)
}

func (t *node) takeFirst() (first, rest *node) {
	if t.left == nil {
		return t, t.right
	}
	first, rest = t.left.takeFirst()
	return first, t.balanced(rest, t.right)
}

// split cuts a tree in what lies before key and the rest. A fragment that
// contains key becomes two.
func (t *node) split(key []byte) (before, after *node) {
	switch {
	case t == nil:
		return nil, nil
	case bytes.Compare(key, t.Lo) <= 0:
		before, after = t.left.split(key)
		return before, t.between(after, t.right)
	case t.endsBefore(key):
		before, after = t.right.split(key)
		return t.between(t.left, before), after
	}
	a, b := *t, *t
	a.Hi, b.Lo = key, key
	return a.between(t.left, nil), b.between(nil, t.right)
}

// build makes a tree of nodes that are in order. Their children are ignored.
func build(nodes []*node) *node {
	if len(nodes) == 0 {
		return nil
	}
	m := len(nodes) / 2
	return nodes[m].with(build(nodes[:m]), build(nodes[m+1:]))
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
