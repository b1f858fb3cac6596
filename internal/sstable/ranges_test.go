package sstable

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// makeRanges makes range tombstones between keys of rows and their neighbours;
// some are without an end.
func makeRanges(r *rand.Rand, rows []row, n int) rangedel.List {
	key := func() []byte {
		k := bytes.Clone(rows[r.IntN(len(rows))].key)
		switch r.IntN(4) {
		case 0:
			k = append(k, 0)
		case 1:
			k = k[:len(k)/2]
		}
		return k
	}
	var ts []rangedel.Tombstone
	for i := range n {
		t := rangedel.Tombstone{Lo: key(), Hi: key(), Seq: base.SeqNum(1 + r.IntN(1000))}
		if i == 7 {
			t.Hi = nil
		}
		ts = append(ts, t)
	}
	return rangedel.Build(ts)
}

// checkBounds compares what Info says with every key there is.
func checkBounds(t *testing.T, info Info, rows []row, ranges *rangedel.List) {
	t.Helper()
	end := base.End{Key: info.Largest, Bound: info.LargestBound}
	starts, ends := false, false
	seen := func(k []byte, s base.SeqNum) {
		t.Helper()
		starts = starts || bytes.Equal(k, info.Smallest)
		if bytes.Compare(k, info.Smallest) < 0 || end.Before(k) || s < info.SmallestSeq || s > info.LargestSeq {
			t.Fatalf("%q at %d is out of bounds: %q to %q (%d), %d to %d", k, s, info.Smallest, end.Key, end.Bound, info.SmallestSeq, info.LargestSeq)
		}
	}
	for _, r := range rows {
		seen(r.key, r.t.Seq())
		ends = ends || bytes.Equal(r.key, end.Key) && end.Bound == base.BoundInclusive
	}
	for i := range ranges.Len() {
		f := ranges.At(i)
		for _, s := range f.Seqs {
			seen(f.Lo, s)
		}
		if base.EndAt(f.Hi).Compare(end) > 0 {
			t.Fatalf("%q-%q ends after %q (%d)", f.Lo, f.Hi, end.Key, end.Bound)
		}
		ends = ends || f.Hi == nil || bytes.Equal(f.Hi, end.Key) && end.Bound == base.BoundExclusive
	}
	if !starts || !ends || bytes.Compare(info.Smallest, info.Largest) > 0 {
		t.Fatalf("bounds are not tight: %q to %q (%d)", info.Smallest, end.Key, end.Bound)
	}
}

func TestRanges(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 8))
	for n := range 300 {
		shape := []string{"hex", "short", "nested", "versions"}[n%4]
		rows := makeRows(rnd, shape, 1+rnd.IntN(200))
		ranges := makeRanges(rnd, rows, rnd.IntN(12))
		if n%5 == 0 && ranges.Len() > 0 {
			rows = nil
		}
		data, info := buildRanged(t, rows, ranges, WriterOptions{PageSize: 300, FilterBits: 10})
		checkBounds(t, info, rows, &ranges)
		r := openTable(t, data, nil)
		got := r.Ranges()
		if (got == nil) != (ranges.Len() == 0) || info.Ranges != uint64(ranges.Len()) {
			t.Fatalf("ranges %v, info %d, of %d", got, info.Ranges, ranges.Len())
		}
		if got != nil && !bytes.Equal(got.Append(nil), ranges.Append(nil)) {
			t.Fatalf("%d ranges, want %d", got.Len(), ranges.Len())
		}
		smallest, end := r.Properties().Bounds()
		if !bytes.Equal(smallest, info.Smallest) || !bytes.Equal(end.Key, info.Largest) || end.Bound != info.LargestBound {
			t.Fatalf("read bounds %q to %q (%d), written %q to %q (%d)", smallest, end.Key, end.Bound, info.Smallest, info.Largest, info.LargestBound)
		}
		if err := r.Verify(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		if rows != nil {
			checkGets(t, rnd, r, rows, shape, 30)
			checkForward(t, r.NewIter(IterOptions{Bypass: n%2 == 0}), rows)
		}
	}
}

