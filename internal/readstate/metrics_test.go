package readstate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/observe"
)

// TestReadsAreCounted: what point reads count, read by read: tables that were asked, what
// their filters said, pages, values.
func TestReadsAreCounted(t *testing.T) {
	r := newRig(t, readstatetest.Options{FilterBits: 10, ValuesFrom: 100})
	flushed(r, "a", "old", "m", "1", "z", "old", "v", strings.Repeat("v", 100))
	r.Compact(0, 0, 1)
	r.Commit(func(b *batch.Batch) { r.Check(b.DeleteRange(0, []byte("x"), []byte("y"))) })
	kvs := []string{"a", "new", "z", "new"}
	for i := range 500 {
		kvs = append(kvs, fmt.Sprint("c", i), "new")
	}
	tab := flushed(r, kvs...)
	rd, err := tab.Use()
	r.Check(err)
	in := func(key string) bool { return rd.MayContain(base.Hash([]byte(key))) }
	lucky := "" // that the filter lets through in vain
	for i := 0; i < 10_000 && lucky == ""; i++ {
		if k := fmt.Sprint("b", i); in(k) {
			lucky = k
		}
	}
	if lucky == "" || in("m") || in("v") || in("xx") {
		t.Fatal("the filter lets through what the script takes for filtered")
	}
	r.Check(rd.Close())
	type counts struct{ reads, negatives, falsePositives, pages int64 }
	for i, step := range []struct {
		key    string
		l0, l1 counts // that come on top
		values int64
	}{
		{"a", counts{1, 0, 0, 1}, counts{}, 0},
		{"m", counts{1, 1, 0, 0}, counts{1, 0, 0, 1}, 0},
		{lucky, counts{1, 0, 1, 1}, counts{1, 1, 0, 0}, 0},
		{"xx", counts{1, 1, 0, 0}, counts{}, 0}, // under the range tombstone
		{"0", counts{}, counts{}, 0},            // before all tables
		{"v", counts{1, 1, 0, 0}, counts{1, 0, 0, 1}, 1},
	} {
		before := [2]observe.LevelMetrics{}
		for l := range before {
			r.Store.LevelReads(l, &before[l])
		}
		values := r.Store.ValueReads()
		if _, err := read(r.Store, 0, step.key, readstate.Newest); err != nil {
			t.Fatal(err)
		}
		for l, want := range []counts{step.l0, step.l1} {
			var m observe.LevelMetrics
			r.Store.LevelReads(l, &m)
			b := before[l]
			got := counts{m.Reads - b.Reads, m.FilterNegatives - b.FilterNegatives, m.FilterFalsePositives - b.FilterFalsePositives, m.PageReads - b.PageReads}
			if got != want || m.UnfilteredReads != 0 {
				t.Errorf("step %d, %q: level %d counts %+v, want %+v", i, step.key, l, got, want)
			}
		}
		if n := r.Store.ValueReads() - values; n != step.values {
			t.Errorf("step %d: %d values, want %d", i, n, step.values)
		}
		if n := r.Store.Gets().Count; n != int64(i+1) {
			t.Errorf("step %d: %d reads", i, n)
		}
	}
	if g := r.Store.Gets(); g.Sampled != 64 || g.Max <= 0 {
		t.Errorf("latency: %+v", g)
	}
}

// TestShowLetsGo: Show gives the value to a function, and lets go of the State though the
// function fails or panics.
func TestShowLetsGo(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	r.Put("a", "1")
	bad := errors.New("bad")
	for _, fn := range []func([]byte) error{
		func(v []byte) error { return nil },
		func(v []byte) error { return bad },
		func(v []byte) error { panic(bad) },
	} {
		freed, got := false, ""
		var q readstate.Query
		if !q.Begin(r.Store, 0, []byte("a"), readstate.Newest, false) {
			t.Fatal("there is no State")
		}
		if out, err := q.Get(); out != readstate.Plain || err != nil {
			t.Fatal(out, err)
		}
		r.Store.OnQuiet(func() { freed = true })
		r.Store.Renew()
		func() {
			defer func() { _ = recover() }()
			_ = q.Show(func(v []byte) error {
				if got = string(v); freed {
					t.Error("the State is let go before the function ends")
				}
				return fn(v)
			})
		}()
		if got != "1" || !freed {
			t.Errorf("value %q; let go %v", got, freed)
		}
	}
}

