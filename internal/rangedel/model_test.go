package rangedel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// testKeys are few, so that ranges begin and end at the same places, and have
// prefixes of each other among them.
var testKeys = [][]byte{
	{}, {0}, {0, 0}, []byte("a"), []byte("a\x00"), []byte("aa"), []byte("b"), []byte("c"),
	[]byte("ca"), []byte("d"), []byte("e"), []byte("f"), {0xff}, {0xff, 0xff},
}

func (t Tombstone) contains(key []byte) bool {
	return bytes.Compare(t.Lo, key) <= 0 && (len(t.Hi) == 0 || bytes.Compare(key, t.Hi) < 0)
}

// cover computes the result of Fragment.Cover for a key by brute force.
func cover(ts []Tombstone, key []byte, s base.SeqNum) (newest base.SeqNum) {
	for _, t := range ts {
		if t.Seq <= s && t.contains(key) {
			newest = max(newest, t.Seq)
		}
	}
	return newest
}

func (f *Fragment) coverOrNone(s base.SeqNum) base.SeqNum {
	if f == nil {
		return 0
	}
	return f.Cover(s)
}

func randomTombstone(rng *rand.Rand, seq base.SeqNum) Tombstone {
	t := Tombstone{testKeys[rng.IntN(len(testKeys))], testKeys[rng.IntN(len(testKeys))], seq}
	if rng.IntN(8) == 0 {
		t.Hi = nil
	}
	return t
}

func text(l List) string {
	var b bytes.Buffer
	for i := range l.Len() {
		f := l.At(i)
		fmt.Fprintf(&b, "%q-%q %d\n", f.Lo, f.Hi, f.Seqs)
	}
	return b.String()
}

// checkList checks what a list promises.
func checkList(t *testing.T, l List) {
	t.Helper()
	for i := range l.Len() {
		f := l.At(i)
		if f.Hi != nil && bytes.Compare(f.Lo, f.Hi) >= 0 || len(f.Seqs) == 0 {
			t.Fatalf("fragment %d is empty:\n%s", i, text(l))
		}
		for j := 1; j < len(f.Seqs); j++ {
			if f.Seqs[j-1] <= f.Seqs[j] {
				t.Fatalf("fragment %d is not newest first:\n%s", i, text(l))
			}
		}
		if i == 0 {
			continue
		}
		prev := l.At(i - 1)
		if prev.Hi == nil || bytes.Compare(prev.Hi, f.Lo) > 0 || joins(prev, f) {
			t.Fatalf("fragments %d and %d overlap or should be one:\n%s", i-1, i, text(l))
		}
	}
}

func TestListModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		var ts []Tombstone
		for range rng.IntN(12) {
			ts = append(ts, randomTombstone(rng, base.SeqNum(1+rng.IntN(10))))
		}
		n := rng.IntN(len(ts) + 1)
		a, b, all := Build(ts[:n]), Build(ts[n:]), Build(ts)
		merged := Merge(&a, &List{}, &b)
		if text(merged) != text(all) {
			t.Fatalf("merged\n%s, want\n%s", text(merged), text(all))
		}
		lo, hi := testKeys[rng.IntN(len(testKeys))], testKeys[rng.IntN(len(testKeys))]
		if rng.IntN(4) == 0 {
			hi = nil
		}
		part := all.Truncate(lo, hi)
		decoded, err := Decode(all.Append(nil))
		if err != nil || text(decoded) != text(all) {
			t.Fatalf("%v: decoded\n%s, want\n%s", err, text(decoded), text(all))
		}
		for _, l := range []List{a, b, all, part, decoded} {
			checkList(t, l)
		}
		window := Tombstone{Lo: lo, Hi: hi}
		for _, k := range testKeys {
			for s := range base.SeqNum(12) {
				want := cover(ts, k, s)
				if got := all.Find(k).coverOrNone(s); got != want {
					t.Fatalf("%q at %d: %d, want %d, of %v\n%s", k, s, got, want, ts, text(all))
				}
				if hi != nil && bytes.Compare(lo, hi) >= 0 || !window.contains(k) || hi != nil && len(hi) == 0 {
					want = 0
				}
				if got := part.Find(k).coverOrNone(s); got != want {
					t.Fatalf("%q at %d within [%q, %q): %d, want %d\n%s", k, s, lo, hi, got, want, text(all))
				}
			}
			i := all.Search(k)
			for j := range all.Len() {
				if all.At(j).endsBefore(k) != (j < i) {
					t.Fatalf("Search %q: %d\n%s", k, i, text(all))
				}
			}
		}
	}
}

