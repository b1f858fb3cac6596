package rangedel

import (
	"bytes"
	"slices"
	"sort"
	"sync"
)

// A batch of many range deletes changes nearly all of a tree. Then it is
// cheaper to build a new one: one pass in key order over the old fragments and
// the new tombstones, and the inner nodes bottom-up. A batch of 20,000 in a set
// of 80,000 takes four fifths of the time of a descent for each, and two thirds
// when a second processor is free.

const (
	// rebuildShare is how many fragments a set may have for each tombstone of a
	// batch that rebuilds its tree. With 16, both ways take the same time.
	rebuildShare = 8
	// rebuildMin is the smallest batch that rebuilds a tree.
	rebuildMin = 8
	// ahead is how many tombstones look reads at a time.
	ahead = 16
)

// splitFrom is the number of tombstones from which two goroutines share the
// work. Tests lower it.
var splitFrom = 2048

// rebuilds reports whether there are enough tombstones to rebuild the tree.
func rebuilds(fragments, tombstones int) bool {
	return tombstones >= rebuildMin && fragments <= rebuildShare*tombstones
}

// rebuild returns v, which may be nil, with some tombstones added. It does not
// change v, and no inner node is in both.
func (a *adder) rebuild(v *View, tombstones []Tombstone, order []ordered) *View {
	r := rebuilder{adder: a}
	if v != nil {
		r.old = v.root.inner.parents(nil, v.root.lowest())
	}
	p, k := 0, 0
	if len(order) >= splitFrom {
		p, k = r.split(tombstones, order)
	}
	if k == 0 {
		r.merge(tombstones, order)
	} else {
		behind := rebuilder{adder: &adder{splicer: splicer{edit: a.edit}, stripes: a.stripes, mark: a.mark}, old: r.old[p:]}
		r.old = r.old[:p]
		var wg sync.WaitGroup
		wg.Go(func() { behind.merge(tombstones, order[k:]) })
		r.merge(tombstones, order[:k])
		wg.Wait()
		r.made, r.n = append(r.made, behind.made...), r.n+behind.n
	}
	return &View{n: r.n, root: r.rootOf(r.made)}
}

// parents appends the inner nodes that many levels down, in order.
func (t *inner) parents(dst []*inner, down int) []*inner {
	if down == 0 {
		return append(dst, t)
	}
	for _, k := range t.kids[:t.n] {
		dst = k.inner.parents(dst, down-1)
	}
	return dst
}

// rebuilder makes a new tree from an old one and tombstones ordered by Lo.
type rebuilder struct {
	*adder
	// old are the remaining lowest inner nodes of the old tree, and at the next
	// child of the first one.
	old []*inner
	at  int
	// open are new fragments that a tombstone may still meet. They come before
	// those in old; the first is the last of the slice.
	open []*node
	// made are the lowest inner nodes of the new tree, with n fragments. The
	// last has no end yet.
	made []*node
	n    int

	looked byte // see look; it keeps the compiler from removing the reads
}

// split finds where the work can be cut in half: before the p-th of the lowest
// inner nodes and the k-th tombstone, so that no tombstone is on both sides. k
// is 0 if there is no such position near the middle.
func (r *rebuilder) split(tombstones []Tombstone, order []ordered) (p, k int) {
	middle := tombstones[order[len(order)/2].i].Lo
	p = sort.Search(len(r.old), func(i int) bool { return !r.old[i].endsBefore(middle) })
	if p == len(r.old) {
		return 0, 0
	}
	at := r.old[p].kids[0].Lo
	k = sort.Search(len(order), func(i int) bool { return bytes.Compare(tombstones[order[i].i].Lo, at) >= 0 })
	for _, o := range order[:k] {
		if t := &tombstones[o.i]; t.Hi == nil || bytes.Compare(t.Hi, at) > 0 {
			return 0, 0
		}
	}
	return p, k
}

