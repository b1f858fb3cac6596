package engine

import (
	"bytes"
	"cmp"
	"math/rand/v2"

	"github.com/seerdb-go/seerdb/internal/base"
)

// refNode is a node of a treap (Seidel and Aragon, Algorithmica 1996) of the
// operations of an open transaction, in the order of entries. An iterator holds a
// root, and nothing under that changes any more: what is added or undone later
// copies the few nodes on its way, once for all that is done between two
// iterators.
type refNode struct {
	ref         opRef
	left, right *refNode
	prio        uint32
	epoch       uint32 // nodes of the write set's epoch are not shared yet
}

// refTree is the treap of a write set.
type refTree struct {
	root  *refNode
	epoch uint32
}

// share returns the root for an iterator.
func (t *refTree) share() *refNode {
	t.epoch++
	return t.root
}

func (t *refTree) own(n *refNode) *refNode {
	if n.epoch == t.epoch {
		return n
	}
	c := *n
	c.epoch = t.epoch
	return &c
}

func (t *refTree) insert(r opRef) {
	t.root = t.insertAt(t.root, &refNode{ref: r, prio: rand.Uint32(), epoch: t.epoch})
}

func (t *refTree) insertAt(at, n *refNode) *refNode {
	switch {
	case at == nil:
		return n
	case n.prio > at.prio:
		n.left, n.right = t.split(at, &n.ref)
		return n
	}
	at = t.own(at)
	if compareRefs(&n.ref, &at.ref) < 0 {
		at.left = t.insertAt(at.left, n)
	} else {
		at.right = t.insertAt(at.right, n)
	}
	return at
}

// split parts a subtree into what is before r and what is after.
func (t *refTree) split(at *refNode, r *opRef) (before, after *refNode) {
	if at == nil {
		return nil, nil
	}
	at = t.own(at)
	if compareRefs(&at.ref, r) < 0 {
		at.right, after = t.split(at.right, r)
		return at, after
	}
	before, at.left = t.split(at.left, r)
	return before, at
}

func (t *refTree) remove(r *opRef) { t.root = t.removeAt(t.root, r) }

func (t *refTree) removeAt(at *refNode, r *opRef) *refNode {
	if at == nil {
		return nil
	}
	c := compareRefs(r, &at.ref)
	if c == 0 {
		return t.join(at.left, at.right)
	}
	at = t.own(at)
	if c < 0 {
		at.left = t.removeAt(at.left, r)
	} else {
		at.right = t.removeAt(at.right, r)
	}
	return at
}

// join makes one subtree of two, the first of which is before the second.
func (t *refTree) join(a, b *refNode) *refNode {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.prio > b.prio:
		a = t.own(a)
		a.right = t.join(a.right, b)
		return a
	}
	b = t.own(b)
	b.left = t.join(a, b.left)
	return b
}

func compareRefs(a, b *opRef) int {
	return cmp.Or(cmp.Compare(a.keyspace, b.keyspace), base.Compare(a.key, a.trailer, b.key, b.trailer))
}

// refIter walks the operations on a keyspace as entries.
type refIter struct {
	root     *refNode
	keyspace uint32
	path     []*refNode // to the node it stands on
	used     bool
	after    bool // while it stands nowhere: behind all, and not before
	kv       base.KV
}

var _ base.Iterator = (*refIter)(nil)

func (i *refIter) init(root *refNode, keyspace uint32) {
	*i = refIter{root: root, keyspace: keyspace, path: i.path[:0]}
}

// first goes to the first node that is not before something, as less says.
func (i *refIter) first(less func(*opRef) bool) *base.KV {
	i.path = i.path[:0]
	keep := 0
	for n := i.root; n != nil; {
		i.path = append(i.path, n)
		if less(&n.ref) {
			n = n.right
		} else {
			keep, n = len(i.path), n.left
		}
	}
	i.path = i.path[:keep]
	return i.show(true)
}

// last goes to the last node that is before something.
func (i *refIter) last(less func(*opRef) bool) *base.KV {
	i.path = i.path[:0]
	keep := 0
	for n := i.root; n != nil; {
		i.path = append(i.path, n)
		if less(&n.ref) {
			keep, n = len(i.path), n.right
		} else {
			n = n.left
		}
	}
	i.path = i.path[:keep]
	return i.show(false)
}

// show returns the entry that the iterator stands on, after a move in a
// direction. Beyond the keyspace it stands nowhere.
func (i *refIter) show(ahead bool) *base.KV {
	i.used = true
	if n := len(i.path); n > 0 && i.path[n-1].ref.keyspace == i.keyspace {
		r := &i.path[n-1].ref
		i.kv = base.KV{Key: r.key, Trailer: r.trailer, Value: r.value}
		return &i.kv
	}
	i.path, i.after = i.path[:0], ahead
	return nil
}

func (i *refIter) SeekGE(key []byte, t base.Trailer) *base.KV {
	return i.first(func(r *opRef) bool {
		return r.keyspace < i.keyspace || r.keyspace == i.keyspace && base.Compare(r.key, r.trailer, key, t) < 0
	})
}

func (i *refIter) SeekLT(key []byte) *base.KV {
	return i.last(func(r *opRef) bool {
		return r.keyspace < i.keyspace || r.keyspace == i.keyspace && bytes.Compare(r.key, key) < 0
	})
}

func (i *refIter) First() *base.KV {
	return i.first(func(r *opRef) bool { return r.keyspace < i.keyspace })
}
func (i *refIter) Last() *base.KV {
	return i.last(func(r *opRef) bool { return r.keyspace <= i.keyspace })
}

func (i *refIter) Next() *base.KV {
	switch n := len(i.path); {
	case n == 0 && i.used && i.after:
		return nil
	case n == 0:
		return i.First()
	case i.path[n-1].right != nil:
		for c := i.path[n-1].right; c != nil; c = c.left {
			i.path = append(i.path, c)
		}
	default:
		for c := i.pop(); len(i.path) > 0 && i.path[len(i.path)-1].right == c; c = i.pop() {
		}
	}
	return i.show(true)
}

func (i *refIter) Prev() *base.KV {
	switch n := len(i.path); {
	case n == 0 && i.used && !i.after:
		return nil
	case n == 0:
		return i.Last()
	case i.path[n-1].left != nil:
		for c := i.path[n-1].left; c != nil; c = c.right {
			i.path = append(i.path, c)
		}
	default:
		for c := i.pop(); len(i.path) > 0 && i.path[len(i.path)-1].left == c; c = i.pop() {
		}
	}
	return i.show(false)
}

// pop leaves a node for the one above it.
func (i *refIter) pop() *refNode {
	c := i.path[len(i.path)-1]
	i.path = i.path[:len(i.path)-1]
	return c
}

func (i *refIter) Err() error   { return nil }
func (i *refIter) Close() error { return nil }
