package sstable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

func TestNoAllocation(t *testing.T) {
	if invariant.Enabled {
		t.Skip("self-checks allocate")
	}
	c := cache.New(cache.Options{Budget: 32 << 20})
	defer c.Close()
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, shape := range []string{"hex", "variable", "urls", "versions"} {
		rows := makeRows(rnd, shape, 2000)
		data, _ := buildTable(t, rows, WriterOptions{PageSize: 1024, FilterBits: 10, Codec: compress.S2})
		r := openTable(t, data, c)
		it := r.NewIter(IterOptions{})
		for _, o := range []IterOptions{{}, {Scan: true}, {Bypass: true}} {
			it.Init(r, o)
			for kv := it.First(); kv != nil; kv = it.Next() {
			}
		}
		i := 0
		var res Result
		allocs := testing.AllocsPerRun(2000, func() {
			k := rows[i*7919%len(rows)].key
			i++
			if ok, err := r.Get(k, base.SeqNumMax, &res); !ok || err != nil || !r.MayContain(base.Hash(k)) {
				t.Fatal(ok, err)
			}
			res.Release()
			it.Init(r, IterOptions{Bypass: i%16 == 0})
			it.SeekGE(k, base.TrailerMax)
			it.Next()
			it.SeekLT(k)
			it.Prev()
			it.Close()
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", shape, allocs)
		}
	}
}

// TestConcurrentReads shares one reader and a cache much smaller than the
// table among many.
func TestConcurrentReads(t *testing.T) {
	c := cache.New(cache.Options{Budget: 256 << 10})
	defer c.Close()
	rows := makeRows(rand.New(rand.NewPCG(1, 1)), "urls", 4000)
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 1024, FilterBits: 10, Codec: compress.S2})
	r := openTable(t, data, c)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			checkGets(t, rnd, r, rows, "urls", 300)
			it := r.NewIter(IterOptions{Scan: g%2 == 0})
			checkWalk(t, rnd, it, rows, "urls", 300)
			it.Close()
		})
	}
	wg.Wait()
}

var errDisk = errors.New("the disk is gone")

// failingFile fails reads below a limit.
type failingFile struct {
	memFile
	below int64 // reads that begin before this offset fail; set by the test
}

func (f *failingFile) ReadAt(b []byte, off int64) (int, error) {
	if off < f.below {
		return 0, errDisk
	}
	return f.memFile.ReadAt(b, off)
}

// TestReadErrors: an error of the disk is not damage, is not remembered, and
// leaves nothing pinned.
func TestReadErrors(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(1, 1)), "hex", 2000)
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 1024, Codec: compress.S2})
	for _, c := range []*cache.Cache{nil, cache.New(cache.Options{}), cache.New(cache.Options{Budget: 1 << 20})} {
		for _, o := range []IterOptions{{}, {Bypass: true}} {
			checkReadErrors(t, data, rows, c, o)
		}
		if c != nil {
			c.Close()
		}
	}
}

func checkReadErrors(t *testing.T, data []byte, rows []row, c *cache.Cache, o IterOptions) {
	t.Helper()
	f := &failingFile{memFile: memFile{bytes.NewReader(data)}}
	r, err := Open(f, int64(len(data)), ReaderOptions{ID: testID, Cache: c})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f.below = int64(len(data))
	var res Result
	if ok, err := r.Get(rows[5].key, base.SeqNumMax, &res); ok || !errors.Is(err, errDisk) || errors.Is(err, base.ErrCorruption) {
		t.Fatal(ok, err)
	}
	it := r.NewIter(o)
	for i, move := range []func() *base.KV{
		it.First, it.Next, it.Prev, it.Last, it.Prev,
		func() *base.KV { return it.SeekGE(rows[9].key, 0) }, it.Next, func() *base.KV { return it.SeekLT(rows[9].key) },
	} {
		if kv := move(); kv != nil || !errors.Is(it.Err(), errDisk) {
			t.Fatal(i, kv, it.Err())
		}
	}
	if err := r.Verify(context.Background(), nil); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	f.below = 0
	checkForward(t, it, rows)
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := r.Get(rows[5].key, base.SeqNumMax, &res); !ok || err != nil {
		t.Fatal(ok, err)
	}
	res.Release()
}

// countingFile counts reads.
type countingFile struct {
	memFile
	reads int
}

func (f *countingFile) ReadAt(b []byte, off int64) (int, error) {
	f.reads++
	return f.memFile.ReadAt(b, off)
}