// merge makes the lowest inner nodes of the new tree.
func (r *rebuilder) merge(tombstones []Tombstone, order []ordered) {
	for part := range slices.Chunk(order, ahead) {
		r.look(tombstones, part)
		for _, o := range part {
			t := &tombstones[o.i]
			r.begin(t)
			r.keepBefore(t.Lo, o.head)
			r.meet()
		}
	}
	for len(r.open) > 0 {
		r.keepOpen()
	}
	for ; len(r.old) > 0; r.old, r.at = r.old[1:], 0 {
		in := r.old[0]
		r.keep(in.kids[r.at:in.n], in.ends[r.at:in.n])
	}
	r.endLast()
}

// look reads memory that some tombstones will need: themselves, and the
// fragments in which they begin, each of which has two cache lines, and its key
// another. They are in as many places; read here, the processor waits for all
// of them at once. That is a tenth of the time.
func (r *rebuilder) look(tombstones []Tombstone, part []ordered) {
	old, at := r.old, r.at
	var first [ahead]*node
	for i, o := range part {
		for len(old) > 0 && old[0].ends[at] < o.head {
			if at++; at == old[0].n {
				old, at = old[1:], 0
			}
		}
		if len(old) > 0 {
			first[i] = old[0].kids[at]
		}
	}
	for i, o := range part {
		if t := &tombstones[o.i]; len(t.Lo) > 0 {
			r.looked += t.Lo[0] + byte(t.Seq)
		}
		if n := first[i]; n != nil && len(n.Lo) > 0 {
			r.looked += n.Lo[0] + byte(n.seq[1])
		}
	}
}

// keepBefore keeps the fragments that end at or before lo, which has head h: no
// further tombstone meets them.
func (r *rebuilder) keepBefore(lo []byte, h uint64) {
	for n := len(r.open); n > 0 && r.open[n-1].endsBefore(lo); n-- {
		r.keepOpen()
	}
	for len(r.old) > 0 { // these come after those in open
		in, from := r.old[0], r.at
		for r.at < in.n && (in.ends[r.at] < h || in.ends[r.at] == h && in.kids[r.at].endsBefore(lo)) {
			r.at++
		}
		r.keep(in.kids[from:r.at], in.ends[from:r.at])
		if r.at < in.n {
			return
		}
		r.old, r.at = r.old[1:], 0
	}
}

func (r *rebuilder) keepOpen() {
	n := r.take()
	r.keep([]*node{n}, []uint64{endHead(n)})
}

// keep adds fragments to the new tree. ends are the heads of their ends.
func (r *rebuilder) keep(fragments []*node, ends []uint64) {
	for r.n += len(fragments); len(fragments) > 0; {
		k := len(r.made) - 1
		if k < 0 || r.made[k].inner.n == usual {
			r.endLast()
			r.made = append(r.made, &r.newInner().node)
			k++
		}
		in := r.made[k].inner
		n := copy(in.kids[in.n:usual], fragments)
		copy(in.ends[in.n:], ends[:n])
		in.n += n
		fragments, ends = fragments[n:], ends[n:]
	}
}

// endLast sets the end of the last inner node, if there is one.
func (r *rebuilder) endLast() {
	if k := len(r.made) - 1; k >= 0 {
		in := r.made[k].inner
		in.Hi = in.kids[in.n-1].Hi
	}
}

// next returns the first fragment that is not kept, or nil.
func (r *rebuilder) next() *node {
	switch {
	case len(r.open) > 0:
		return r.open[len(r.open)-1]
	case len(r.old) > 0:
		return r.old[0].kids[r.at]
	}
	return nil
}

// take returns the next fragment and advances.
func (r *rebuilder) take() *node {
	n := r.next()
	if k := len(r.open); k > 0 {
		r.open = r.open[:k-1]
	} else if r.at++; r.at == r.old[0].n {
		r.old, r.at = r.old[1:], 0
	}
	return n
}

// meet puts the current tombstone over the next fragments.
func (r *rebuilder) meet() {
	if n := r.next(); n != nil && r.beginsIn(n) {
		r.meetFirst(r.take())
		for r.reachesBehind(n) {
			after := r.next()
			if after == nil || !r.beginsIn(after) {
				break
			}
			n = r.take()
			r.cover(n)
		}
		r.leave(n)
	}
	r.fillRest()
	slices.Reverse(r.with)
	r.open = append(r.open, r.with...)
}