// manyTables makes tables of two keyspaces in two levels, with deletes and garbage in value
// files, of which some were read.
func manyTables(t *testing.T) *readstatetest.Rig {
	r := newRig(t, readstatetest.Options{FilterBits: 10, ValuesFrom: 50, PageSize: 128, TableSize: 2000})
	fill := func(from, to int) {
		r.Commit(func(b *batch.Batch) {
			for i := from; i < to; i++ {
				r.Check(b.Put(uint32(i%2), fmt.Appendf(nil, "%04d", i), fmt.Append(nil, strings.Repeat("v", i%90))))
			}
			r.Check(b.Delete(0, fmt.Appendf(nil, "%04d", from)))
		})
		r.Rotate()
		r.Flush()
	}
	fill(0, 800)
	r.Compact(0, 0, 1)
	fill(0, 300)
	r.Compact(0, 0, 1)
	fill(100, 400)
	fill(200, 500)
	want(r, "0300", readstate.Newest, strings.Repeat("v", 300%90)) // opens the tables on its way
	return r
}

// TestTableMetrics: figures of tables and value files, against the manifest.
func TestTableMetrics(t *testing.T) {
	r := manyTables(t)
	got := observe.Metrics{Levels: make([]observe.LevelMetrics, base.NumLevels)}
	wanted := observe.Metrics{Levels: make([]observe.LevelMetrics, base.NumLevels)}
	r.Store.Current().TableMetrics(&got)
	for _, tree := range r.Version.Trees() {
		for l := range tree.Levels {
			m := &wanted.Levels[l]
			m.Runs = max(m.Runs, len(tree.Levels[l]))
			for _, run := range tree.Levels[l] {
				for _, f := range run.Files {
					m.Files++
					m.Bytes += int64(f.Size)
					m.Entries += int64(f.Entries)
					m.Deletes += int64(f.Deletes)
				}
			}
		}
	}
	if !slices.Equal(got.Levels, wanted.Levels) || wanted.Levels[0].Runs < 2 || wanted.Levels[1].Files < 3 || wanted.Levels[0].Deletes == 0 {
		t.Errorf("levels %+v, want %+v", got.Levels, wanted.Levels)
	}
	for _, f := range r.Version.Values {
		wanted.Values.Files++
		wanted.Values.Bytes += int64(f.Bytes)
		wanted.Values.Garbage += int64(f.Bytes - f.LiveBytes)
	}
	if got.Values != wanted.Values || wanted.Values.Garbage == 0 {
		t.Errorf("values %+v, want %+v", got.Values, wanted.Values)
	}
}

