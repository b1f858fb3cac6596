package sstable

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sort"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

var testID = base.Identity{DB: 0x5eed, Type: base.FileTypeTable, Num: 7}

// memFile is a file in memory.
type memFile struct{ *bytes.Reader }

func (memFile) Close() error { return nil }

type row struct {
	key   []byte
	t     base.Trailer
	value []byte
}

func compareRows(a, b row) int { return base.Compare(a.key, a.t, b.key, b.t) }

func sortRows(rows []row) []row {
	slices.SortFunc(rows, compareRows)
	return slices.CompactFunc(rows, func(a, b row) bool { return compareRows(a, b) == 0 })
}

func buildTable(t testing.TB, rows []row, o WriterOptions) ([]byte, Info) {
	t.Helper()
	return buildRanged(t, rows, rangedel.List{}, o)
}

// buildRanged makes a table with range tombstones, which it adds among the
// entries.
func buildRanged(t testing.TB, rows []row, ranges rangedel.List, o WriterOptions) ([]byte, Info) {
	t.Helper()
	added := 0
	addRanges := func(w *Writer, n int) {
		for ; added < n; added++ {
			if err := w.AddRange(*ranges.At(added)); err != nil {
				t.Fatal(err)
			}
		}
	}
	o.ID = testID
	var buf bytes.Buffer
	w := NewWriter(&buf, o)
	for i, r := range rows {
		addRanges(w, ranges.Len()*i/len(rows))
		if err := w.Add(r.key, r.t, r.value); err != nil {
			t.Fatal(err)
		}
	}
	addRanges(w, ranges.Len())
	info, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if info.Size != uint64(buf.Len()) {
		t.Fatalf("Size %d, file of %d", info.Size, buf.Len())
	}
	return buf.Bytes(), info
}

func openTable(t testing.TB, data []byte, c *cache.Cache) *Reader {
	t.Helper()
	r, err := Open(memFile{bytes.NewReader(data)}, int64(len(data)), ReaderOptions{ID: testID, Cache: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// keyShapes are keys that stress one thing each.
var keyShapes = map[string]func(r *rand.Rand, i int) []byte{
	"binary":   func(r *rand.Rand, i int) []byte { return randomBytes(r, 8, 256) },
	"hex":      func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "%016x", r.Uint64()) },
	"decimal":  func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "user%012d", i*3) },
	"variable": func(r *rand.Rand, i int) []byte { return randomBytes(r, r.IntN(40), 256) },
	"short":    func(r *rand.Rand, i int) []byte { return randomBytes(r, r.IntN(4), 8) },
	"zeros":    func(r *rand.Rand, i int) []byte { return make([]byte, r.IntN(500)) },
	"ffs":      func(r *rand.Rand, i int) []byte { return bytes.Repeat([]byte{0xff}, r.IntN(300)) },
	"nested":   func(r *rand.Rand, i int) []byte { return bytes.Repeat([]byte("ab"), r.IntN(200)) },
	"versions": func(r *rand.Rand, i int) []byte { return fmt.Appendf(nil, "k%d", r.IntN(4)) },
	"sameWindow": func(r *rand.Rand, i int) []byte {
		return fmt.Appendf(nil, "%c_equal_window_of_keys_%06d", 'a'+r.IntN(3), r.IntN(5000))
	},
	"urls": func(r *rand.Rand, i int) []byte {
		return fmt.Appendf(nil, "https://www.%s.com/%s/%d", hosts[r.IntN(len(hosts))], hosts[r.IntN(len(hosts))], r.IntN(1000))
	},
	"clustered": func(r *rand.Rand, i int) []byte {
		return fmt.Appendf(nil, "%08d-%04x", r.IntN(6)*1_000_003, r.IntN(1<<16))
	},
	"long": func(r *rand.Rand, i int) []byte { return append(make([]byte, 9_000), randomBytes(r, 2, 256)...) },
}

var hosts = []string{"example", "golang", "kernel", "a", "wikipedia", "wiki", "openstreetmap", "zz"}

func randomBytes(r *rand.Rand, n, alphabet int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.IntN(alphabet))
	}
	return b
}

func makeRows(r *rand.Rand, shape string, n int) []row {
	if shape == "long" {
		n = min(n, 8)
	}
	gen := keyShapes[shape]
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{gen(r, i), base.MakeTrailer(base.SeqNum(1+r.IntN(3*n)), base.Kind(r.IntN(3))), randomBytes(r, r.IntN(60), 4)}
	}
	return sortRows(rows)
}

