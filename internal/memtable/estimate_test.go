package memtable

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// estimated is a generation, and the keys and values of all its entries in order.
type estimated struct {
	g       *half
	entries []entry
	sizes   []uint64 // of the entries before each, in the end of all
}

// within is how many entries lie in a range, and what they take.
func (e *estimated) within(lo, hi []byte) (entries, size uint64) {
	before := func(key []byte) int {
		return sort.Search(len(e.entries), func(i int) bool { return e.entries[i].key >= string(key) })
	}
	i, j := before(lo), len(e.entries)
	if hi != nil {
		j = before(hi)
	}
	return uint64(j - i), e.sizes[j] - e.sizes[i]
}

// estimateShapes are orders in which keys come, and how often each.
var estimateShapes = map[string]func(r *rand.Rand, i int) []byte{
	"ascending":  func(_ *rand.Rand, i int) []byte { return fmt.Appendf(nil, "key%08d", i) },
	"descending": func(_ *rand.Rand, i int) []byte { return fmt.Appendf(nil, "key%08d", 99_999_999-i) },
	"random":     func(r *rand.Rand, _ int) []byte { return fmt.Appendf(nil, "%016x", r.Uint64()) },
	"versions":   func(r *rand.Rand, _ int) []byte { return fmt.Appendf(nil, "k%x", r.IntN(7000)) },
	"spaces":     func(r *rand.Rand, _ int) []byte { return fmt.Appendf(nil, "%04d%x", r.IntN(50), r.Uint32()) },
}

func makeEstimated(t *testing.T, shape string, n int) *estimated {
	r := rand.New(rand.NewPCG(1, 2))
	e := &estimated{g: newTestHalf(t, int64(n)*EntryBound(20, 100), 4)}
	for i := range n {
		k := estimateShapes[shape](r, i)
		v := bytes.Repeat([]byte("v"), r.IntN(100))
		e.g.Add(k, base.Hash(k), base.MakeTrailer(base.SeqNum(i+1), base.KindPut), v)
		e.entries = append(e.entries, entry{string(k), base.MakeTrailer(base.SeqNum(i+1), base.KindPut), string(v)})
	}
	slices.SortFunc(e.entries, compareEntries)
	e.sizes = make([]uint64, 1, n+1)
	for i, x := range e.entries {
		e.sizes = append(e.sizes, e.sizes[i]+uint64(EntryBound(len(x.key), len(x.value))))
	}
	return e
}

// ranges are random ones, with and without ends.
func (e *estimated) ranges(n int) (out [][2][]byte) {
	r := rand.New(rand.NewPCG(3, 4))
	for range n {
		lo := []byte(e.entries[r.IntN(len(e.entries))].key)
		hi := []byte(e.entries[r.IntN(len(e.entries))].key)
		if bytes.Compare(lo, hi) > 0 {
			lo, hi = hi, lo
		}
		switch r.IntN(6) {
		case 0:
			lo = nil
		case 1:
			hi = nil
		case 2:
			hi = append(bytes.Clone(lo), 0)
		}
		out = append(out, [2][]byte{lo, hi})
	}
	return append(out, [2][]byte{nil, nil}, [2][]byte{{}, {}}, [2][]byte{[]byte("z"), nil}, [2][]byte{nil, []byte(" ")})
}

// TestEstimateSmall: of few keys the estimate is exact.
func TestEstimateSmall(t *testing.T) {
	for shape := range estimateShapes {
		for _, n := range []int{1, 5, 15, 40, 400} {
			e := makeEstimated(t, shape, n)
			for _, x := range e.ranges(100) {
				n, size := e.g.Estimate(x[0], x[1])
				if wantN, wantSize := e.within(x[0], x[1]); n != wantN || size != wantSize {
					t.Fatalf("%s: %q to %q: %d entries, %d bytes; there are %d, %d", shape, x[0], x[1], n, size, wantN, wantSize)
				}
			}
		}
	}
	g := newTestHalf(t, 1000, 1)
	if n, size := g.Estimate(nil, nil); n != 0 || size != 0 {
		t.Errorf("%d entries, %d bytes of nothing", n, size)
	}
	e := makeEstimated(t, "random", 100)
	if n, size := e.g.Estimate([]byte("z"), []byte("0")); n != 0 || size != 0 {
		t.Errorf("%d entries, %d bytes of a range that ends before it begins", n, size)
	}
}

