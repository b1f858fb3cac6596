package memtable

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/base"
)

// entry is what the model keeps of an Add.
type entry struct {
	key   string
	t     base.Trailer
	value string
}

func compareEntries(a, b entry) int {
	return base.Compare([]byte(a.key), a.t, []byte(b.key), b.t)
}

// model is every entry added, sorted when asked.
type model struct {
	entries []entry
	sorted  bool
}

func (m *model) add(e entry) {
	m.entries = append(m.entries, e)
	m.sorted = false
}

// all is every entry in order.
func (m *model) all() []entry {
	if !m.sorted {
		slices.SortFunc(m.entries, compareEntries)
		m.sorted = true
	}
	return m.entries
}

// at is what a read at s sees: the newest visible entry of each key.
func (m *model) at(s base.SeqNum) []entry {
	var out []entry
	for _, e := range m.all() {
		if e.t.Visible(s) && (len(out) == 0 || out[len(out)-1].key != e.key) {
			out = append(out, e)
		}
	}
	return out
}

func (m *model) get(key string, s base.SeqNum) (entry, bool) {
	for _, e := range m.all() {
		if e.key == key && e.t.Visible(s) {
			return e, true
		}
	}
	return entry{}, false
}

// cursor walks a sorted list as base.Iterator says. Positions -1 and len are
// beside the ends; unset means never positioned.
type cursor struct {
	list []entry
	pos  int
	set  bool
}

func (c *cursor) at() *entry {
	if c.pos < 0 || c.pos >= len(c.list) {
		return nil
	}
	return &c.list[c.pos]
}

func (c *cursor) first() *entry { c.pos, c.set = 0, true; return c.at() }
func (c *cursor) last() *entry  { c.pos, c.set = len(c.list)-1, true; return c.at() }

func (c *cursor) next() *entry {
	if !c.set {
		return c.first()
	}
	c.pos = min(c.pos+1, len(c.list))
	return c.at()
}

func (c *cursor) prev() *entry {
	if !c.set {
		return c.last()
	}
	c.pos = max(c.pos-1, -1)
	return c.at()
}

func (c *cursor) seekGE(key string, t base.Trailer) *entry {
	c.set = true
	c.pos, _ = slices.BinarySearchFunc(c.list, entry{key: key, t: t}, compareEntries)
	return c.at()
}

func (c *cursor) seekLT(key string) *entry {
	c.set = true
	c.pos, _ = slices.BinarySearchFunc(c.list, entry{key: key, t: base.TrailerMax}, compareEntries)
	c.pos--
	return c.at()
}

// tb is what *testing.T and *rapid.T share here.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

func sameEntry(t tb, what string, kv *base.KV, want *entry) {
	t.Helper()
	switch {
	case kv == nil && want == nil:
	case kv == nil:
		t.Fatalf("%s: nothing, want %.40q %s", what, want.key, want.t)
	case want == nil:
		t.Fatalf("%s: %.40q %s, want nothing", what, kv.Key, kv.Trailer)
	case string(kv.Key) != want.key || kv.Trailer != want.t || string(kv.Value) != want.value:
		t.Fatalf("%s: %.40q %s %.40q, want %.40q %s %.40q", what, kv.Key, kv.Trailer, kv.Value, want.key, want.t, want.value)
	}
}

// add reserves and adds, or answers false when full.
func (e entry) add(g *half) bool {
	if !g.Reserve(EntryBound(len(e.key), len(e.value))) {
		return false
	}
	g.Add([]byte(e.key), base.Hash([]byte(e.key)), e.t, []byte(e.value))
	return true
}