// TestOnlyRanges: a table without entries has nothing to find and nothing to
// walk over.
func TestOnlyRanges(t *testing.T) {
	ranges := rangedel.Build([]rangedel.Tombstone{{Lo: []byte("a"), Hi: []byte("c"), Seq: 7}, {Lo: []byte("b"), Seq: 5}})
	data, info := buildRanged(t, nil, ranges, WriterOptions{FilterBits: 10})
	if string(info.Smallest) != "a" || string(info.Largest) != "c" || info.LargestBound != base.BoundNone || info.SmallestSeq != 5 || info.LargestSeq != 7 {
		t.Errorf("%+v", info)
	}
	r := openTable(t, data, nil)
	var res Result
	for _, key := range []string{"", "a", "b", "zz"} {
		if ok, err := r.Get([]byte(key), base.SeqNumMax, &res); ok || err != nil {
			t.Errorf("Get %q: %v, %v", key, ok, err)
		}
	}
	for _, o := range []IterOptions{{}, {Scan: true}, {Bypass: true}} {
		it := r.NewIter(o)
		for i, kv := range []*base.KV{it.Next(), it.Prev(), it.First(), it.Next(), it.Last(), it.Prev(), it.SeekGE([]byte("b"), 0), it.SeekLT([]byte("b")), it.Next()} {
			if kv != nil || it.Err() != nil {
				t.Errorf("step %d: %v, %v", i, kv, it.Err())
			}
		}
		if err := it.Close(); err != nil {
			t.Error(err)
		}
	}
	var text strings.Builder
	if err := r.Dump(&text, DumpOptions{Index: true, Pages: true, Entries: true}); err != nil || !strings.Contains(text.String(), `from "a" to before "b", at [7]`) || !strings.Contains(text.String(), `from "c" on, at [5]`) || strings.Contains(text.String(), "NaN") {
		t.Errorf("%v:\n%s", err, text.String())
	}
}

func TestWriterRefusesRanges(t *testing.T) {
	frag := func(lo, hi string, seqs ...base.SeqNum) rangedel.Fragment {
		f := rangedel.Fragment{Lo: []byte(lo), Seqs: seqs}
		if hi != "" {
			f.Hi = []byte(hi)
		}
		return f
	}
	first := frag("b", "d", 5)
	for name, f := range map[string]rangedel.Fragment{
		"before":            frag("a", "b", 5),
		"overlap":           frag("c", "e", 5),
		"the same":          first,
		"empty":             frag("e", "e", 5),
		"backward":          frag("f", "e", 5),
		"no sequences":      frag("e", "f"),
		"oldest first":      frag("e", "f", 5, 6),
		"sequence twice":    frag("e", "f", 5, 5),
		"sequence 0":        frag("e", "f", 5, 0),
		"large sequence":    frag("e", "f", base.SeqNumMax+1),
		"key too long":      frag(strings.Repeat("e", base.MaxKeySize+1), "", 5),
		"end too long":      frag("e", strings.Repeat("e", base.MaxKeySize+1), 5),
		"behind an endless": frag("x", "y", 5),
	} {
		w := NewWriter(io.Discard, WriterOptions{ID: testID})
		if name == "behind an endless" {
			first = frag("b", "", 5)
		}
		before := w.EstimatedSize()
		if err := w.AddRange(first); err != nil {
			t.Fatal(err)
		}
		if w.EstimatedSize() <= before {
			t.Error("ranges have no size")
		}
		if err := w.AddRange(f); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := w.Finish(); err == nil {
			t.Errorf("%s: the error is not sticky", name)
		}
		first = frag("b", "d", 5)
	}
}

// TestHostileRanges: properties under a good checksum that say nothing of
// entries nor of ranges, or what no list says, are refused.
func TestHostileRanges(t *testing.T) {
	ranges := rangedel.Build([]rangedel.Tombstone{{Lo: []byte("a"), Hi: []byte("c"), Seq: 7}})
	only, _ := buildRanged(t, nil, ranges, WriterOptions{})
	both, _ := buildRanged(t, []row{{[]byte("k"), 256, nil}}, ranges, WriterOptions{})
	payload := ranges.Append(nil)
	field := appendBytes(nil, tagRanges, payload)
	for name, spoil := range map[string]func(b []byte){
		"no ranges":       func(b []byte) { b[0]++ },
		"unknown form":    func(b []byte) { b[2] = 9 },
		"backward":        func(b []byte) { b[len(b)-3] = 'A' },
		"no sequences":    func(b []byte) { b[len(b)-2] = 0 },
		"a larger number": func(b []byte) { b[len(b)-2] = 100 },
	} {
		for _, data := range [][]byte{only, both} {
			d := bytes.Clone(data)
			p := sectionAt(d, 2)
			at := bytes.Index(p, field)
			if at < 0 {
				t.Fatal("the ranges are not in the properties")
			}
			spoil(p[at : at+len(field)])
			reseal(d, testID)
			refused := name != "no ranges" || len(data) == len(only)
			if _, err := readAll(d, testID); errors.Is(err, base.ErrCorruption) != refused {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
