package rangedel

import (
	"bytes"
	"math"
	"slices"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
)

// fan is the largest number of children of a node, few the smallest where a
// neighbour could take them. An edit copies a node of each level, of which a
// set of 80,000 fragments has five; the earlier binary tree had seventeen, and
// deleting a range took twice the time.
const (
	fan = 16
	few = fan / 4
	// usual is how many children nodes get when an edit makes many: more fit
	// later without another split.
	usual = fan * 3 / 4
	// maxLevels is more than a tree can have: nearly all nodes have at least
	// few children.
	maxLevels = 24
)

// node is a fragment, or an inner node of a search tree whose fragments are all
// at the same depth. Nodes of a published tree never change; an edit makes new
// nodes from the root to what it touches.
//
// An edit changes inner nodes of its own in place, since no reader has them yet
// (Driscoll et al. call such structures partially persistent; Clojure calls the
// technique transients). So a batch of many range deletes copies each node
// once.
type node struct {
	Fragment        // of an inner node only Hi, its last fragment's
	mark     *mark  // of a fragment; shared by its pieces
	inner    *inner // nil for a fragment

	// own and seq hold mark and Seqs of most fragments.
	own mark
	seq [2]base.SeqNum
}

// inner is the rest of an inner node, in the same allocation.
type inner struct {
	node
	owner edit // the edit that made it
	n     int  // children
	// ends are the heads of the children's ends. A search that read the
	// children instead took twice the time.
	ends [fan]uint64
	kids [fan]*node
}

// endHead returns the head of a node's end.
func endHead(t *node) uint64 {
	if t.Hi == nil {
		return math.MaxUint64
	}
	return base.Head(t.Hi)
}

// edit numbers the edits of a Set. Only the running edit may change the nodes
// it owns.
type edit uint64

// mark says whether an entry in a fragment is newer than the fragment's newest
// sequence.
type mark struct{ v atomic.Uint32 }

const (
	clean  uint32 = iota
	unsure        // not checked yet: see Set.AddSeen
	reused
)

func (m *mark) reuse() {
	if m.v.Load() != reused {
		m.v.Store(reused)
	}
}

// settle is called by a reader that looked.
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

