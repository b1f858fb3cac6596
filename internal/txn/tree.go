package txn

import "github.com/seerdb-go/seerdb/internal/base"

// tree is a treap (Seidel and Aragon, Algorithmica 1996) of records by keyspace
// and key, in which each record has the newest sequence of its subtree. So
// whether anything in a range is newer than some sequence takes O(log n),
// however many older keys the range has. A B-tree would miss the cache less
// often; but its nodes would need memory of their own, and keys enter the tree
// only when a range is asked for among many.
type tree struct{ root *record }

func (r *record) newestBelow() base.SeqNum {
	return max(r.seq, r.left.newest(), r.right.newest())
}

// newest returns the newest sequence of a subtree, which may be empty.
func (r *record) newest() base.SeqNum {
	if r == nil {
		return 0
	}
	return r.max
}

// raise records, in all parents, that the record has the newest sequence of
// all.
func (r *record) raise() {
	for n := r; n != nil && n.max < r.seq; n = n.up {
		n.max = r.seq
	}
}

func (t *tree) insert(r *record) {
	var up *record
	link := &t.root
	for *link != nil {
		up = *link
		up.max = max(up.max, r.seq)
		if up.compare(r.keyspace, r.prefix, r.key) > 0 {
			link = &up.left
		} else {
			link = &up.right
		}
	}
	r.up, r.left, r.right, r.max = up, nil, nil, r.seq
	*link = r
	for r.up != nil && r.up.prio < r.prio {
		t.rotate(r)
	}
}

// rotate moves a record above its parent.
func (t *tree) rotate(r *record) {
	p := r.up
	if p.left == r {
		if p.left = r.right; p.left != nil {
			p.left.up = p
		}
		r.right = p
	} else {
		if p.right = r.left; p.right != nil {
			p.right.up = p
		}
		r.left = p
	}
	t.replace(p, r)
	p.up = r
	r.max, p.max = p.max, p.newestBelow()
}

// replace puts with, which may be nil, in the place of r.
func (t *tree) replace(r, with *record) {
	switch {
	case r.up == nil:
		t.root = with
	case r.up.left == r:
		r.up.left = with
	default:
		r.up.right = with
	}
	if with != nil {
		with.up = r.up
	}
}

func (t *tree) remove(r *record) {
	for r.left != nil && r.right != nil {
		if r.left.prio > r.right.prio {
			t.rotate(r.left)
		} else {
			t.rotate(r.right)
		}
	}
	child := r.left
	if child == nil {
		child = r.right
	}
	t.replace(r, child)
	for up := r.up; up != nil; up = up.up {
		m := up.newestBelow()
		if m == up.max {
			break
		}
		up.max = m
	}
	r.left, r.right, r.up, r.ordered = nil, nil, nil, false
}

// atMost returns the last record at or before a key, of any keyspace.
func (t *tree) atMost(keyspace uint32, key []byte) *record {
	var best *record
	prefix := base.Head(key)
	for r := t.root; r != nil; {
		if r.compare(keyspace, prefix, key) <= 0 {
			best, r = r, r.right
		} else {
			r = r.left
		}
	}
	return best
}

// atLeast returns the first record at or after a key, of any keyspace.
func (t *tree) atLeast(keyspace uint32, key []byte) *record {
	var best *record
	prefix := base.Head(key)
	for r := t.root; r != nil; {
		if r.compare(keyspace, prefix, key) >= 0 {
			best, r = r, r.left
		} else {
			r = r.right
		}
	}
	return best
}

// anyNewer returns the sequence of some record that is newer than after and
// whose key is in the range, or 0.
func (t *tree) anyNewer(g *Range, after base.SeqNum) base.SeqNum {
	r := t.root
	lo, hi := base.Head(g.Lo), base.Head(g.Hi)
	for r != nil && r.max > after { // descend to the first record inside
		switch {
		case r.compare(g.Keyspace, lo, g.Lo) < 0:
			r = r.right
		case !r.below(g, hi):
			r = r.left
		case r.seq > after:
			return r.seq
		default:
			return max(r.left.newerFrom(g, lo, after), r.right.newerTo(g, hi, after))
		}
	}
	return 0
}

// newerFrom is anyNewer for a subtree that is before the range's end.
func (r *record) newerFrom(g *Range, lo uint64, after base.SeqNum) base.SeqNum {
	for r != nil && r.max > after {
		if r.compare(g.Keyspace, lo, g.Lo) < 0 {
			r = r.right
			continue
		}
		if seq := max(r.seq, r.right.newest()); seq > after {
			return seq
		}
		r = r.left
	}
	return 0
}

// newerTo is anyNewer for a subtree that is after the range's beginning.
func (r *record) newerTo(g *Range, hi uint64, after base.SeqNum) base.SeqNum {
	for r != nil && r.max > after {
		if !r.below(g, hi) {
			r = r.left
			continue
		}
		if seq := max(r.seq, r.left.newest()); seq > after {
			return seq
		}
		r = r.right
	}
	return 0
}

// below reports whether the record is before the end of a range.
func (r *record) below(g *Range, hi uint64) bool {
	if g.Hi == nil {
		return r.keyspace <= g.Keyspace
	}
	return r.compare(g.Keyspace, hi, g.Hi) < 0
}