func TestBounds(t *testing.T) {
	l := Build([]Tombstone{{[]byte("c"), []byte("d"), 7}, {[]byte("a"), []byte("b"), 3}, {[]byte("a"), []byte("c"), 5}})
	if lo, hi, oldest, newest := l.Bounds(); string(lo) != "a" || string(hi) != "d" || oldest != 3 || newest != 7 {
		t.Errorf("%q %q %d %d", lo, hi, oldest, newest)
	}
	l = Build([]Tombstone{{nil, nil, 7}})
	if lo, hi, _, _ := l.Bounds(); len(lo) != 0 || hi != nil {
		t.Errorf("%q %q", lo, hi)
	}
}

// checkTree checks the invariants of a tree and returns its nodes.
func checkTree(t *testing.T, n *node) (nodes []*node) {
	t.Helper()
	depth := -1
	var check func(n *node, level int)
	check = func(n *node, level int) {
		if n.inner == nil {
			nodes = append(nodes, n)
			if depth < 0 {
				depth = level
			}
			if level != depth || level == 0 {
				t.Fatalf("fragment %q is %d deep, another one %d", n.Lo, level, depth)
			}
			return
		}
		in := n.inner
		if &in.node != n || in.n < 1 || in.n > fan || in.n == 1 && level == 0 && in.kids[0].inner != nil {
			t.Fatalf("a node with %d children, %d deep", in.n, level)
		}
		for i, k := range in.kids {
			if (i < in.n) != (k != nil) {
				t.Fatalf("child %d of %d: %v", i, in.n, k)
			}
			if k != nil {
				check(k, level+1)
				if in.ends[i] != endHead(k) {
					t.Fatalf("%x for a child that ends at %q", in.ends[i], k.Hi)
				}
			}
		}
		if last := in.kids[in.n-1]; !bytes.Equal(n.Hi, last.Hi) || (n.Hi == nil) != (last.Hi == nil) {
			t.Fatalf("a node that ends at %q, its last child at %q", n.Hi, last.Hi)
		}
	}
	if n != nil {
		check(n, 0)
	}
	for i := 1; i < len(nodes); i++ {
		if hi := nodes[i-1].Hi; hi == nil || bytes.Compare(hi, nodes[i].Lo) > 0 {
			t.Fatalf("%q-%q comes before %q", nodes[i-1].Lo, hi, nodes[i].Lo)
		}
	}
	return nodes
}

// setModel is a history of one memtable: tombstones and entries added out of
// order within a window of commits, snapshots taken and dropped.
type setModel struct {
	t         *testing.T
	rng       *rand.Rand
	set       Set
	ts        []Tombstone
	entries   []Tombstone // of single keys: Lo
	newest    base.SeqNum // of entries
	visible   base.SeqNum
	snapshots []base.SeqNum
	old       []*View // views of the past and what they held
	oldText   []string
}

func (m *setModel) stripes() []base.SeqNum {
	out := slices.Clone(m.snapshots)
	slices.Sort(out)
	return append(out, m.visible)
}

func (m *setModel) commit(s base.SeqNum) {
	if m.rng.IntN(3) == 0 {
		m.entries = append(m.entries, Tombstone{Lo: testKeys[m.rng.IntN(len(testKeys))], Seq: s})
		m.newest = max(m.newest, s)
		m.set.View().MarkDirty(m.entries[len(m.entries)-1].Lo, s)
		return
	}
	t := randomTombstone(m.rng, s)
	m.ts = append(m.ts, t)
	v := m.set.Add(t.Lo, t.Hi, s, m.stripes())
	v.MarkDirtyRange(t.Lo, t.Hi, m.newest)
}

// commitBatch is a batch of range deletes only, which go in together.
func (m *setModel) commitBatch(seqs []base.SeqNum) {
	slices.Sort(seqs)
	from := len(m.ts)
	for _, s := range seqs {
		m.ts = append(m.ts, randomTombstone(m.rng, s))
	}
	m.set.AddAll(m.ts[from:], m.stripes())
	v := m.set.View()
	for _, t := range m.ts[from:] {
		v.MarkDirtyRange(t.Lo, t.Hi, m.newest)
	}
}

