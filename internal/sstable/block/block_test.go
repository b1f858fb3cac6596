package block

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

type kv struct {
	key   []byte
	t     base.Trailer
	value []byte
}

func compareKV(a, b kv) int { return base.Compare(a.key, a.t, b.key, b.t) }

// encode lays out rows, which are sorted and deduplicated first.
func encode(rows []kv) ([]kv, []byte) {
	slices.SortFunc(rows, compareKV)
	rows = slices.CompactFunc(rows, func(a, b kv) bool { return compareKV(a, b) == 0 })
	var arena []byte
	var es []Entry
	for _, r := range rows {
		es = append(es, Entry{Off: uint32(len(arena)), KeyLen: uint32(len(r.key)), ValLen: uint32(len(r.value)), Trailer: r.t})
		arena = append(append(arena, r.key...), r.value...)
	}
	return rows, Encode(nil, arena, es)
}

// shapes are generators of keys that stress one part of the layout each.
var shapes = map[string]func(r *rand.Rand, i int) []byte{
	"short":      func(r *rand.Rand, i int) []byte { return randBytes(r, r.IntN(4), 3) },
	"zeros":      func(r *rand.Rand, i int) []byte { return make([]byte, r.IntN(40)) },
	"ff":         func(r *rand.Rand, i int) []byte { return bytes.Repeat([]byte{0xff}, r.IntN(40)) },
	"fixed2":     func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "prefix%02d", r.IntN(100)) },
	"fixed4":     func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "prefix%04d", r.IntN(10000)) },
	"fixed16":    func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "%016d", r.Uint32()) },
	"variable":   func(r *rand.Rand, i int) []byte { return randBytes(r, r.IntN(30), 256) },
	"sameWindow": func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "xabcdefgh%d", r.IntN(50)) },
	"twoHeads":   func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "%c8bytes!!%d", 'a'+r.IntN(2), r.IntN(50)) },
	"oneKey":     func(r *rand.Rand, i int) []byte { return []byte("hot") },
	"padded": func(r *rand.Rand, i int) []byte {
		return append([]byte("k"), make([]byte, r.IntN(12))...)
	},
}

func randBytes(r *rand.Rand, n, alphabet int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.IntN(alphabet))
	}
	return b
}

func makeRows(r *rand.Rand, gen func(*rand.Rand, int) []byte, n int) []kv {
	rows := make([]kv, n)
	equalValues, oneKind := r.IntN(3) == 0, r.IntN(2) == 0
	seqs := []uint64{1, 2, 300, 1 << 20, 1 << 40}[r.IntN(5)]
	for i := range rows {
		v := randBytes(r, r.IntN(20), 256)
		if equalValues {
			v = []byte("same length")
		}
		k := base.KindPut
		if !oneKind {
			k = base.Kind(r.IntN(3))
		}
		rows[i] = kv{gen(r, i), base.MakeTrailer(base.SeqNum(r.Uint64N(seqs)), k), v}
	}
	return rows
}

// probes are keys in and around rows.
func probes(r *rand.Rand, rows []kv, gen func(*rand.Rand, int) []byte) []kv {
	var out []kv
	for range 60 {
		row := rows[r.IntN(len(rows))]
		k := bytes.Clone(row.key)
		switch r.IntN(8) {
		case 0:
			k = gen(r, 0)
		case 1:
			k = append(k, 0)
		case 2:
			k = k[:r.IntN(len(k)+1)]
		case 3:
			if len(k) > 0 {
				k[r.IntN(len(k))] += byte(r.IntN(3) - 1)
			}
		case 4:
			k = append(k, 0xff)
		}
		t := row.t
		switch r.IntN(4) {
		case 0:
			t = base.TrailerMax
		case 1:
			t = 0
		case 2:
			t += base.Trailer(r.IntN(3) - 1)
		}
		out = append(out, kv{key: k, t: t})
	}
	return out
}