func newTestHalf(t testing.TB, capacity int64, partitions int) *half {
	t.Helper()
	g, err := newHalf(Options{Capacity: capacity, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Free)
	return g
}

// checkAll compares everything that can be read at s with the model.
func checkAll(t tb, g *half, m *model, s base.SeqNum, keys []string) {
	t.Helper()
	for _, k := range keys {
		want, wantOK := m.get(k, s)
		tr, v, ok := g.Get([]byte(k), base.Hash([]byte(k)), s)
		if ok != wantOK || tr != want.t || string(v) != want.value {
			t.Fatalf("Get %.40q at %d: %s %.40q %v, want %s %.40q %v", k, s, tr, v, ok, want.t, want.value, wantOK)
		}
		if ok && v == nil {
			t.Fatalf("Get %.40q: an empty value is nil", k)
		}
	}
	checkWalk(t, "at a sequence", g.NewIter(s), m.at(s))
	checkWalk(t, "all versions", g.NewAllIter(), m.all())
}

func checkWalk(t tb, what string, it base.Iterator, list []entry) {
	t.Helper()
	c := cursor{list: list}
	for kv := it.First(); kv != nil; kv = it.Next() {
		sameEntry(t, what+" forward", kv, c.next())
	}
	sameEntry(t, what+" forward end", nil, c.next())
	c = cursor{list: list}
	for kv := it.Last(); kv != nil; kv = it.Prev() {
		sameEntry(t, what+" backward", kv, c.prev())
	}
	sameEntry(t, what+" backward end", nil, c.prev())
	if err := it.Close(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// checkRandomWalk drives the iterator and the model with the same steps.
func checkRandomWalk(t *rapid.T, it base.Iterator, list []entry, keys []string) {
	c := cursor{list: list}
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		switch op := rapid.IntRange(0, 9).Draw(t, "op"); op {
		case 0:
			sameEntry(t, "First", it.First(), c.first())
		case 1:
			sameEntry(t, "Last", it.Last(), c.last())
		case 2, 3:
			k := rapid.SampledFrom(keys).Draw(t, "key")
			tr := rapid.SampledFrom([]base.Trailer{base.TrailerMax, 0, base.SeekTrailer(5), base.SeekTrailer(20), base.SeekTrailer(60)}).Draw(t, "trailer")
			sameEntry(t, fmt.Sprintf("SeekGE %.40q %s", k, tr), it.SeekGE([]byte(k), tr), c.seekGE(k, tr))
		case 4:
			k := rapid.SampledFrom(keys).Draw(t, "key")
			sameEntry(t, fmt.Sprintf("SeekLT %.40q", k), it.SeekLT([]byte(k)), c.seekLT(k))
		case 5, 6:
			sameEntry(t, "Prev", it.Prev(), c.prev())
		default:
			sameEntry(t, "Next", it.Next(), c.next())
		}
	}
}

// keyGen gives keys that are hard for a structure of 8-byte heads: empty,
// zeros, prefixes of each other, long common prefixes, up to 64 KiB.
func keyGen() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		alphabet := rapid.SampledFrom([]string{"\x00", "\x00\x01", "ab", "a\xff", "\x00\x7f\x80\xff"}).Draw(t, "alphabet")
		k := rapid.StringOfN(rapid.SampledFrom([]rune("01")), 0, 12, -1).Draw(t, "bits")
		b := make([]byte, 0, len(k))
		for i := range len(k) {
			b = append(b, alphabet[int(k[i]-'0')%len(alphabet)])
		}
		switch rapid.IntRange(0, 9).Draw(t, "prefix") {
		case 0:
			b = append(bytes.Repeat([]byte{0}, rapid.IntRange(0, 17).Draw(t, "zeros")), b...)
		case 1:
			b = append([]byte("a common prefix/"), b...)
		case 2:
			b = append(bytes.Repeat([]byte("x"), base.MaxKeySize-len(b)), b...)
		}
		return string(b)
	})
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, err := newHalf(Options{
			Capacity:   64 << 20,
			Partitions: 1 << rapid.IntRange(0, 6).Draw(t, "partitions"),
		})
		if err != nil {
			t.Fatalf("%v", err)
		}
		defer g.Free()
		keys := rapid.SliceOfNDistinct(keyGen(), 1, 80, rapid.ID[string]).Draw(t, "keys")
		m := &model{}
		n := rapid.IntRange(0, 150).Draw(t, "entries")
		late := rapid.Bool().Draw(t, "late")
		var seqs []base.SeqNum
		for i := range n {
			seqs = append(seqs, base.SeqNum(i+1))
		}
		if late {
			seqs = rapid.Permutation(seqs).Draw(t, "seqs")
		}
		for i, s := range seqs {
			e := entry{
				key:   rapid.SampledFrom(keys).Draw(t, "k"),
				t:     base.MakeTrailer(s, base.Kind(rapid.IntRange(0, 2).Draw(t, "kind"))),
				value: rapid.SampledFrom([]string{"", "v", fmt.Sprint("value ", i)}).Draw(t, "v"),
			}
			if !e.add(g) {
				t.Fatalf("full after %d entries", i)
			}
			m.add(e)
		}
		if g.Len() != n || g.Empty() != (n == 0) {
			t.Fatalf("Len %d, Empty %v after %d entries", g.Len(), g.Empty(), n)
		}
		checkStructure(t, g)
		for _, s := range []base.SeqNum{0, 1, base.SeqNum(n / 2), base.SeqNum(n), base.SeqNumMax} {
			checkAll(t, g, m, s, keys)
		}
		s := base.SeqNum(rapid.IntRange(0, n+1).Draw(t, "snapshot"))
		checkRandomWalk(t, g.NewIter(s), m.at(s), keys)
		checkRandomWalk(t, g.NewAllIter(), m.all(), keys)
	})
}
