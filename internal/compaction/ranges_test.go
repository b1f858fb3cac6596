package compaction

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// ranges returns the range tombstones of a table.
func (s *shop) ranges(num base.FileNum) (out []rangedel.Fragment) {
	s.t.Helper()
	o := s.tables[num]
	r, err := sstable.Open(file{bytes.NewReader(o.Bytes())}, int64(o.Len()), sstable.ReaderOptions{ID: tableID(num)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if l := r.Ranges(); l != nil {
		for i := range l.Len() {
			out = append(out, *l.At(i))
		}
	}
	return out
}

// wantRanges adds to a table's description what its range tombstones make of
// it.
func (s *shop) wantRanges(m *manifest.FileMeta, list []entry) {
	s.t.Helper()
	for _, f := range s.ranges(m.Num) {
		if m.Smallest == nil || bytes.Compare(f.Lo, m.Smallest) < 0 {
			m.Smallest = f.Lo
		}
		if end := base.EndAt(f.Hi); m.Largest == nil || m.End().Compare(end) < 0 {
			m.Largest, m.LargestBound = end.Key, end.Bound
			if f.Hi == nil { // the largest that is named
				if m.Largest = f.Lo; len(list) > 0 && list[len(list)-1].key > string(f.Lo) {
					m.Largest = []byte(list[len(list)-1].key)
				}
			}
		}
		m.Ranges++
		m.SmallestSeq = min(m.SmallestSeq, f.Seqs[len(f.Seqs)-1])
		m.LargestSeq = max(m.LargestSeq, f.Seqs[0])
	}
}

// TestRunCutsRanges: range tombstones end where tables end, and make tables of
// their own where there is nothing else between two guards.
func TestRunCutsRanges(t *testing.T) {
	over := func(lo, hi string, s base.SeqNum) rangedel.Tombstone {
		ts := rangedel.Tombstone{Lo: []byte(lo), Seq: s}
		if hi != "" {
			ts.Hi = []byte(hi)
		}
		return ts
	}
	notDeeper := func(lo, hi []byte) bool { return hi != nil && string(hi) <= "f" }
	for _, c := range []struct {
		name string
		o    RunOptions
		in   string
		want string // the ranges of each table
	}{
		{"one table", RunOptions{Ranges: list(over("a", "z", 5))}, "b 6 PUT; d 6 PUT", "[a,z)5"},
		{"no entries", RunOptions{Ranges: list(over("a", "", 5))}, "", "[a,)5"},
		{"no entries left", RunOptions{Ranges: list(over("a", "", 5))}, "b 3 PUT; c 3 PUT", "[a,)5"},
		{"between tables", RunOptions{Ranges: list(over("a", "e", 5), over("f", "z", 5)), MaxTableSize: 1}, "b 6 PUT; d 6 PUT; g 6 PUT", "[a,d)5|[d,e)5 [f,g)5|[g,z)5"},
		{"before a table", RunOptions{Ranges: list(over("a", "b", 5)), MaxTableSize: 1}, "b 6 PUT; d 6 PUT", "[a,b)5|"},
		{"at guards", RunOptions{Ranges: list(over("a", "", 5)), Guards: [][]byte{[]byte("c"), []byte("m"), []byte("p")}}, "b 6 PUT; n 6 PUT", "[a,c)5|[c,m)5|[m,p)5|[p,)5"},
		{"at guards, no entries", RunOptions{Ranges: list(over("b", "z", 5)), Guards: [][]byte{nil, []byte("a"), []byte("m"), []byte("zz")}}, "", "[b,m)5|[m,z)5"},
		{"one of each stripe", RunOptions{Snapshots: []base.SeqNum{4, 9}, Ranges: list(over("a", "z", 12), over("a", "z", 11), over("a", "z", 9), over("a", "z", 8), over("a", "z", 4), over("a", "z", 2))},
			"", "[a,z)12,11,9,4"},
		{"alike when the old are gone", RunOptions{Ranges: list(over("a", "c", 5), over("a", "z", 6))}, "", "[a,z)6"},
		{"gone where nothing is deeper", RunOptions{Ranges: list(over("a", "z", 5)), ElideRange: notDeeper, MaxTableSize: 1}, "b 6 PUT; d 6 PUT; e 6 PUT; g 6 PUT", "||[e,g)5|[g,z)5"},
		{"gone where nothing is deeper, in stripe 0", RunOptions{Snapshots: []base.SeqNum{4, 9}, Ranges: list(over("a", "z", 5), over("a", "z", 3)), ElideRange: alwaysRange}, "", "[a,z)5"},
		{"all gone", RunOptions{Ranges: list(over("a", "z", 5)), ElideRange: alwaysRange}, "", ""},
	} {
		if c.o.Snapshots == nil {
			c.o.Snapshots = []base.SeqNum{9}
		}
		s := newShop(t)
		_, res := s.try(c.o, c.in)
		var tables []string
		for _, m := range res.Tables {
			var pieces []string
			for _, f := range s.ranges(m.Num) {
				pieces = append(pieces, fmt.Sprintf("[%s,%s)%s", f.Lo, f.Hi, strings.ReplaceAll(strings.Trim(fmt.Sprint(f.Seqs), "[]"), " ", ",")))
			}
			tables = append(tables, strings.Join(pieces, " "))
		}
		if got := strings.Join(tables, "|"); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestRunRangesFail: tables of range tombstones are removed like others.
func TestRunRangesFail(t *testing.T) {
	for k := 1; ; k++ {
		s := newShop(t)
		s.failAt = k
		_, err := Run(context.Background(), RunOptions{Input: &sliceIter{}, Snapshots: []base.SeqNum{9}, MaxTableSize: 1 << 20, NewTable: s.newTable,
			Ranges: list(rangedel.Tombstone{Lo: []byte("a"), Seq: 5}), Guards: [][]byte{[]byte("c"), []byte("m")}})
		if err == nil {
			if k < 6 {
				t.Errorf("only %d operations", k)
			}
			return
		}
		for num, o := range s.tables {
			if !o.aborted {
				t.Errorf("operation %d failed: table %d is left", k, num)
			}
		}
	}
}