func (m *setModel) check() {
	v := m.set.View()
	if v == nil {
		for _, t := range m.ts {
			if len(t.Hi) == 0 || bytes.Compare(t.Lo, t.Hi) < 0 {
				m.t.Fatalf("nothing is in the set, of %v", m.ts)
			}
		}
		return
	}
	nodes := checkTree(m.t, v.root)
	list := v.List()
	checkList(m.t, list)
	if v.Len() != len(nodes) || list.Len() > v.Len() {
		m.t.Fatalf("Len %d of %d nodes, list of %d", v.Len(), len(nodes), list.Len())
	}
	reads := append(slices.Clone(m.snapshots), m.visible, m.visible+1, m.visible+3, base.SeqNumMax)
	for _, k := range testKeys {
		f, clean := v.Find(k)
		for _, s := range reads {
			want := cover(m.ts, k, s)
			if got := f.coverOrNone(s); got != want {
				m.t.Fatalf("%q at %d: %d, want %d; visible %d, snapshots %d, of %v\n%s", k, s, got, want, m.visible, m.snapshots, m.ts, text(list))
			}
			if got := list.Find(k).coverOrNone(s); got != want {
				m.t.Fatalf("list: %q at %d: %d, want %d", k, s, got, want)
			}
		}
		for _, e := range m.entries {
			if clean && f.Contains(e.Lo) && e.Seq > f.Seqs[0] {
				m.t.Fatalf("%q-%q %d is clean, with %q at %d", f.Lo, f.Hi, f.Seqs, e.Lo, e.Seq)
			}
		}
		m.checkNeighbours(v, k, nodes)
	}
	for i, o := range m.old {
		if text(o.List()) != m.oldText[i] {
			m.t.Fatalf("a view changed:\n%s, was\n%s", text(o.List()), m.oldText[i])
		}
	}
	if m.rng.IntN(4) == 0 {
		m.old, m.oldText = append(m.old, v), append(m.oldText, text(list))
	}
}

func (m *setModel) checkNeighbours(v *View, k []byte, nodes []*node) {
	var next, prev *Fragment
	for _, n := range nodes {
		if next == nil && !n.endsBefore(k) {
			next = &n.Fragment
		}
		if bytes.Compare(n.Lo, k) < 0 {
			prev = &n.Fragment
		}
	}
	if f, _ := v.Next(k); f != next {
		m.t.Fatalf("Next %q: %v, want %v", k, f, next)
	}
	if f, _ := v.Prev(k); f != prev {
		m.t.Fatalf("Prev %q: %v, want %v", k, f, prev)
	}
}

func TestSetModel(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 400
	}
	for seed := range rounds {
		rng := rand.New(rand.NewPCG(uint64(seed), 2))
		m := &setModel{t: t, rng: rng}
		seqs := make([]base.SeqNum, 1+rng.IntN(40))
		for i := range seqs {
			seqs[i] = base.SeqNum(i + 1)
		}
		window := 1 + rng.IntN(5) // commits that may run at once
		if rng.IntN(4) == 0 {
			window += rng.IntN(4 * rebuildMin) // batches that make the tree anew
		}
		for i := 0; i < len(seqs); i += window {
			part := seqs[i:min(i+window, len(seqs))]
			rng.Shuffle(len(part), func(a, b int) { part[a], part[b] = part[b], part[a] })
			if rng.IntN(4) == 0 {
				m.commitBatch(part)
				m.check()
			} else {
				for _, s := range part {
					m.commit(s)
					m.check()
				}
			}
			m.visible = slices.Max(part)
			if rng.IntN(3) == 0 {
				m.snapshots = append(m.snapshots, m.visible)
			}
			if n := len(m.snapshots); n > 0 && rng.IntN(3) == 0 {
				m.snapshots = slices.Delete(m.snapshots, 0, 1+rng.IntN(n))
			}
		}
	}
}