// search returns the first child that ends after key, which has head h. There
// must be one.
func (t *inner) search(key []byte, h uint64) int {
	lo, hi := 0, t.n-1
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if e := t.ends[mid]; e < h || e == h && t.kids[mid].endsBefore(key) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// ending returns the first fragment that ends after key, or nil.
func (t *node) ending(key []byte) *node {
	if t == nil || t.endsBefore(key) {
		return nil
	}
	for h := base.Head(key); t.inner != nil; {
		t = t.inner.kids[t.inner.search(key, h)]
	}
	return t
}

// starting returns the last fragment that begins before key, or nil.
func (t *node) starting(key []byte) *node {
	if t == nil {
		return nil
	}
	var before *node // a node that begins before key
	if t.endsBefore(key) {
		before = t
	} else {
		for h := base.Head(key); t.inner != nil; {
			i := t.inner.search(key, h)
			if i > 0 {
				before = t.inner.kids[i-1]
			}
			t = t.inner.kids[i]
		}
		if bytes.Compare(t.Lo, key) < 0 {
			return t
		}
	}
	for before != nil && before.inner != nil {
		before = before.inner.kids[before.inner.n-1]
	}
	return before
}

// walk calls fn for the fragments in order until it returns false.
func (t *node) walk(fn func(*node) bool) bool {
	if t == nil {
		return true
	}
	if t.inner == nil {
		return fn(t)
	}
	return t.inner.walk(0, fn)
}

func (t *inner) walk(from int, fn func(*node) bool) bool {
	for _, k := range t.kids[from:t.n] {
		if !k.walk(fn) {
			return false
		}
	}
	return true
}

// from calls fn for the fragments that end after key, in order, until it returns
// false.
func (t *node) from(key []byte, fn func(*node) bool) bool {
	if t == nil || t.endsBefore(key) {
		return true
	}
	return t.tail(key, base.Head(key), fn)
}

// tail is from for a node that ends after key.
func (t *node) tail(key []byte, h uint64, fn func(*node) bool) bool {
	if t.inner == nil {
		return fn(t)
	}
	i := t.inner.search(key, h)
	return t.inner.kids[i].tail(key, h, fn) && t.inner.walk(i+1, fn)
}

// position is a position between fragments: the child taken at each level, and at
// the lowest level the child after it.
type position [maxLevels]uint8

// find sets p to the position before the first fragment that ends after key,
// and returns that fragment, or nil at the end of the tree.
func (t *node) find(p *position, key []byte) *node {
	if t.endsBefore(key) {
		t.end(p)
		return nil
	}
	h := base.Head(key)
	for level := 0; t.inner != nil; level++ {
		i := t.inner.search(key, h)
		p[level] = uint8(i)
		t = t.inner.kids[i]
	}
	return t
}

// end sets p to the end of the tree.
func (t *node) end(p *position) {
	for level := 0; ; level++ {
		in := t.inner
		if t = in.kids[in.n-1]; t.inner == nil {
			p[level] = uint8(in.n)
			return
		}
		p[level] = uint8(in.n - 1)
	}
}

// lowest returns the number of the last level of a tree.
func (t *node) lowest() (level int) {
	for t = t.inner.kids[0]; t.inner != nil; t = t.inner.kids[0] {
		level++
	}
	return level
}

// splicer replaces the fragments between two positions.
type splicer struct {
	edit
	from, to position
	lowest   int
	with     []*node // fragments
	rooms    [maxLevels][]*node
}

// splice returns the tree with other fragments in place of those from s.from to
// s.to.
func (s *splicer) splice(root *node) *node {
	if root == nil {
		return s.rootOf(s.group(nil, s.with))
	}
	s.lowest = root.lowest()
	nodes := s.inside(nil, root.inner, 0, true, true)
	if len(nodes) == 0 {
		return nil
	}
	root = s.rootOf(nodes)
	for root.inner.n == 1 && root.inner.kids[0].inner != nil {
		root = root.inner.kids[0]
	}
	return root
}

// rootOf returns the root over nodes of one level.
func (s *splicer) rootOf(nodes []*node) *node {
	for len(nodes) > 1 {
		nodes = s.group(nil, nodes)
	}
	return nodes[0]
}

// inside appends to dst the nodes that replace t, a node of that level; there
// may be none. left says that s.from is in t, not before it; right that s.to
// is.
func (s *splicer) inside(dst []*node, t *inner, level int, left, right bool) []*node {
	a, b := 0, t.n // replace children a to b-1
	if left {
		a = int(s.from[level])
	}
	if level == s.lowest {
		if right {
			b = int(s.to[level])
		}
		if !left {
			return s.replace(dst, t, a, b, nil)
		}
		return s.replace(dst, t, a, b, s.with)
	}
	if right {
		b = int(s.to[level]) + 1
	}
	room := s.rooms[level][:0]
	if a == b-1 {
		room = s.inside(room, t.kids[a].inner, level+1, left, right)
	} else {
		room = s.inside(room, t.kids[a].inner, level+1, left, false)
		if right { // else nothing of the last one is left
			room = s.inside(room, t.kids[b-1].inner, level+1, false, true)
		}
	}
	s.rooms[level] = room
	if len(room) == 1 && b == a+1 && room[0] == t.kids[a] && t.owner == s.edit && room[0].inner.n >= few {
		if t.ends[a] = endHead(room[0]); b == t.n { // changed in place
			t.Hi = room[0].Hi
		}
		return append(dst, &t.node)
	}
	if len(room) > 0 && a > 0 && absorbs(t.kids[a-1], room[0]) {
		a--
		room[0] = s.join(t.kids[a], room[0])
	}
	if k := len(room) - 1; k > 0 && absorbs(room[k-1], room[k]) {
		room[k-1] = s.join(room[k-1], room[k])
		room = room[:k]
	}
	if k := len(room) - 1; k >= 0 && b < t.n && absorbs(t.kids[b], room[k]) {
		room[k] = s.join(room[k], t.kids[b])
		b++
	}
	return s.replace(dst, t, a, b, room)
}

// replace appends to dst the nodes that t becomes when others replace its
// children i to j-1.
func (s *splicer) replace(dst []*node, t *inner, i, j int, with []*node) []*node {
	total := t.n - (j - i) + len(with)
	switch {
	case total == 0:
		return dst
	case total > fan && i == t.n && len(with) == 1: // ascending inserts leave full nodes behind
		return append(dst, &t.node, s.parent(with))
	case total > fan:
		return s.group(dst, slices.Concat(t.kids[:i], with, t.kids[j:t.n]))
	}
	m, end := t, t.n // m may be t, whose n changes
	if t.owner != s.edit {
		m = s.newInner()
		copy(m.kids[:i], t.kids[:i])
		copy(m.ends[:i], t.ends[:i])
	}
	copy(m.kids[i+len(with):total], t.kids[j:t.n])
	copy(m.ends[i+len(with):total], t.ends[j:t.n])
	copy(m.kids[i:], with)
	for k, w := range with {
		m.ends[i+k] = endHead(w)
	}
	clear(m.kids[total:])
	if m.n, m.Hi = total, t.Hi; j == end { // else touch no child: it is seldom in the processor's cache
		m.Hi = m.kids[total-1].Hi
	}
	return append(dst, &m.node)
}

// absorbs reports whether t has few children and its neighbour has room for them.
func absorbs(neighbour, t *node) bool {
	return t.inner.n < few && t.inner.n+neighbour.inner.n <= fan
}

// join returns a node with the children of two nodes.
func (s *splicer) join(a, b *node) *node {
	in := b.inner
	var room [1]*node
	return s.replace(room[:0], a.inner, a.inner.n, a.inner.n, in.kids[:in.n])[0]
}

// group appends to dst nodes over kids, with about equally many children each.
func (s *splicer) group(dst []*node, kids []*node) []*node {
	for parts := (len(kids) + usual - 1) / usual; parts > 0; parts-- {
		n := (len(kids) + parts - 1) / parts
		dst = append(dst, s.parent(kids[:n]))
		kids = kids[n:]
	}
	return dst
}

// parent returns an inner node over kids.
func (s *splicer) parent(kids []*node) *node {
	m := s.newInner()
	m.n, m.Hi = copy(m.kids[:], kids), kids[len(kids)-1].Hi
	for i, k := range kids {
		m.ends[i] = endHead(k)
	}
	return &m.node
}

func (s *splicer) newInner() *inner {
	m := &inner{owner: s.edit}
	m.inner = m
	return m
}