// probe makes a key in or around rows.
func probe(r *rand.Rand, rows []row, shape string) row {
	p := rows[r.IntN(len(rows))]
	k := bytes.Clone(p.key)
	switch r.IntN(9) {
	case 0:
		k = keyShapes[shape](r, r.IntN(len(rows)))
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
	case 5:
		k = randomBytes(r, r.IntN(4), 256)
	}
	t := p.t
	switch r.IntN(4) {
	case 0:
		t = base.TrailerMax
	case 1:
		t = base.SeekTrailer(base.SeqNum(r.IntN(3*len(rows) + 2)))
	case 2:
		t += base.Trailer(r.IntN(3) - 1)
	}
	return row{key: k, t: t}
}

func lowerBound(rows []row, key []byte, t base.Trailer) int {
	return sort.Search(len(rows), func(i int) bool { return base.Compare(rows[i].key, rows[i].t, key, t) >= 0 })
}

// checkGets compares Get with the model.
func checkGets(t *testing.T, rnd *rand.Rand, r *Reader, rows []row, shape string, n int) {
	t.Helper()
	for range n {
		p := probe(rnd, rows, shape)
		s := p.t.Seq()
		i := lowerBound(rows, p.key, base.SeekTrailer(s))
		want := i < len(rows) && bytes.Equal(rows[i].key, p.key)
		if !r.MayContain(base.Hash(p.key)) && slices.ContainsFunc(rows, func(x row) bool { return bytes.Equal(x.key, p.key) }) {
			t.Fatalf("the filter misses %q", p.key)
		}
		var res Result
		ok, err := r.Get(p.key, s, &res)
		if err != nil || ok != want {
			t.Fatalf("Get(%q, %d) = %v, %v, want %v", p.key, s, ok, err, want)
		}
		if ok && (res.Trailer != rows[i].t || !bytes.Equal(res.Value, rows[i].value)) {
			t.Fatalf("Get(%q, %d) = %v %q, want %v %q", p.key, s, res.Trailer, res.Value, rows[i].t, rows[i].value)
		}
		res.Release()
	}
}

// checkWalk moves an iterator at random, beside a position in the model.
func checkWalk(t *testing.T, rnd *rand.Rand, it base.Iterator, rows []row, shape string, n int) {
	t.Helper()
	pos, what := -1, "new"
	started := false
	for range n {
		var kv *base.KV
		switch op := rnd.IntN(16); {
		case op < 2:
			p := probe(rnd, rows, shape)
			kv, pos, what = it.SeekGE(p.key, p.t), lowerBound(rows, p.key, p.t), fmt.Sprintf("SeekGE(%q, %v)", p.key, p.t)
		case op < 4:
			p := probe(rnd, rows, shape)
			kv, pos, what = it.SeekLT(p.key), lowerBound(rows, p.key, base.TrailerMax)-1, fmt.Sprintf("SeekLT(%q)", p.key)
		case op == 4:
			kv, pos, what = it.First(), 0, "First"
		case op == 5:
			kv, pos, what = it.Last(), len(rows)-1, "Last"
		case op < 11:
			kv, pos, what = it.Next(), min(pos+1, len(rows)), "Next"
		default:
			if !started {
				pos = len(rows)
			}
			kv, pos, what = it.Prev(), max(pos-1, -1), "Prev"
		}
		started = true
		if inside := pos >= 0 && pos < len(rows); inside != (kv != nil) || it.Err() != nil {
			t.Fatalf("%s: got %v, %v, want position %d of %d", what, kv, it.Err(), pos, len(rows))
		}
		if kv == nil {
			continue
		}
		if want := rows[pos]; !bytes.Equal(kv.Key, want.key) || kv.Trailer != want.t || !bytes.Equal(kv.Value, want.value) {
			t.Fatalf("%s: %q %v %q, want %q %v %q", what, kv.Key, kv.Trailer, kv.Value, want.key, want.t, want.value)
		}
	}
}

func checkForward(t *testing.T, it base.Iterator, rows []row) {
	t.Helper()
	i := 0
	for kv := it.First(); kv != nil; kv = it.Next() {
		if i >= len(rows) || !bytes.Equal(kv.Key, rows[i].key) || kv.Trailer != rows[i].t || !bytes.Equal(kv.Value, rows[i].value) {
			t.Fatalf("entry %d is %q %v", i, kv.Key, kv.Trailer)
		}
		i++
	}
	if i != len(rows) || it.Err() != nil {
		t.Fatalf("%d of %d entries: %v", i, len(rows), it.Err())
	}
}

var modes = map[string]IndexMode{"auto": IndexAuto, "learned": IndexLearned, "fences": IndexFences}