// TestIndexMetrics: figures of indexes, against the tables' own properties. They are of the
// tables that were read, unless all are asked for, which keeps none in memory.
func TestIndexMetrics(t *testing.T) {
	r := manyTables(t)
	s, shard := r.Store.Keep()
	defer s.LetGo(shard)
	wasOpen := map[*readstate.Table]bool{}
	for _, tab := range s.Tables() {
		wasOpen[tab] = tab.Reader() != nil
	}
	got := observe.Metrics{Levels: make([]observe.LevelMetrics, base.NumLevels)}
	s.TableMetrics(&got)
	gotAll, err := s.IndexMetrics(context.Background())
	r.Check(err)
	var open, all observe.IndexMetrics
	for _, tab := range s.Tables() {
		if (tab.Reader() != nil) != wasOpen[tab] {
			t.Error("a table is in memory because of its figures")
		}
		rd, err := tab.Use()
		r.Check(err)
		p := rd.Properties()
		for _, m := range []*observe.IndexMetrics{&all, &open} {
			if m == &open && !wasOpen[tab] {
				continue
			}
			m.Tables++
			m.Pages += int64(p.Pages)
			m.LearnedPages += int64(p.LearnedPages)
			m.FencePages += int64(p.FencePages)
			m.Windows += int64(p.Segments - p.FencePages)
			m.Bytes += int64(p.IndexBytes)
			m.FilterBytes += int64(p.FilterBytes)
			m.Entries += int64(p.Entries)
			if p.LearnedPages == 0 && p.Pages > 1 {
				m.FallbackTables++
			}
		}
		r.Check(rd.Close())
	}
	if got.Index != open || open.Tables == all.Tables || open.Tables == 0 {
		t.Errorf("indexes of open tables %+v, want %+v", got.Index, open)
	}
	if gotAll != all {
		t.Errorf("indexes %+v, want %+v", gotAll, all)
	}
}

// TestFiguresNeedNoFilter: for its figures a filter that lies apart is not read.
func TestFiguresNeedNoFilter(t *testing.T) {
	r := newRig(t, readstatetest.Options{FilterBits: 10})
	m := r.AddTable(1, func(w *sstable.Writer) {
		for i := range 10_000 {
			r.Check(w.Add(fmt.Appendf(nil, "%06d", i), base.MakeTrailer(1, base.KindPut), nil))
		}
	}, nil)
	reads := r.FS.Inject(faultfs.Rule{Op: faultfs.OpRead, Path: m.FileName(), Skip: math.MaxInt32})
	index, err := r.Store.Current().IndexMetrics(context.Background())
	if err != nil || index.FilterBytes < 10_000 || index.Entries != 10_000 || reads.Matched() != 2 {
		t.Errorf("%d reads; %+v %v", reads.Matched(), index, err)
	}
	_, err = r.Store.Current().IndexMetrics(context.Background())
	if err != nil || reads.Matched() != 2 {
		t.Errorf("%d reads for figures that are known; %v", reads.Matched(), err)
	}
}

// TestEstimateOfEvenEntries: where entries are alike an estimate is wrong by a page at each
// end, and a table that an end does not cut is not read.
func TestEstimateOfEvenEntries(t *testing.T) {
	r := newRig(t, readstatetest.Options{PageSize: 256, TableSize: 4000, ValuesFrom: 1})
	const n = 2000
	r.Commit(func(b *batch.Batch) {
		for i := range n {
			r.Check(b.Put(0, fmt.Appendf(nil, "%06d", i), []byte("0123456789")))
		}
	})
	r.Rotate()
	r.Flush()
	s, shard := r.Store.Keep()
	defer s.LetGo(shard)
	var bytes, values uint64
	for _, tab := range s.Tables() {
		bytes += tab.Meta.Size
		values += tab.Meta.ValueBytes()
	}
	near := func(what string, got, whole uint64, share, slack float64) {
		t.Helper()
		if d := math.Abs(float64(got) - share*float64(whole)); d > slack {
			t.Errorf("%s: %d of %d, want %.3f of it: off by %.0f, and may be by %.0f", what, got, whole, share, d, slack)
		}
	}
	for _, c := range [][2]int{{0, n}, {100, n}, {0, 1900}, {777, 1234}, {500, 510}} {
		est, err := s.Estimate(0, fmt.Appendf(nil, "%06d", c[0]), fmt.Appendf(nil, "%06d", c[1]))
		r.Check(err)
		share := float64(c[1]-c[0]) / n
		near(fmt.Sprint(c, " entries"), est.Entries, n, share, 20) // a page has about 8
		near(fmt.Sprint(c, " bytes"), est.TableBytes, bytes, share, 3*256)
		near(fmt.Sprint(c, " values"), est.ValueBytes, values, share, 20*float64(values)/n)
	}
	opened := 0
	for _, tab := range s.Tables() {
		if tab.Reader() != nil {
			opened++
		}
	}
	if opened > 10 || len(s.Tables()) < 12 {
		t.Errorf("%d of %d tables were opened for ten ends", opened, len(s.Tables()))
	}
}

