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
	"github.com/seerdb-go/seerdb/internal/compress"
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

// shop makes outputs in memory, and fails where it is told to.
type shop struct {
	t      testing.TB
	next   base.FileNum
	tables map[base.FileNum]*output
	values map[base.FileNum]*output
	failAt int // the operation that fails; 0 none
	ops    int
	closed []base.FileNum // in this order
}

type output struct {
	bytes.Buffer
	shop            *shop
	closed, aborted bool
}

var errShop = errors.New("shop is closed")

func newShop(t testing.TB) *shop {
	return &shop{t: t, next: 1, tables: map[base.FileNum]*output{}, values: map[base.FileNum]*output{}}
}

func (s *shop) op() error {
	s.ops++
	if s.ops == s.failAt {
		return errShop
	}
	return nil
}

func (o *output) Write(b []byte) (int, error) {
	if err := o.shop.op(); err != nil {
		return 0, err
	}
	return o.Buffer.Write(b)
}

func (s *shop) output(into map[base.FileNum]*output) (base.FileNum, *output, error) {
	num := s.next
	s.next++
	if err := s.op(); err != nil {
		return 0, nil, err
	}
	o := &output{shop: s}
	into[num] = o
	return num, o, nil
}

func (s *shop) closeOutput(num base.FileNum, o *output) error {
	if o.closed || o.aborted {
		s.t.Fatalf("file %d is closed twice", num)
	}
	o.closed = true
	s.closed = append(s.closed, num)
	return s.op()
}

func tableID(n base.FileNum) base.Identity {
	return base.Identity{DB: 1, Type: base.FileTypeTable, Num: n}
}
func valuesID(n base.FileNum) base.Identity {
	return base.Identity{DB: 1, Type: base.FileTypeValues, Num: n}
}

func (s *shop) newTable() (TableOutput, error) {
	num, o, err := s.output(s.tables)
	if err != nil {
		return TableOutput{}, err
	}
	w := sstable.NewWriter(o, sstable.WriterOptions{ID: tableID(num), PageSize: 128})
	return TableOutput{num, w, func() error { return s.closeOutput(num, o) }, func() { o.aborted = true }}, nil
}

func (s *shop) newValues() (ValueOutput, error) {
	num, o, err := s.output(s.values)
	if err != nil {
		return ValueOutput{}, err
	}
	w := valuelog.NewWriter(o, valuesID(num), compress.S2)
	return ValueOutput{num, w, func() error { return s.closeOutput(num, o) }, func() { o.aborted = true }}, nil
}

// file is what a reader needs of an output.
type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

func (s *shop) fetch(dst []byte, p valuelog.Pointer) ([]byte, error) {
	if err := s.op(); err != nil {
		return dst, err
	}
	o := s.values[p.File]
	if o == nil {
		return nil, fmt.Errorf("pointer to file %d, which is not there", p.File)
	}
	r, err := valuelog.Open(file{bytes.NewReader(o.Bytes())}, int64(o.Len()), valuelog.ReaderOptions{ID: valuesID(p.File)})
	if err != nil {
		return nil, err
	}
	return r.AppendValue(dst, p)
}

