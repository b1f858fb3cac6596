package compaction

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
)

// entry is one version.
type entry struct {
	key   string
	t     base.Trailer
	value []byte
}

func (e entry) String() string { return fmt.Sprintf("%q %v %d bytes", e.key, e.t, len(e.value)) }

func compareEntries(a, b entry) int { return base.Compare([]byte(a.key), a.t, []byte(b.key), b.t) }

// sliceIter walks entries forwards, as Run does. It shows them in buffers that
// it overwrites, as a real iterator may.
type sliceIter struct {
	base.Iterator // the methods that Run must not need
	entries       []entry
	i             int
	kv            base.KV
	err           error // shown at the end
}

func (it *sliceIter) First() *base.KV { it.i = -1; return it.Next() }
func (it *sliceIter) Err() error      { return it.err }
func (it *sliceIter) Next() *base.KV {
	for i := range it.kv.Key {
		it.kv.Key[i] = 0xdb
	}
	for i := range it.kv.Value {
		it.kv.Value[i] = 0xdb
	}
	if it.i++; it.i >= len(it.entries) {
		return nil
	}
	e := it.entries[it.i]
	it.kv = base.KV{Key: []byte(e.key), Trailer: e.t, Value: bytes.Clone(e.value)}
	return &it.kv
}

// randomEntries are versions of a few keys.
func randomEntries(rnd *rand.Rand, keys, n, firstSeq int) []entry {
	var out []entry
	for i := range n {
		k := fmt.Sprintf("key%03d", rnd.IntN(keys))
		seq := base.SeqNum(firstSeq + i)
		if rnd.IntN(4) == 0 {
			out = append(out, entry{k, base.MakeTrailer(seq, base.KindDelete), nil})
			continue
		}
		v := bytes.Repeat([]byte{byte(rnd.Uint32()), byte(i)}, rnd.IntN(60))
		out = append(out, entry{k, base.MakeTrailer(seq, base.KindPut), v})
	}
	slices.SortFunc(out, compareEntries)
	return out
}