// TestBypassReadsInLargePieces: in both directions.
func TestBypassReadsInLargePieces(t *testing.T) {
	value := make([]byte, 1000)
	var rows []row
	for i := range 3000 {
		rows = append(rows, row{fmt.Appendf(nil, "%08d", i), 256, value})
	}
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 4096})
	f := &countingFile{memFile: memFile{bytes.NewReader(data)}}
	r, err := Open(f, int64(len(data)), ReaderOptions{ID: testID})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if f.reads != 2 {
		t.Errorf("Open took %d reads", f.reads)
	}
	limit := len(data)/spanSize + 2
	it := r.NewIter(IterOptions{Bypass: true})
	f.reads = 0
	checkForward(t, it, rows)
	if f.reads > limit {
		t.Errorf("%d reads forward, want at most %d", f.reads, limit)
	}
	f.reads = 0
	for kv := it.Last(); kv != nil; kv = it.Prev() {
	}
	if f.reads > limit {
		t.Errorf("%d reads backward, want at most %d", f.reads, limit)
	}
}

func TestVerifyStops(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(1, 1)), "hex", 2000)
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 1024})
	r := openTable(t, data, nil)
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	if err := r.Verify(ctx, func(int64) { calls++; cancel() }); !errors.Is(err, context.Canceled) || calls != 1 {
		t.Fatal(err, calls)
	}
	last := int64(0)
	if err := r.Verify(context.Background(), func(n int64) { last = n }); err != nil || last != int64(len(data)) {
		t.Fatal(err, last)
	}
}

// TestSeekWithOwnKey: the key sought may be the one that the iterator showed.
func TestSeekWithOwnKey(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(1, 1)), "urls", 1000)
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 256})
	r := openTable(t, data, nil)
	it := r.NewIter(IterOptions{})
	for i := 1; i < len(rows); i += 13 {
		kv := it.SeekGE(rows[i].key, rows[i].t)
		if kv = it.SeekLT(kv.Key); i > 0 && kv == nil && !bytes.Equal(rows[0].key, rows[i].key) {
			t.Fatalf("SeekLT of the key at %d", i)
		}
		it.SeekGE(rows[len(rows)-1-i].key, base.TrailerMax)
		kv = it.SeekGE(it.kv.Key, base.TrailerMax)
		if kv == nil || !bytes.Equal(kv.Key, rows[len(rows)-1-i].key) {
			t.Fatalf("SeekGE of the own key at %d: %v", len(rows)-1-i, kv)
		}
	}
}

// TestEstimatedSize: never much below what the file becomes.
func TestEstimatedSize(t *testing.T) {
	for shape := range keyShapes {
		rows := makeRows(rand.New(rand.NewPCG(1, 1)), shape, 3000)
		w := NewWriter(io.Discard, WriterOptions{ID: testID, FilterBits: 10})
		last := uint64(0)
		for _, r := range rows {
			if err := w.Add(r.key, r.t, r.value); err != nil {
				t.Fatal(err)
			}
			last = w.EstimatedSize()
		}
		info, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if last < info.Size*95/100 {
			t.Errorf("%s: estimated %d, is %d", shape, last, info.Size)
		}
		if got := w.EstimatedSize(); got != info.Size {
			t.Errorf("%s: after Finish %d, is %d", shape, got, info.Size)
		}
	}
}

// FuzzWriteRead makes keys of the input and reads them back in every way.
func FuzzWriteRead(f *testing.F) {
	f.Add(uint8(0), []byte("\x01a\x02ab\x03abc\x00\x01a\x05abcde"))
	f.Add(uint8(255), bytes.Repeat([]byte("\x09aaaaaaaab"), 40))
	f.Fuzz(func(t *testing.T, how uint8, data []byte) {
		var rows []row
		for i := 0; len(data) > 0 && i < 400; i++ {
			n := min(int(data[0]), len(data)-1)
			rows = append(rows, row{data[1 : 1+n], base.MakeTrailer(base.SeqNum(i), base.Kind(i%3)), data[:n/2]})
			data = data[1+n:]
		}
		if len(rows) == 0 {
			return
		}
		rows = sortRows(rows)
		o := WriterOptions{
			PageSize: []int{1, 80, 300, 4096}[how&3], Index: []IndexMode{IndexAuto, IndexLearned, IndexFences, IndexLearned}[how>>2&3],
			Codec: []compress.Codec{compress.None, compress.S2}[how>>4&1], FilterBits: float64(how >> 5),
		}
		table, _ := buildTable(t, rows, o)
		r := openTable(t, table, nil)
		if err := r.Verify(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		checkForward(t, r.NewIter(IterOptions{}), rows)
		for i, want := range rows {
			var res Result
			if ok, err := r.Get(want.key, want.t.Seq(), &res); !ok || err != nil {
				t.Fatalf("%q %v: %v, %v", want.key, want.t, ok, err)
			}
			res.Release()
			for _, k := range [][]byte{append(slices.Clone(want.key), 0), want.key[:len(want.key)/2]} {
				kv, at := r.NewIter(IterOptions{}).SeekGE(k, base.TrailerMax), lowerBound(rows, k, base.TrailerMax)
				if (kv == nil) != (at == len(rows)) || kv != nil && !bytes.Equal(kv.Key, rows[at].key) {
					t.Fatalf("SeekGE(%q) beside row %d: %v", k, i, fmt.Sprint(kv))
				}
			}
		}
	})
}