// TestEstimateLarge: of many keys the estimate is some percent off.
func TestEstimateLarge(t *testing.T) {
	for shape := range estimateShapes {
		e := makeEstimated(t, shape, 20_000)
		sum, ranges := 0.0, e.ranges(150)
		for _, x := range ranges {
			n, size := e.g.Estimate(x[0], x[1])
			wantN, wantSize := e.within(x[0], x[1])
			d, ds := float64(n)-float64(wantN), float64(size)-float64(wantSize)
			if d = max(d, -d); d > float64(wantN)*0.15 || max(ds, -ds) > float64(wantSize)*0.25 {
				t.Errorf("%s: %q to %q: %d entries, %d bytes; there are %d, %d", shape, x[0], x[1], n, size, wantN, wantSize)
			}
			sum += d / float64(max(wantN, 1))
		}
		if mean := sum / float64(len(ranges)); mean > 0.04 {
			t.Errorf("%s: estimates are %.1f%% off", shape, mean*100)
		}
	}
}

// TestEstimateHotKey: the versions of a key that has very many are counted, and not one
// by one.
func TestEstimateHotKey(t *testing.T) {
	const versions = 1 << 14
	g := newTestHalf(t, int64(versions+1)*EntryBound(3, 10), 1)
	for i := range versions {
		g.Add([]byte("hot"), base.Hash([]byte("hot")), base.MakeTrailer(base.SeqNum(i+1), base.KindPut), make([]byte, 10))
	}
	n, size := g.Estimate(nil, nil)
	if n != versions || size != uint64(versions*EntryBound(3, 10)) {
		t.Errorf("%d entries, %d bytes, of %d versions", n, size, versions)
	}
}

// TestEstimateBesideWriters: while leaves are split on both sides of a range that is at
// rest, what is in the range is counted, and of all there is about what there is.
func TestEstimateBesideWriters(t *testing.T) {
	const each, writers, still = 8000, 3, 300
	g := newTestHalf(t, (writers*each+still)*EntryBound(16, 8), 4)
	add := func(k []byte, seq int) {
		g.Add(k, base.Hash(k), base.MakeTrailer(base.SeqNum(seq), base.KindPut), make([]byte, 8))
	}
	for i := range still {
		add(fmt.Appendf(nil, "7%03d", i), i+1)
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range each {
				add(fmt.Appendf(nil, "%c%015x", "68"[r.IntN(2)], r.Uint64()>>4), still+w*each+i+1)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if n, _ := g.Estimate([]byte("7"), []byte("8")); n != still {
			t.Errorf("%d entries in a range at rest, of %d", n, still)
		}
		before := g.Len()
		n, _ := g.Estimate([]byte("0"), []byte("g"))
		if after := g.Len(); float64(n) < float64(before)*0.8-50 || float64(n) > float64(after)*1.2+50 {
			t.Errorf("%d entries, of %d before and %d after", n, before, after)
		}
	}
}

func BenchmarkEstimate(b *testing.B) {
	g := newTestHalf(b, 500_000*EntryBound(16, 100), 16)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 500_000 {
		k := fmt.Appendf(nil, "%016x", r.Uint64())
		g.Add(k, base.Hash(k), base.MakeTrailer(base.SeqNum(i+1), base.KindPut), make([]byte, 100))
	}
	for _, hi := range []string{"1", "1001", "f"} {
		b.Run(hi, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Estimate([]byte("1"), []byte(hi+"0"))
			}
		})
	}
}
