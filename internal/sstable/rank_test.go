package sstable

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
)

var indexModes = []IndexMode{IndexFences, IndexLearned, IndexAuto}

// rankedRows are rows whose values take the same. Those of the first half compress
// well, the others not at all.
func rankedRows(r *rand.Rand, gen func(*rand.Rand, int) []byte, n int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{gen(r, i), base.MakeTrailer(base.SeqNum(1+i), base.KindPut), nil}
	}
	rows = sortRows(rows)
	for i := range rows {
		rows[i].value = randomBytes(r, 60, 256)
		if i < len(rows)/2 {
			rows[i].value = bytes.Repeat([]byte("v"), 60)
		}
	}
	return rows
}

// mostOnAPage is how many entries are on the page that has most of them.
func mostOnAPage(r *Reader, rows []row) int {
	counts := make([]int, r.index.pages)
	for _, w := range rows {
		p, _ := r.index.find(w.key, w.t)
		counts[p]++
	}
	return slices.Max(counts)
}

// TestRank: in every mode, compressed or not, of few pages and of more than are
// weighed, the rank of a key is the number of entries before it to about a page, and
// it does not descend.
func TestRank(t *testing.T) {
	for i, set := range keySets {
		if i%2 == 1 {
			continue // half of them show what there is, in half the time
		}
		for _, mode := range indexModes {
			for _, o := range []WriterOptions{{PageSize: 4096}, {PageSize: 4096, Codec: compress.S2}, {PageSize: 300, Codec: compress.S2}} {
				rnd := rand.New(rand.NewPCG(1, 2))
				rows := rankedRows(rnd, set.gen, 9000)
				o.Index = mode
				data, _ := buildTable(t, rows, o)
				r := openTable(t, data, nil)
				if o.PageSize < 4096 && r.index.pages <= weighed {
					t.Fatalf("%d pages are not many", r.index.pages)
				}
				if p := r.props; o.Codec != compress.None && p.DataBytes > p.RawBytes*9/10 {
					t.Fatalf("%d bytes of %d: it does not compress", p.DataBytes, p.RawBytes)
				}
				// Prefixes that the keys of a page share come off each page's share.
				allowed := mostOnAPage(r, rows) + len(rows)/60
				last, off := Rank{}, 0
				for i := range rows {
					if i > 0 && bytes.Equal(rows[i].key, rows[i-1].key) {
						continue
					}
					got := r.Rank(rows[i].key)
					d := int(got.Entries) - i
					off += max(d, -d)
					if d > allowed || -d > allowed {
						t.Fatalf("%s, mode %d, %+v: row %d of %d has rank %d, allowed are %d", set.name, mode, o, i, len(rows), got.Entries, allowed)
					}
					if got.Entries < last.Entries || got.Bytes < last.Bytes {
						t.Fatalf("%s, mode %d, %+v: rank %+v of row %d, %+v before it", set.name, mode, o, got, i, last)
					}
					checkRankBytes(t, r, rows[i].key, got)
					last = got
				}
				// A line finds the place on the page too.
				if set.name == "uniform 8 B" && o.PageSize == 4096 && off/len(rows) > 5 {
					t.Errorf("mode %d, %+v: ranks are off by %d entries", mode, o, off/len(rows))
				}
			}
		}
	}
}

// checkRankBytes compares the bytes of a rank with where the page of the key lies.
func checkRankBytes(t *testing.T, r *Reader, key []byte, got Rank) {
	t.Helper()
	page, _ := r.index.find(key, base.TrailerMax)
	off, stored := r.index.extent(page)
	scale := float64(r.size) / float64(r.props.DataBytes)
	if b := float64(got.Bytes) + 1; b < float64(off)*scale || b-2 > float64(off+int64(stored))*scale {
		t.Fatalf("%d bytes lie before %q, whose page has %d bytes at %d", got.Bytes, key, stored, off)
	}
}

// TestRankAround: keys before, between and behind those of a table, of every shape,
// have ranks in order, from nothing to all.
func TestRankAround(t *testing.T) {
	for shape := range keyShapes {
		for _, mode := range indexModes {
			rnd := rand.New(rand.NewPCG(5, 6))
			rows := makeRows(rnd, shape, 2000)
			data, info := buildTable(t, rows, WriterOptions{PageSize: 200, Index: mode, Codec: compress.S2})
			r, entries := openTable(t, data, nil), uint64(len(rows))
			var keys [][]byte
			for range 3000 {
				keys = append(keys, probe(rnd, rows, shape).key)
			}
			slices.SortFunc(keys, bytes.Compare)
			last := Rank{}
			for _, k := range keys {
				got := r.Rank(k)
				if got.Entries < last.Entries || got.Bytes < last.Bytes || got.Entries > entries || got.Bytes > info.Size {
					t.Fatalf("%s, mode %d: rank %+v of %q, %+v before it, of %d entries, %d bytes", shape, mode, got, k, last, entries, info.Size)
				}
				last = got
			}
			if got := r.Rank(nil); got != (Rank{}) {
				t.Errorf("%s: rank %+v before all", shape, got)
			}
			if got := r.Rank(info.Smallest); got != (Rank{}) {
				t.Errorf("%s: rank %+v of the first", shape, got)
			}
			if got := r.Rank(append(bytes.Clone(info.Largest), 0)); got != (Rank{entries, info.Size}) {
				t.Errorf("%s: rank %+v behind all %d entries, %d bytes", shape, got, entries, info.Size)
			}
		}
	}
}

func BenchmarkRank(b *testing.B) {
	for _, codec := range []compress.Codec{compress.None, compress.S2} {
		rnd := rand.New(rand.NewPCG(1, 2))
		rows := rankedRows(rnd, keySets[1].gen, 100_000)
		data, _ := buildTable(b, rows, WriterOptions{PageSize: 8192, Codec: codec})
		r := openTable(b, data, nil)
		b.Run(codec.String(), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Rank(rows[i*7919%len(rows)].key)
			}
		})
	}
}