// TestQueue deletes what was consumed again and again: the set must stay as
// small as what a read can tell apart.
func TestQueue(t *testing.T) {
	for _, held := range []bool{false, true} {
		var s Set
		stripes := []base.SeqNum{0}
		for i := 1; i < 20_000; i++ {
			if held && i == 10_000 {
				stripes = []base.SeqNum{base.SeqNum(i - 1), 0}
			}
			stripes[len(stripes)-1] = base.SeqNum(i - 1)
			v := s.Add([]byte("queue/"), fmt.Appendf(nil, "queue/%08d", i), base.SeqNum(i), stripes)
			v.MarkDirtyRange([]byte("queue/"), fmt.Appendf(nil, "queue/%08d", i), base.SeqNum(i-1))
			most, seqs := 3, 2
			if held && i > 10_000 {
				most, seqs = 5, 3
			}
			if v.Len() > most {
				t.Fatalf("%d fragments after %d adds:\n%s", v.Len(), i, text(v.List()))
			}
			v.root.walk(func(n *node) bool {
				if len(n.Seqs) > seqs || !n.clean() {
					t.Fatalf("%d sequences, clean %v, after %d adds:\n%s", len(n.Seqs), n.clean(), i, text(v.List()))
				}
				return true
			})
		}
	}
}

// TestBatch deletes one range many times in one commit. Of its sequences, reads are only at
// the last.
func TestBatch(t *testing.T) {
	var s Set
	key := []byte("k")
	const first, last = 100, 20_000
	s.Add(key, nil, first-1, []base.SeqNum{first - 2})
	for i := base.SeqNum(first); i <= last; i++ {
		s.Add(key, nil, i, []base.SeqNum{50, first - 1, last})
		f, _ := s.View().Find(key)
		if f.Cover(first-1) != first-1 || f.Cover(last) != i || len(f.Seqs) != 2 {
			t.Fatalf("%d after %d", f.Seqs, i)
		}
	}
}

// TestClean: what makes a fragment unclean, and what does not.
func TestClean(t *testing.T) {
	var s Set
	key := func(k string) []byte { return []byte(k) }
	s.Add(key("a"), key("m"), 10, []base.SeqNum{0})
	clean := func(k string, want bool) {
		t.Helper()
		f, got := s.View().Find(key(k))
		if f == nil || got != want {
			t.Errorf("%q: clean %v, want %v; %v", k, got, want, f)
		}
	}
	s.View().MarkDirty(key("b"), 9)
	s.View().MarkDirty(key("z"), 20)
	s.View().MarkDirtyRange(key("a"), key("m"), 10)
	clean("b", true)
	before := s.View()
	s.Add(key("f"), key("g"), 5, []base.SeqNum{0}) // older, and cuts it in three
	before.MarkDirty(key("b"), 11)                 // by a writer with the earlier view
	for _, k := range []string{"b", "f", "h"} {
		clean(k, false)
	}
	s.Add(key("c"), key("d"), 12, []base.SeqNum{0})
	clean("c", true)
	clean("b", false)
	s.View().MarkDirtyRange(key("d"), nil, 13)
	clean("c", true)
	s.View().MarkDirtyRange(key("c\x00"), key("e"), 13)
	clean("c", false)
	if f, ok := (*View)(nil).Find(key("c")); f != nil || ok {
		t.Error("found in no view")
	}
}

// TestEditsCopyEachNodeOnce: an edit copies the path to its range once, and a batch copies
// each node once for all its ranges. The test counts allocations, since times are noisy.
func TestEditsCopyEachNodeOnce(t *testing.T) {
	const n = 10_000
	var s Set
	batch := make([]Tombstone, n)
	for i, at := range rand.New(rand.NewPCG(5, 6)).Perm(n) {
		batch[i] = Tombstone{Lo: benchKey(4 * at), Hi: benchKey(4*at + 2), Seq: base.SeqNum(i + 1)}
	}
	perRange := testing.AllocsPerRun(1, func() {
		s = Set{}
		s.AddAll(batch, nil)
	}) / n
	if perRange > 0.5 { // parts of the room for nodes, of that for keys, and of inner nodes
		t.Errorf("a batch of %d ranges makes %.1f allocations for each", n, perRange)
	}
	i := 0
	perAdd := testing.AllocsPerRun(1000, func() {
		i++
		s.Add(benchKey(4*i+2), benchKey(4*i+3), base.SeqNum(n+i), nil)
	})
	if perAdd > 10 { // the height of the tree, and 5
		t.Errorf("a range among %d makes %.1f allocations", n, perAdd)
	}
}
