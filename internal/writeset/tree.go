package writeset

import (
	"bytes"
	"cmp"
	"math/rand/v2"

	"github.com/seerdb-go/seerdb/internal/base"
)

// node is a node of a treap (Seidel and Aragon, Algorithmica 1996) of the
// operations of an open transaction, in the order of entries. An iterator holds
// a root, under which nothing changes any more: later additions and rollbacks
// copy the few nodes on their path, once for all changes between two iterators.
type node struct {
	ref         Op
	left, right *node
	prio        uint32
	epoch       uint32 // nodes of the tree's current epoch are not shared yet
}

// tree is the treap of a write set.
type tree struct {
	root  *node
	epoch uint32
}

// share returns the root for an iterator.
func (t *tree) share() *node {
	t.epoch++
	return t.root
}

func (t *tree) own(n *node) *node {
	if n.epoch == t.epoch {
		return n
	}
	c := *n
	c.epoch = t.epoch
	return &c
}

func (t *tree) insert(r Op) {
	t.root = t.insertAt(t.root, &node{ref: r, prio: rand.Uint32(), epoch: t.epoch})
}

func (t *tree) insertAt(at, n *node) *node {
	switch {
	case at == nil:
		return n
	case n.prio > at.prio:
		n.left, n.right = t.split(at, &n.ref)
		return n
	}
	at = t.own(at)
	if compare(&n.ref, &at.ref) < 0 {
		at.left = t.insertAt(at.left, n)
	} else {
		at.right = t.insertAt(at.right, n)
	}
	return at
}

// split splits a subtree into the nodes before r and those after.
func (t *tree) split(at *node, r *Op) (before, after *node) {
	if at == nil {
		return nil, nil
	}
	at = t.own(at)
	if compare(&at.ref, r) < 0 {
		at.right, after = t.split(at.right, r)
		return at, after
	}
	before, at.left = t.split(at.left, r)
	return before, at
}

func (t *tree) remove(r *Op) { t.root = t.removeAt(t.root, r) }

func (t *tree) removeAt(at *node, r *Op) *node {
	if at == nil {
		return nil
	}
	c := compare(r, &at.ref)
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

// join joins two subtrees, the first of which is before the second.
func (t *tree) join(a, b *node) *node {
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

func compare(a, b *Op) int {
	return cmp.Or(cmp.Compare(a.keyspace, b.keyspace), base.Compare(a.key, a.Trailer, b.key, b.Trailer))
}

// Iter walks the operations on a keyspace, without range deletes, as entries.
// It returns those that existed at Init. The zero value is empty.
type Iter struct {
	root     *node
	keyspace uint32
	path     []*node // to the current node
	used     bool
	after    bool // without a current node: after all, not before
	kv       base.KV
}

var _ base.Iterator = (*Iter)(nil)

// Init prepares the iterator to walk the current operations on a keyspace. It
// may have been used before.
func (i *Iter) Init(o *Set, keyspace uint32) {
	*i = Iter{root: o.tree(), keyspace: keyspace, path: i.path[:0]}
}

// first goes to the first node for which less is false.
func (i *Iter) first(less func(*Op) bool) *base.KV {
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

// last goes to the last node for which less is true.
func (i *Iter) last(less func(*Op) bool) *base.KV {
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

// show returns the current entry after a move in a direction. Outside the
// keyspace there is none.
func (i *Iter) show(ahead bool) *base.KV {
	i.used = true
	if n := len(i.path); n > 0 && i.path[n-1].ref.keyspace == i.keyspace {
		r := &i.path[n-1].ref
		i.kv = base.KV{Key: r.key, Trailer: r.Trailer, Value: r.Value}
		return &i.kv
	}
	i.path, i.after = i.path[:0], ahead
	return nil
}

func (i *Iter) SeekGE(key []byte, t base.Trailer) *base.KV {
	return i.first(func(r *Op) bool {
		return r.keyspace < i.keyspace || r.keyspace == i.keyspace && base.Compare(r.key, r.Trailer, key, t) < 0
	})
}

func (i *Iter) SeekLT(key []byte) *base.KV {
	return i.last(func(r *Op) bool {
		return r.keyspace < i.keyspace || r.keyspace == i.keyspace && bytes.Compare(r.key, key) < 0
	})
}

func (i *Iter) First() *base.KV {
	return i.first(func(r *Op) bool { return r.keyspace < i.keyspace })
}
func (i *Iter) Last() *base.KV {
	return i.last(func(r *Op) bool { return r.keyspace <= i.keyspace })
}

func (i *Iter) Next() *base.KV {
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

func (i *Iter) Prev() *base.KV {
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

// pop goes from a node to its parent.
func (i *Iter) pop() *node {
	c := i.path[len(i.path)-1]
	i.path = i.path[:len(i.path)-1]
	return c
}

// Err is nil: memory does not fail.
func (i *Iter) Err() error { return nil }

// Close releases the operations. Init makes the iterator usable again.
func (i *Iter) Close() error {
	i.root, i.kv = nil, base.KV{}
	clear(i.path[:cap(i.path)])
	i.path = i.path[:0]
	return nil
}