func TestTableModel(t *testing.T) {
	n, probes := 1600, 150
	if testing.Short() {
		n, probes = 300, 30
	}
	c := cache.New(cache.Options{Budget: 1 << 20})
	defer c.Close()
	for shape := range keyShapes {
		for mode, index := range modes {
			t.Run(shape+"/"+mode, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(11, uint64(index)))
				for round, pageSize := range []int{80, 512, 4096} {
					rows := makeRows(rnd, shape, []int{n / 4, n / 2, n}[round])
					codec := []compress.Codec{compress.S2, compress.None, compress.Zstd}[(round+int(index))%3]
					data, _ := buildTable(t, rows, WriterOptions{PageSize: pageSize, Codec: codec, FilterBits: 10, Index: index})
					for _, cc := range []*cache.Cache{c, nil} {
						r := openTable(t, data, cc)
						checkGets(t, rnd, r, rows, shape, probes)
						for _, o := range []IterOptions{{}, {Scan: true}, {Bypass: true}} {
							it := r.NewIter(o)
							checkWalk(t, rnd, it, rows, shape, probes)
							checkForward(t, it, rows)
							if err := it.Close(); err != nil {
								t.Fatal(err)
							}
						}
						c.Drop(r.FileID())
						if err := r.Verify(context.Background(), nil); err != nil {
							t.Fatal(err)
						}
						if err := r.Dump(io.Discard, DumpOptions{Index: true, Pages: true, Entries: true}); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
		}
	}
}

func TestTableManyVersions(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 5000
	}
	rows := []row{{[]byte("a"), 1, nil}}
	for i := n; i > 0; i-- {
		rows = append(rows, row{[]byte("hot"), base.MakeTrailer(base.SeqNum(2*i), base.KindPut), fmt.Append(nil, i)})
	}
	rows = append(rows, row{[]byte("hot"), 0, nil}, row{[]byte("hotter"), 6, []byte("x")})
	for mode, index := range modes {
		t.Run(mode, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 1))
			data, info := buildTable(t, rows, WriterOptions{PageSize: 1024, Index: index, FilterBits: 10})
			if info.Props.Keys != 3 || info.Props.Pages < uint64(n/200) {
				t.Fatalf("properties %+v", info.Props)
			}
			r := openTable(t, data, nil)
			for range 2000 {
				s := base.SeqNum(rnd.IntN(2*n + 10))
				var res Result
				ok, err := r.Get([]byte("hot"), s, &res)
				if want := s / 2 * 2; !ok || err != nil || res.Trailer.Seq() != min(want, base.SeqNum(2*n)) {
					t.Fatalf("Get at %d: %v %v %v", s, ok, err, res.Trailer)
				}
				res.Release()
			}
			checkForward(t, r.NewIter(IterOptions{}), rows)
		})
	}
}

func TestTableHugeValues(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var rows []row
	for i := range 60 {
		size := 100
		if i%7 == 0 {
			size = 400_000
		}
		rows = append(rows, row{fmt.Appendf(nil, "k%04d", i), 256, randomBytes(rnd, size, 256)})
	}
	for i := range 5 {
		rows = append(rows, row{append(make([]byte, base.MaxKeySize-1), byte(i)), 256, []byte("largest keys")})
	}
	rows = sortRows(rows)
	for _, index := range modes {
		data, _ := buildTable(t, rows, WriterOptions{PageSize: 4096, Index: index, Codec: compress.S2})
		r := openTable(t, data, nil)
		checkGets(t, rnd, r, rows, "decimal", 200)
		checkForward(t, r.NewIter(IterOptions{Bypass: true}), rows)
		checkWalk(t, rnd, r.NewIter(IterOptions{Bypass: true}), rows, "decimal", 300)
	}
}

func TestWriterRefuses(t *testing.T) {
	for name, second := range map[string]row{
		"lesser key":    {key: []byte("a"), t: 1},
		"same entry":    {key: []byte("b"), t: 1},
		"newer version": {key: []byte("b"), t: 2},
		"too long":      {key: make([]byte, base.MaxKeySize+1), t: 6},
		"a range":       {key: []byte("c"), t: base.MakeTrailer(1, base.KindRangeDelete)},
	} {
		w := NewWriter(io.Discard, WriterOptions{ID: testID})
		if err := w.Add([]byte("b"), 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.Add(second.key, second.t, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := w.Finish(); err == nil {
			t.Errorf("%s: the error is not sticky", name)
		}
	}
	if _, err := NewWriter(io.Discard, WriterOptions{ID: testID}).Finish(); err == nil {
		t.Error("Finish of an empty table")
	}
}

// TestScratchOutlivesTheCollector: while the table before is synced the collector
// runs, and the next writer of the job has its memory all the same.
func TestScratchOutlivesTheCollector(t *testing.T) {
	var s Scratch
	defer s.Release()
	write := func() {
		w := NewWriter(io.Discard, WriterOptions{ID: testID, FilterBits: 10, Scratch: &s})
		for i := range 50_000 {
			if err := w.Add(fmt.Appendf(nil, "%08d", i), base.MakeTrailer(1, base.KindPut), nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Finish(); err != nil {
			t.Fatal(err)
		}
	}
	write()
	first := s.idle
	for range 3 {
		runtime.GC() // which empties a sync.Pool the second time
	}
	if write(); first == nil || s.idle != first {
		t.Error("the second table was built in other memory")
	}
}