// TestHiddenBytes: what the active memtable hides in tables is as much as there is of its
// keys, for every snapshot.
func TestHiddenBytes(t *testing.T) {
	r := newRig(t, readstatetest.Options{FilterBits: 10})
	const n = 1000
	put := func(from, to int, kind base.Kind) {
		r.Commit(func(b *batch.Batch) {
			for i := from; i < to; i++ {
				r.Check(b.Add(kind, 0, fmt.Appendf(nil, "%06d", i), []byte("0123456789")))
			}
		})
	}
	hidden := func(oldest base.SeqNum, want float64) {
		t.Helper()
		if got := r.Store.Current().HiddenBytes(0, oldest); math.Abs(float64(got)-want) > want/10 {
			t.Errorf("%d bytes are hidden, want %.0f", got, want)
		}
	}
	put(0, n, base.KindPut)
	if r.Store.Current().HiddenBytes(0, r.Seq) != 0 {
		t.Error("a memtable hides what is in no table")
	}
	r.Rotate()
	r.Flush()
	size := float64(onlyTable(r).Meta.Size)
	hidden(r.Seq, 0)
	at := r.Seq
	put(n/2, 3*n/2, base.KindDelete) // half of them are in the table
	hidden(r.Seq, size/2)
	hidden(at, 0)
	r.Rotate()
	put(0, n/2, base.KindMerge)
	hidden(r.Seq, 0) // what operands lie on is not hidden
	if got := r.Store.Current().HiddenBytes(7, r.Seq); got != 0 {
		t.Errorf("%d bytes are hidden of a keyspace without tables", got)
	}
}

// TestPacked: by how much tables in packs differ from tables in files of their own.
func TestPacked(t *testing.T) {
	r := newRig(t, readstatetest.Options{Packed: true})
	r.Commit(func(b *batch.Batch) {
		for ks := range uint32(5) {
			r.Check(b.Put(ks, []byte("a"), []byte("1")))
		}
	})
	r.Rotate()
	r.Flush()
	packed := func() (files int, bytes int64) {
		packs := map[base.FileNum]bool{}
		for _, tab := range r.Store.Current().Tables() {
			if !packs[tab.Meta.Pack] {
				packs[tab.Meta.Pack] = true
				files++
				bytes += int64(tab.Meta.PackSize)
			}
			files--
			bytes -= int64(tab.Meta.Size)
		}
		return files, bytes
	}
	check := func(want int) {
		t.Helper()
		files, bytes := r.Store.Packed()
		if f, b := packed(); files != want || f != want || bytes != b {
			t.Errorf("packs differ by %d files, %d bytes; want %d (%d), %d", files, bytes, want, f, b)
		}
	}
	check(1 - 5)
	s, shard := r.Store.Keep()
	r.Compact(2, 0, 1) // into a pack of its own; the first keeps its space
	check(2 - 5)
	s.LetGo(shard)
	check(2 - 5)
	s, shard = r.Store.Keep()
	r.Compact(2, 1, 2) // nothing is left in the pack from which it comes, which s keeps
	check(2 - 5)
	s.LetGo(shard)
	if m := r.AddTable(1, func(w *sstable.Writer) { r.Check(w.Add([]byte("a"), 1<<8|1, nil)) }, nil); m.Pack != 0 {
		t.Fatal("the table lies in a pack")
	}
	if files, _ := r.Store.Packed(); files != 2-5 {
		t.Errorf("a table with a file of its own counts as packed: %d", files)
	}
}
