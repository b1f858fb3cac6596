package memtable

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
)

// checkStructure verifies every invariant of a generation at rest that the
// outside cannot see, and that tree and index hold the same n records.
func checkStructure(t tb, g *half) {
	t.Helper()
	c := checker{t: t, a: &g.arena}
	root := g.tree.root.Load()
	c.node(ref(root), int(root>>32), 0, 0)
	if c.prevLeaf != g.tree.last {
		t.Fatalf("the last leaf is %d, not %d", c.prevLeaf, g.tree.last)
	}
	found := c.index(g)
	keys := 0
	for i := range g.partitions {
		p := &g.partitions[i]
		keys += p.keys
		if p.memory > indexFixed+indexBytesPerKey*p.keys {
			t.Fatalf("partition %d: index of %d bytes for %d keys", i, p.memory, p.keys)
		}
		if !p.spilled.Load() && found[i] != p.keys {
			t.Fatalf("partition %d: %d of %d keys indexed", i, found[i], p.keys)
		}
	}
	if len(c.records) != keys {
		t.Fatalf("%d records in the tree, %d keys", len(c.records), keys)
	}
	for _, r := range c.records {
		c.chain(g.arena.record(r))
	}
	if u, size := g.arena.used(), int(g.arena.size); u > size || int64(u) > g.Bytes()+int64(fixedOverhead+len(g.partitions)*indexFixed) {
		t.Fatalf("%d bytes used for %d reserved, of %d", u, g.Bytes(), size)
	}
}

type checker struct {
	t        tb
	a        *arena
	records  []ref
	prevLeaf ref
}

// node checks a subtree between fences and collects its records.
func (c *checker) node(r ref, height int, lo, hi ref) {
	c.t.Helper()
	if height == 0 {
		c.leaf(r, lo, hi)
		return
	}
	n := c.a.inner(r)
	ctl := n.ctl.Load()
	if n.lo != lo || n.hi != hi || ctl&(lockedBit|frozenBit) != 0 || countOf(ctl) == 0 {
		c.t.Fatalf("inner %d: fences %d %d, want %d %d; ctl %x", r, n.lo, n.hi, lo, hi, ctl)
	}
	c.permutation(ctl)
	count := countOf(ctl)
	for pos := range count {
		slot := slotAt(ctl, pos)
		from, to := ref(n.refs[slot].Load()), hi
		if pos == 0 {
			if from != 0 || n.headAt(slot) != 0 {
				c.t.Fatalf("inner %d: its first child begins at %d", r, from)
			}
			from = lo
		} else {
			c.head(&n.slots, slot, from)
		}
		if pos+1 < count {
			to = ref(n.refs[slotAt(ctl, pos+1)].Load())
		}
		c.node(ref(n.children[slot].Load()), height-1, from, to)
	}
}

func (c *checker) leaf(r, lo, hi ref) {
	c.t.Helper()
	l := c.a.leaf(r)
	ctl := l.ctl.Load()
	if ref(l.lo.Load()) != lo || ref(l.hi.Load()) != hi || ctl&lockedBit != 0 {
		c.t.Fatalf("leaf %d: fences %d %d, want %d %d; ctl %x", r, l.lo.Load(), l.hi.Load(), lo, hi, ctl)
	}
	c.permutation(ctl)
	for pos := range countOf(ctl) {
		slot := slotAt(ctl, pos)
		rec := ref(l.refs[slot].Load())
		k := c.a.key(rec)
		c.head(&l.slots, slot, rec)
		if n := len(c.records); n > 0 && bytes.Compare(c.a.key(c.records[n-1]), k) >= 0 {
			c.t.Fatalf("leaf %d: %.40q not after the one before", r, k)
		}
		if lo != 0 && bytes.Compare(k, c.a.key(lo)) < 0 || hi != 0 && bytes.Compare(k, c.a.key(hi)) >= 0 {
			c.t.Fatalf("leaf %d: %.40q outside its fences", r, k)
		}
		c.records = append(c.records, rec)
	}
	c.prevLeaf = r
}

func (c *checker) permutation(ctl uint64) {
	c.t.Helper()
	var seen uint
	for pos := range fanout {
		seen |= 1 << slotAt(ctl, pos)
	}
	if seen != 1<<fanout-1 {
		c.t.Fatalf("ctl %x is no permutation", ctl)
	}
}

func (c *checker) head(s *slots, slot int, rec ref) {
	c.t.Helper()
	if k := c.a.key(rec); len(k) < int(s.skip) || s.headAt(slot) != base.HeadFrom(k, int(s.skip)) {
		c.t.Fatalf("%.40q at skip %d has the head %x", k, s.skip, s.headAt(slot))
	}
}

// index counts, by partition, the keys that lookups find by the index alone.
func (c *checker) index(g *half) []int {
	found := make([]int, len(g.partitions))
	for _, r := range c.records {
		k := c.a.key(r)
		h := base.Hash(k)
		if g.partitions[h&g.mask].lookup(c.a, k, h) == r {
			found[h&g.mask]++
		}
	}
	return found
}

// chain checks the order of a key's versions and of their jump pointers.
func (c *checker) chain(rec *record) {
	c.t.Helper()
	for r := c.a.newestOf(rec); r != 0; {
		v := c.a.version(r)
		older := ref(v.older.Load())
		if older != 0 && c.a.version(older).trailer >= v.trailer {
			c.t.Fatalf("%.40q: %s is linked below %s", rec.key(), c.a.version(older).trailer, v.trailer)
		}
		if !v.inline() {
			if j := c.a.later(r).jump; j != 0 && c.a.version(j).trailer >= v.trailer {
				c.t.Fatalf("%.40q: %s jumps to %s", rec.key(), v.trailer, c.a.version(j).trailer)
			}
		}
		r = older
	}
}

// used is the number of bytes handed out.
func (a *arena) used() int { return int(a.bottom.Load() + a.top.Load()) }