func randomSnapshots(rnd *rand.Rand, seqMax int) []base.SeqNum {
	set := map[base.SeqNum]bool{base.SeqNum(seqMax - rnd.IntN(3)): true}
	for range rnd.IntN(4) {
		set[base.SeqNum(rnd.IntN(seqMax-2))] = true
	}
	var out []base.SeqNum
	for s := range set {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// expect is what Run should keep of entries, with zeroed sequences.
func expect(entries []entry, o *RunOptions) (want []entry) {
	for i := 0; i < len(entries); {
		n := i + 1
		for n < len(entries) && entries[n].key == entries[i].key {
			n++
		}
		var h history
		for _, e := range entries[i:n] {
			h = append(h, e.t)
		}
		elide := o.Elide != nil && o.Elide([]byte(entries[i].key))
		for _, t := range judgeAll(h, o.Snapshots, !elide) {
			e := entries[i+slices.Index(h, t)]
			if o.ZeroSeq && elide && t.Kind() != base.KindDelete && t.Seq() <= o.Snapshots[0] {
				e.t = base.MakeTrailer(0, t.Kind())
			}
			want = append(want, e)
		}
		i = n
	}
	return want
}

// randomOptions are options for a Run into s.
func (s *shop) randomOptions(rnd *rand.Rand, seqMax int) *RunOptions {
	o := &RunOptions{
		Snapshots:    randomSnapshots(rnd, seqMax),
		ZeroSeq:      rnd.IntN(2) == 0,
		MaxTableSize: uint64(100 + rnd.IntN(1000)),
		NewTable:     s.newTable, NewValues: s.newValues,
		Values: ValueOptions{Threshold: rnd.IntN(3) * 30, MaxFileSize: uint64(100 + rnd.IntN(1000)), Fetch: s.fetch},
	}
	if rnd.IntN(2) == 0 {
		o.Elide = func(key []byte) bool { return key[len(key)-1]%2 == 0 }
	}
	for i := range 10 {
		if rnd.IntN(3) == 0 {
			o.Guards = append(o.Guards, fmt.Appendf(nil, "key%03d", i*3))
		}
	}
	return o
}

// TestRun flushes and compacts at random, and compares with the oracle.
func TestRun(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 60
	}
	for seed := range rounds {
		rnd := rand.New(rand.NewPCG(uint64(seed), 3))
		s := newShop(t)
		flushed := s.randomOptions(rnd, 100)
		flushed.ZeroSeq = false
		in := randomEntries(rnd, 30, 100, 1)
		flushed.Input = &sliceIter{entries: in}
		res, err := Run(context.Background(), *flushed)
		if err != nil {
			t.Fatal(err)
		}
		stored := s.check(res, flushed, expect(in, flushed))

		o := s.randomOptions(rnd, 150)
		rewrite := rnd.IntN(2)
		o.Values.Rewrite = func(n base.FileNum) bool { return int(n)%2 == rewrite }
		more := append(slices.Clone(stored), randomEntries(rnd, 30, 50, 101)...)
		slices.SortFunc(more, compareEntries)
		o.Input = &sliceIter{entries: more}
		s2 := res
		if res, err = Run(context.Background(), *o); err != nil {
			t.Fatal(err)
		}
		var plain []entry
		for _, e := range more {
			plain = append(plain, s.follow(e))
		}
		for _, e := range s.check(Result{Tables: res.Tables, Values: res.Values}, o, expect(plain, o)) {
			if p, err := valuelog.DecodePointer(e.value); e.t.Kind() == base.KindPutPointer && err == nil &&
				slices.ContainsFunc(s2.Values, func(v manifest.ValueMeta) bool { return v.Num == p.File }) && o.Values.Rewrite(p.File) {
				t.Fatalf("seed %d: %v still points into file %d", seed, e, p.File)
			}
		}
		if in, out := res.Stats.EntriesIn, res.Stats.EntriesOut+res.Stats.Shadowed+res.Stats.Duplicates+res.Stats.Tombstones; in != out || in != uint64(len(more)) {
			t.Fatalf("%d entries, counted %+v", len(more), res.Stats)
		}
	}
}

// TestRunFails lets every operation of a Run fail in turn. The error must come
// back, and nothing may be left behind (hazard S19).
func TestRunFails(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	in := randomEntries(rnd, 30, 200, 1)
	var refs []entry
	failures := 0
	for k := 0; ; k++ {
		s := newShop(t)
		o := RunOptions{Input: &sliceIter{entries: in}, Snapshots: []base.SeqNum{200}, MaxTableSize: 300,
			NewTable: s.newTable, NewValues: s.newValues, Values: ValueOptions{Threshold: 30, MaxFileSize: 500, Fetch: s.fetch}}
		first, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		refs = refs[:0]
		for _, m := range first.Tables {
			refs = append(refs, s.read(m.Num)...)
		}
		made, before := s.next, s.ops
		o.Input, o.Values.Rewrite = &sliceIter{entries: refs}, func(base.FileNum) bool { return true }
		s.failAt = before + k
		res, err := Run(context.Background(), o)
		if k == 0 || s.ops < s.failAt {
			if err != nil {
				t.Fatal(err)
			}
			if k > 0 {
				break
			}
			continue
		}
		failures++
		if !errors.Is(err, errShop) || res.Tables != nil || res.Values != nil {
			t.Fatalf("operation %d failed: %v, %d tables", k, err, len(res.Tables))
		}
		for _, m := range []map[base.FileNum]*output{s.tables, s.values} {
			for num, out := range m {
				if num >= made && !out.aborted {
					t.Fatalf("operation %d failed: file %d is left behind", k, num)
				}
			}
		}
	}
	if failures < 50 {
		t.Errorf("only %d failures", failures)
	}
}

// TestRunRefuses: input that cannot be true is an error, not a table.
func TestRunRefuses(t *testing.T) {
	put := func(k string, s base.SeqNum) entry { return entry{k, base.MakeTrailer(s, base.KindPut), []byte("v")} }
	eio := errors.New("input/output error")
	for name, c := range map[string]struct {
		it   *sliceIter
		want error
	}{
		"out of order":  {&sliceIter{entries: []entry{put("b", 1), put("a", 2)}}, base.ErrCorruption},
		"reserved kind": {&sliceIter{entries: []entry{{"a", base.MakeTrailer(1, base.KindRangeDelete), nil}}}, base.ErrCorruption},
		"bad pointer":   {&sliceIter{entries: []entry{{"a", base.MakeTrailer(1, base.KindPutPointer), []byte("not a pointer")}}}, base.ErrCorruption},
		"read error":    {&sliceIter{entries: []entry{put("a", 1)}, err: eio}, eio},
	} {
		s := newShop(t)
		_, err := Run(context.Background(), RunOptions{Input: c.it, Snapshots: []base.SeqNum{9}, MaxTableSize: 1000, NewTable: s.newTable, NewValues: s.newValues})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		for num, out := range s.tables {
			if !out.aborted {
				t.Errorf("%s: table %d is left behind", name, num)
			}
		}
	}
}

// TestRunStops: a job ends soon after its context.
func TestRunStops(t *testing.T) {
	in := randomEntries(rand.New(rand.NewPCG(1, 1)), 10_000, 20_000, 1)
	for _, after := range []int{0, 2} {
		ctx, cancel := context.WithCancel(context.Background())
		s := newShop(t)
		calls, total := 0, 0
		if after == 0 {
			cancel()
		}
		_, err := Run(ctx, RunOptions{Input: &sliceIter{entries: in}, Snapshots: []base.SeqNum{20_000}, MaxTableSize: 10_000, NewTable: s.newTable, NewValues: s.newValues,
			Progress: func(n int) {
				total += n
				if calls++; calls == after {
					cancel()
				}
			}})
		if !errors.Is(err, context.Canceled) || calls > 2 || total > 3*pollBytes {
			t.Errorf("%v after %d calls, %d bytes", err, calls, total)
		}
		cancel()
	}
}

// BenchmarkRun streams small entries from memory through a Run.
func BenchmarkRun(b *testing.B) {
	in := make([]entry, 100_000)
	for i := range in {
		in[i] = entry{fmt.Sprintf("key%013d", i), base.MakeTrailer(base.SeqNum(i), base.KindPut), make([]byte, 100)}
	}
	newTable := func() (TableOutput, error) {
		w := sstable.NewWriter(io.Discard, sstable.WriterOptions{ID: tableID(1), FilterBits: 10})
		return TableOutput{tableID(1), w, func() error { return nil }, func() {}}, nil
	}
	b.SetBytes(int64(len(in)) * 124)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Run(context.Background(), RunOptions{Input: &benchIter{entries: in}, Snapshots: []base.SeqNum{1 << 40}, MaxTableSize: 8 << 20, NewTable: newTable}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(in)), "ns/entry")
}

// benchIter is sliceIter without its malice.
type benchIter struct {
	base.Iterator
	entries []entry
	i       int
	kv      base.KV
	key     []byte
}

func (it *benchIter) First() *base.KV { it.i = -1; return it.Next() }
func (it *benchIter) Err() error      { return nil }
func (it *benchIter) Next() *base.KV {
	if it.i++; it.i >= len(it.entries) {
		return nil
	}
	e := &it.entries[it.i]
	it.key = append(it.key[:0], e.key...)
	it.kv = base.KV{Key: it.key, Trailer: e.t, Value: e.value}
	return &it.kv
}
