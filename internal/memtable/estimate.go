package memtable

import (
	"bytes"
	"slices"
)

// The tree keeps no counts: a count in each node would make every insert write
// to all nodes above it. So Estimate counts the keys of a range in a sample of
// its leaves. Of the nodes on each level that are wholly inside the range it
// visits at most sampleNodes, evenly spread, and scales what it finds under
// them. It counts the leaves at the two ends exactly. So a range of at most
// sampleNodes whole leaves, 700 to 1300 keys, is counted exactly.

const (
	sampleNodes = 96
	// sampleRecords is how many records of a leaf are visited if the leaf
	// stands for others.
	sampleRecords = 2
	// sampleVersions is how many versions of a key are counted one by one.
	sampleVersions = 32
)

// sampled is a node that stands for weight nodes of its level.
type sampled struct {
	at     ref
	weight float64
}

// estimate gathers figures about a range.
type estimate struct {
	a             *arena
	entries, size float64
	// beside are, by level with the root as level 0, the nodes inside the range
	// whose parent is on a path to one of its ends. They are gathered under the
	// tree's lock.
	beside [maxHeight + 1][]ref
	height int
	ends   []ref // the records inside the range in the leaves at its ends
}

// Estimate returns roughly how many entries with lo <= key < hi there are and
// how many bytes of the capacity they take; a nil hi means no end. It is exact
// for some 600 keys of at most 32 versions each while there are no writers, and
// a few percent off for more. It may miss a few keys with very many versions
// among very many other keys, and may count entries added while it runs. It
// visits a few hundred nodes and records, however many there are. That takes
// some tens of microseconds, and delays writers that split leaves for less than
// one.
func (h *half) Estimate(lo, hi []byte) (entries, size uint64) {
	if hi != nil && bytes.Compare(hi, lo) <= 0 {
		return 0, 0
	}
	e := estimate{a: &h.arena}
	e.findEnds(&h.tree, lo, hi)
	var nodes, spare []sampled
	for level := 0; ; level++ {
		for _, r := range e.beside[level] {
			nodes = append(nodes, sampled{r, 1})
		}
		nodes = thinned(nodes)
		if level == e.height {
			break
		}
		nodes, spare = e.children(spare[:0], nodes), nodes
	}
	for _, n := range nodes {
		e.addLeaf(n)
	}
	for _, r := range e.ends {
		e.addRecord(r, 1)
	}
	return uint64(e.entries + 0.5), uint64(e.size + 0.5)
}

// findEnds walks to both ends of the range and notes the nodes between the
// paths.
func (e *estimate) findEnds(t *tree, lo, hi []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var low, high [maxHeight]step
	toLow, toHigh := toKey, toKey
	if lo == nil {
		toLow = toFirst
	}
	if hi == nil {
		toHigh = toLast
	}
	height, from := t.pathTo(lo, toLow, &low)
	_, to := t.pathTo(hi, toHigh, &high)
	e.height = height
	for i := range height {
		if low[i].node == high[i].node {
			e.note(i+1, low[i].node, low[i].pos+1, high[i].pos)
		} else {
			e.note(i+1, low[i].node, low[i].pos+1, fanout)
			e.note(i+1, high[i].node, 0, high[i].pos)
		}
	}
	if from == to {
		e.noteRecords(from, lo, hi)
		return
	}
	e.noteRecords(from, lo, nil)
	e.noteRecords(to, nil, hi)
}

// noteRecords notes the records of a leaf that are inside the range. lo or hi
// is nil if that end is outside the leaf. The caller holds the tree's lock: no
// leaf is split, so the ends stay within its fences.
func (e *estimate) noteRecords(at ref, lo, hi []byte) {
	var refs [fanout]ref
	l := e.a.leaf(at)
	ctl := l.ctl.Load()
	first, end := 0, l.sorted(ctl, &refs)
	if hi != nil {
		end = l.search(e.a, ctl, hi)
	}
	if lo != nil {
		first = l.search(e.a, ctl, lo)
	}
	e.ends = append(e.ends, refs[min(first, end):end]...)
}

// note notes the children of a node at positions first to end-1, which are
// inside the range, for a level.
func (e *estimate) note(level int, node ref, first, end int) {
	n := e.a.inner(node)
	ctl := n.ctl.Load()
	for pos := first; pos < min(end, countOf(ctl)); pos++ {
		e.beside[level] = append(e.beside[level], ref(n.children[slotAt(ctl, pos)].Load()))
	}
}

// thinned returns at most sampleNodes of the nodes of a level, evenly spread
// and with their weights raised accordingly.
func thinned(nodes []sampled) []sampled {
	n := len(nodes)
	if n <= sampleNodes {
		return nodes
	}
	more := float64(n) / sampleNodes
	for i := range sampleNodes {
		nodes[i] = nodes[(2*i+1)*n/(2*sampleNodes)]
		nodes[i].weight *= more
	}
	return nodes[:sampleNodes]
}

// children appends the children of inner nodes. A node may be replaced
// concurrently; its old children stay valid.
func (e *estimate) children(out, nodes []sampled) []sampled {
	out = slices.Grow(out, (len(nodes)+2)*fanout)
	for _, s := range nodes {
		n := e.a.inner(s.at)
		ctl := n.ctl.Load()
		for pos := range countOf(ctl) {
			out = append(out, sampled{ref(n.children[slotAt(ctl, pos)].Load()), s.weight})
		}
	}
	return out
}

// addLeaf counts a leaf that is wholly inside the range.
func (e *estimate) addLeaf(s sampled) {
	var refs [fanout]ref
	l := e.a.leaf(s.at)
	n := l.sorted(l.ctl.Load(), &refs)
	take := n
	if s.weight > 1 {
		take = min(n, sampleRecords)
	}
	for i := range take {
		e.addRecord(refs[(2*i+1)*n/(2*take)], s.weight*float64(n)/float64(take))
	}
}

// addRecord counts the versions of a key, for weight keys. If there are very
// many it uses the height of the newest, which is right if they came in order,
// and the average size of those it visited.
func (e *estimate) addRecord(r ref, weight float64) {
	rec := e.a.record(r)
	newest := e.a.newestOf(rec)
	n, size := 0, int64(0)
	at := newest
	for at != 0 && n < sampleVersions {
		v := e.a.version(at)
		size += EntryBound(int(rec.keyLen), v.valueLen())
		at = ref(v.older.Load())
		n++
	}
	versions := float64(n)
	if at != 0 {
		versions = float64(max(n+1, int(e.a.height(newest))))
	}
	e.entries += weight * versions
	e.size += weight * versions * float64(size) / float64(n)
}
