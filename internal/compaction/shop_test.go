package compaction

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
)

// shop makes outputs in memory, and fails where a test wants it.
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
	return TableOutput{tableID(num), w, func() error { return s.closeOutput(num, o) }, func() { o.aborted = true }}, nil
}

func (s *shop) newValues() (ValueOutput, error) {
	num, o, err := s.output(s.values)
	if err != nil {
		return ValueOutput{}, err
	}
	w := valuelog.NewWriter(o, valuesID(num), compress.S2)
	return ValueOutput{valuesID(num), w, func() error { return s.closeOutput(num, o) }, func() { o.aborted = true }}, nil
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
			if o.GuardMin <= 1 && string(m.Smallest) < string(g) && !m.EndsBefore(g) {
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