// read returns what is in a table, as it is stored.
func (s *shop) read(num base.FileNum) []entry {
	s.t.Helper()
	o := s.tables[num]
	r, err := sstable.Open(file{bytes.NewReader(o.Bytes())}, int64(o.Len()), sstable.ReaderOptions{ID: tableID(num)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var out []entry
	it := r.NewIter(sstable.IterOptions{Bypass: true})
	for kv := it.First(); kv != nil; kv = it.Next() {
		out = append(out, entry{string(kv.Key), kv.Trailer, bytes.Clone(kv.Value)})
	}
	if err := it.Close(); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// pointerOf is where the value of a stored entry is, if that is elsewhere.
func pointerOf(e entry) (valuelog.Pointer, bool) {
	kind := e.t.Kind()
	if kind != base.KindPutPointer && kind != base.KindPutTTLPointer {
		return valuelog.Pointer{}, false
	}
	_, p, err := splitPointer(&base.KV{Key: []byte(e.key), Trailer: e.t, Value: e.value})
	if err != nil {
		panic(err)
	}
	return p, true
}

// plainLen is the length of the user's value.
func (s *shop) plainLen(e entry) int {
	if e = s.follow(e); e.t.Kind() == base.KindPutTTL {
		return len(e.value) - base.ExpirySize
	}
	return len(e.value)
}

// follow turns a stored entry into one with its user's value.
func (s *shop) follow(e entry) entry {
	p, ok := pointerOf(e)
	if !ok {
		return e
	}
	kind, expiry := base.KindPut, []byte(nil)
	if e.t.Kind() == base.KindPutTTLPointer {
		kind, expiry = base.KindPutTTL, bytes.Clone(e.value[:base.ExpirySize])
	}
	v, err := s.fetch(expiry, p)
	if err != nil {
		s.t.Fatal(err)
	}
	return entry{e.key, base.MakeTrailer(e.t.Seq(), kind), v}
}

// check compares a result with the entries that should be in it, and its
// descriptions with what is there. It returns the entries as stored.
func (s *shop) check(res Result, o *RunOptions, want []entry) (stored []entry) {
	s.t.Helper()
	stored = s.checkShape(res, o)
	var got []entry
	for _, e := range stored {
		got = append(got, s.follow(e))
	}
	if !slices.EqualFunc(got, want, func(a, b entry) bool {
		return a.key == b.key && a.t == b.t && bytes.Equal(a.value, b.value)
	}) {
		s.t.Fatalf("got  %v\nwant %v", got, want)
	}
	return stored
}

// checkShape compares the descriptions of a result with what is there. It
// returns the entries as stored.
func (s *shop) checkShape(res Result, o *RunOptions) (stored []entry) {
	s.t.Helper()
	live := map[base.FileNum]*manifest.ValueRef{}
	e := &manifest.Edit{AddValues: res.Values}
	for i, m := range res.Tables {
		list := s.read(m.Num)
		s.checkTable(m, list, live)
		if i > 0 && !res.Tables[i-1].EndsBefore(m.Smallest) {
			s.t.Fatalf("table %d begins with %q, the one before ends with %v", m.Num, m.Smallest, res.Tables[i-1].End())
		}
		for _, g := range o.Guards {
			if string(m.Smallest) < string(g) && !m.EndsBefore(g) {
				s.t.Fatalf("table %d [%q, %q] spans the guard %q", m.Num, m.Smallest, m.Largest, g)
			}
		}
		stored = append(stored, list...)
		s.checkOrder(m)
		m.Run = 1
		e.Add = append(e.Add, manifest.NewFile{Level: 1, Meta: m})
	}
	for _, v := range res.Values {
		if out := s.values[v.Num]; int(v.Size) != out.Len() || live[v.Num] == nil || live[v.Num].Bytes != v.Bytes || live[v.Num].Count != v.Count {
			s.t.Fatalf("value file %+v of %d bytes, referenced %+v", v, out.Len(), live[v.Num])
		}
	}
	for _, m := range []map[base.FileNum]*output{s.tables, s.values} {
		for num, out := range m {
			if !out.closed || out.aborted {
				s.t.Fatalf("file %d: closed %v, aborted %v", num, out.closed, out.aborted)
			}
		}
	}
	s.checkPlaces(res, o, stored)
	return stored
}

// checkPlaces verifies which values are in the tables and which are not.
func (s *shop) checkPlaces(res Result, o *RunOptions, stored []entry) {
	s.t.Helper()
	for _, e := range stored {
		n := s.plainLen(e)
		p, separate := pointerOf(e)
		if separate {
			if !slices.ContainsFunc(res.Values, func(v manifest.ValueMeta) bool { return v.Num == p.File }) {
				continue // it was so before
			}
		}
		if isValue(e.t.Kind()) && separate != (o.Values.Threshold > 0 && n >= o.Values.Threshold) {
			s.t.Fatalf("threshold %d: %v", o.Values.Threshold, e)
		}
	}
}

// checkTable compares a table's description with its entries.
func (s *shop) checkTable(m *manifest.FileMeta, list []entry, live map[base.FileNum]*manifest.ValueRef) {
	s.t.Helper()
	want := manifest.FileMeta{Num: m.Num, Size: uint64(s.tables[m.Num].Len()), Format: base.FormatNewest, ValueRefs: m.ValueRefs, SmallestSeq: base.SeqNumMax}
	if len(list) > 0 {
		want.Smallest, want.Largest = []byte(list[0].key), []byte(list[len(list)-1].key)
	}
	s.wantRanges(&want, list)
	refs := map[base.FileNum]manifest.ValueRef{}
	for _, e := range list {
		want.Entries++
		want.SmallestSeq, want.LargestSeq = min(want.SmallestSeq, e.t.Seq()), max(want.LargestSeq, e.t.Seq())
		want.RawKeyBytes += uint64(len(e.key))
		want.RawValueBytes += uint64(s.plainLen(e))
		switch e.t.Kind() {
		case base.KindDelete, base.KindSingleDelete:
			want.Deletes++
		case base.KindPutTTL, base.KindPutTTLPointer:
			at := expiryOf(e.value)
			if want.Expiring++; want.Expiring == 1 {
				want.MinExpiry = at
			}
			want.MinExpiry, want.MaxExpiry = min(want.MinExpiry, at), max(want.MaxExpiry, at)
		}
		if p, ok := pointerOf(e); ok {
			r := refs[p.File]
			refs[p.File] = manifest.ValueRef{File: p.File, Bytes: r.Bytes + uint64(p.Length), Count: r.Count + 1}
			if live[p.File] == nil {
				live[p.File] = &manifest.ValueRef{}
			}
			live[p.File].Bytes += uint64(p.Length)
			live[p.File].Count++
		}
	}
	if m.Expiring != want.Expiring || m.MinExpiry != want.MinExpiry || m.MaxExpiry != want.MaxExpiry {
		s.t.Fatalf("%d expire from %d to %d, want %d from %d to %d", m.Expiring, m.MinExpiry, m.MaxExpiry, want.Expiring, want.MinExpiry, want.MaxExpiry)
	}
	if got := m.String(); got != want.String() || m.RawKeyBytes != want.RawKeyBytes || m.RawValueBytes != want.RawValueBytes {
		s.t.Fatalf("description %s\nof          %s", got, want.String())
	}
	if len(refs) != len(m.ValueRefs) || !slices.IsSortedFunc(m.ValueRefs, func(a, b manifest.ValueRef) int { return int(a.File) - int(b.File) }) {
		s.t.Fatalf("references %v, want %v", m.ValueRefs, refs)
	}
	for _, r := range m.ValueRefs {
		if refs[r.File] != r {
			s.t.Fatalf("reference %v, want %v", r, refs[r.File])
		}
	}
}

// checkOrder verifies I4: a table is made durable after all the values that it
// points to (hazard S11 of the original).
func (s *shop) checkOrder(m *manifest.FileMeta) {
	s.t.Helper()
	at := slices.Index(s.closed, m.Num)
	for _, r := range m.ValueRefs {
		if s.values[r.File] != nil && slices.Index(s.closed, r.File) > at {
			s.t.Fatalf("table %d was closed before its values %d: %v", m.Num, r.File, s.closed)
		}
	}
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
		return TableOutput{1, w, func() error { return nil }, func() {}}, nil
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