func checkAgainst(t *testing.T, p *Page, rows []kv) {
	t.Helper()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	if p.Len() != len(rows) {
		t.Fatalf("Len %d, want %d", p.Len(), len(rows))
	}
	unique := true
	for i, r := range rows {
		if i > 0 && bytes.Equal(r.key, rows[i-1].key) {
			unique = false
		}
		var kv base.KV
		p.Load(i, &kv, bytes.Clone(p.Prefix()))
		if !bytes.Equal(kv.Key, r.key) || kv.Trailer != r.t || !bytes.Equal(kv.Value, r.value) {
			t.Fatalf("entry %d = %q %v %q, want %q %v %q", i, kv.Key, kv.Trailer, kv.Value, r.key, r.t, r.value)
		}
		if trailer, value := p.Entry(i); trailer != r.t || p.Trailer(i) != r.t || !bytes.Equal(value, r.value) {
			t.Fatalf("entry %d = %v %q, want %v %q", i, trailer, value, r.t, r.value)
		}
	}
	if p.Unique() != unique {
		t.Fatalf("Unique %v, want %v", p.Unique(), unique)
	}
}

func TestPageModel(t *testing.T) {
	for name, gen := range shapes {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			rounds := 100
			if testing.Short() {
				rounds = 25
			}
			for round := range rounds {
				rows, data := encode(makeRows(r, gen, 1+r.IntN(2+2*round)))
				var p Page
				if err := p.Open(append(data, "slack"...)); err != nil {
					t.Fatal(err)
				}
				checkAgainst(t, &p, rows)
				for _, q := range probes(r, rows, gen) {
					want := sort.Search(len(rows), func(i int) bool { return compareKV(rows[i], q) >= 0 })
					same := want < len(rows) && bytes.Equal(rows[want].key, q.key)
					for _, hint := range []int{NoHint, 0, want, r.IntN(2 * len(rows))} {
						i, s := p.Search(q.key, q.t, hint)
						if i != want || s != same {
							t.Fatalf("Search(%q, %v, %d) = %d, %v, want %d, %v", q.key, q.t, hint, i, s, want, same)
						}
					}
				}
			}
		})
	}
}

func TestPageLarge(t *testing.T) {
	big := bytes.Repeat([]byte("v"), 70_000)
	key := bytes.Repeat([]byte("k"), base.MaxKeySize)
	rows, data := encode([]kv{{key, 5, big}, {[]byte("k"), 9, nil}, {key[:100], 7, big[:9]}, {key[:40_000], 7, nil}})
	var p Page
	if err := p.Open(data); err != nil {
		t.Fatal(err)
	}
	checkAgainst(t, &p, rows)
}

// TestPageCut opens every prefix of a page: the columns no longer fit.
func TestPageCut(t *testing.T) {
	_, data := encode(makeRows(rand.New(rand.NewPCG(3, 4)), shapes["variable"], 20))
	for n := range data {
		if new(Page).Open(data[:n]) == nil {
			t.Fatalf("Open accepted %d of %d bytes", n, len(data))
		}
	}
}

// use touches everything a reader of a damaged page would.
func use(p *Page) {
	buf := bytes.Clone(p.Prefix())
	var kv base.KV
	for i := range p.Len() {
		buf = p.Load(i, &kv, buf)
		for _, hint := range []int{NoHint, i, p.Len() * 2} {
			if j, _ := p.Search(kv.Key, kv.Trailer, hint); j < 0 || j > p.Len() {
				panic("Search out of range")
			}
		}
		_, _ = p.Entry(i)
	}
	_ = p.Check()
}

func TestPageDamaged(t *testing.T) {
	for name, gen := range shapes {
		_, data := encode(makeRows(rand.New(rand.NewPCG(5, 6)), gen, 12))
		for i := range data {
			for bit := range 8 {
				d := bytes.Clone(data)
				d[i] ^= 1 << bit
				var p Page
				if p.Open(d) == nil && p.Len() < 100 {
					use(&p)
				}
			}
		}
		_ = name
	}
}

func FuzzPage(f *testing.F) {
	for _, gen := range shapes {
		_, data := encode(makeRows(rand.New(rand.NewPCG(7, 8)), gen, 12))
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Page
		if p.Open(data) == nil {
			use(&p)
		}
	})
}
