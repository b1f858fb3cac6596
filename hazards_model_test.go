package seerdb_test

// The flaws of the original's wider data model: merge operators, transactions,
// bulk loads and compaction filters.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/merger"
)

func withMerger(m seerdb.Merger) change {
	return func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Merger = m }
}

func (r *rig) merge(rows ...string) {
	r.Helper()
	for _, row := range rows {
		k, v, _ := strings.Cut(row, "=")
		must(r, r.db.Merge([]byte(k), []byte(v)))
	}
}

// Reads found an operand in the memtable being flushed and again in its table,
// and counted it twice.
func TestS06NoOperandCountsTwice(t *testing.T) {
	r := newRig(t, withMerger(merger.Counter{}))
	for i := range int64(some(40)) {
		must(t, r.db.Merge([]byte("n"), merger.AppendInt64(nil, 1)))
		flushed := async(r.flush)
		for done := false; !done; {
			select {
			case err := <-flushed:
				must(t, err)
				done = true
			default:
			}
			v, err := r.db.Get([]byte("n"))
			must(t, err)
			if n, err := merger.Int64(v); err != nil || n != i+1 {
				t.Fatalf("the counter is %d (%v) after %d increments", n, err, i+1)
			}
		}
	}
}

// The newest sequence of a key, as validation saw it, passed over tombstones
// and operands; and writers outside of transactions were not seen at all.
func TestH09DeletesAndMergesAreConflicts(t *testing.T) {
	r := newRig(t, withMerger(merger.Append{Sep: ","}))
	r.put("a=1", "b=1", "c=1")
	must(t, r.flush())
	for name, write := range map[string]func() error{
		"a": func() error { return r.db.Delete([]byte("a")) },
		"b": func() error { return r.db.Merge([]byte("b"), []byte("2")) },
		"c": func() error { return r.db.DeleteRange([]byte("c"), []byte("d")) },
		"d": func() error { return r.db.Put([]byte("d"), nil) }, // was not there
	} {
		x := begin(t, r.db, nil)
		if _, err := x.Get([]byte(name)); err != nil && !errors.Is(err, seerdb.ErrNotFound) {
			t.Fatal(err)
		}
		must(t, x.Put([]byte("out"), nil))
		must(t, write())
		must(t, r.flush()) // nor does it matter where the write is
		if err := x.Commit(); !errors.Is(err, seerdb.ErrConflict) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	r.gone("out")
}

// Of two transactions that wrote the same key the last one won silently.
func TestH09WritersOfOneKeyConflict(t *testing.T) {
	r := newRig(t)
	o := &seerdb.TxnOptions{Isolation: seerdb.SnapshotIsolation}
	x, y := begin(t, r.db, o), begin(t, r.db, o)
	must(t, x.Put([]byte("k"), []byte("x")))
	must(t, y.Put([]byte("k"), []byte("y")))
	must(t, x.Commit())
	if err := y.Commit(); !errors.Is(err, seerdb.ErrConflict) {
		t.Fatal(err)
	}
	r.want("k=x")
}

// Compaction kept only the newest entry of a key, even if it was an operand, and
// threw away the version that the oldest snapshot needed.
func TestH10OperandsAndTheirBaseSurviveCompaction(t *testing.T) {
	r := newRig(t, quiet, withMerger(merger.Append{Sep: ","}))
	r.put("k=base", "gone=base")
	must(t, r.flush())
	r.merge("k=1")
	old := r.db.NewSnapshot()
	defer old.Close()
	must(t, r.flush())
	r.merge("k=2", "alone=1")
	r.del("gone")
	must(t, r.flush())
	r.merge("k=3", "alone=2", "gone=new")
	r.compact()
	r.want("alone=1,2", "gone=new", "k=base,1,2,3")
	if got := fmt.Sprint(contents(t, old)); got != "[gone=base k=base,1]" {
		t.Fatalf("the snapshot moved: %s", got)
	}
	r.crash(0).want("alone=1,2", "gone=new", "k=base,1,2,3")
}

// Tables of a bulk load were put below older data, which then hid them.
func TestH22LoadsLieOverWhatWasThere(t *testing.T) {
	r := newRig(t, quiet)
	r.put("a=old", "b=old")
	must(t, r.flush())
	r.put("c=old")
	snap := r.db.NewSnapshot()
	defer snap.Close()
	rows := func(yield func(k, v []byte) bool) {
		for _, k := range []string{"a", "c", "d"} {
			if !yield([]byte(k), []byte("loaded")) {
				return
			}
		}
	}
	_, err := r.db.BulkLoad(context.Background(), rows, nil)
	must(t, err)
	r.put("d=newer")
	r.want("a=loaded", "b=old", "c=loaded", "d=newer")
	if got := fmt.Sprint(contents(t, snap)); got != "[a=old b=old c=old]" {
		t.Fatalf("the snapshot moved: %s", got)
	}
	r.crash(0).want("a=loaded", "b=old", "c=loaded", "d=newer")
	r.compact()
	r.want("a=loaded", "b=old", "c=loaded", "d=newer")
}

// The filter was given encoded keys and flagged values, and what it removed
// made an older version show.
func TestH25FilterSeesWhatUsersSee(t *testing.T) {
	seen := map[string]bool{}
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) {
		o.ValueThreshold = 20
		o.CompactionFilter = func(key, value []byte) (seerdb.FilterVerdict, []byte, error) {
			seen[string(key)+"="+string(value)] = true
			switch {
			case bytes.HasPrefix(value, []byte("remove")):
				return seerdb.FilterRemove, nil, nil
			case bytes.HasPrefix(value, []byte("change")):
				return seerdb.FilterChange, []byte("changed"), nil
			}
			return seerdb.FilterKeep, nil, nil
		}
	})
	long := strings.Repeat("long", 10)
	r.put("a=old", "b=old", "c="+long, "d=old")
	must(t, r.flush())
	r.put("a=remove", "b=change")
	r.del("d")
	snap := r.db.NewSnapshot()
	r.compact()
	r.want("b=changed", "c="+long)
	if got := contents(t, snap); !slices.Equal(got, []string{"a=remove", "b=change", "c=" + long}) {
		t.Fatalf("the snapshot shows %v", got)
	}
	if want := map[string]bool{"a=remove": true, "b=change": true, "c=" + long: true}; !maps.Equal(seen, want) {
		t.Fatalf("the filter saw %v", seen)
	}
	r.put("e=more") // so that there is something to compact
	r.compact()
	r.want("b=changed", "c="+long, "e=more")
	if v, err := snap.Get([]byte("a")); err != nil || string(v) != "remove" {
		t.Fatalf("the snapshot shows %q, %v", v, err)
	}
	must(t, snap.Close())
}

// An operator that failed, or that was missing, was passed over: the read
// returned the value under the operands.
func TestH30MergeThatFailsIsAnError(t *testing.T) {
	r := newRig(t, quiet, withMerger(merger.Counter{}))
	r.put("k=" + string(merger.AppendInt64(nil, 5)))
	must(t, r.flush())
	r.merge("k=no number", "n="+string(merger.AppendInt64(nil, 1)))
	check := func(when string) {
		t.Helper()
		if v, err := r.db.Get([]byte("k")); !errors.Is(err, merger.ErrForm) {
			t.Fatalf("%s: %q, %v", when, v, err)
		}
		it, err := r.db.NewIter(nil)
		must(t, err)
		if it.First() || !errors.Is(it.Err(), merger.ErrForm) {
			t.Fatalf("%s: the iterator shows %q, %v", when, it.Key(), it.Err())
		}
		if !it.SeekGE([]byte("l")) || string(it.Key()) != "n" {
			t.Fatalf("%s: what comes behind is not shown: %v", when, it.Err())
		}
		_ = it.Close()
		if has, err := r.db.Has([]byte("k")); !has || err != nil {
			t.Fatalf("%s: has: %v, %v", when, has, err)
		}
	}
	check("in the memtable")
	r.compact()
	check("compacted")
	r = r.reopen()
	check("reopened")
	r.put("k=" + string(merger.AppendInt64(nil, 7)))
	if v, err := r.db.Get([]byte("k")); err != nil || len(v) != 8 {
		t.Fatalf("after a put: %q, %v", v, err)
	}
}

// A read that found an operand in a table looked for the others in a way that
// found some of them.
func TestH34EveryOperandOfATableCounts(t *testing.T) {
	r := newRig(t, quiet, withMerger(merger.Append{Sep: ","}), func(o *seerdb.Options, _ *seerdb.TestOptions) {
		o.PageSize = 80
	})
	var want []string
	snaps := []*seerdb.Snapshot{}
	for i := range 200 { // over many pages, and among keys that are its prefixes
		op := fmt.Sprintf("operand%03d", i)
		want = append(want, op)
		r.merge("key="+op, "ke="+op, "key\x00="+op)
		if i%5 == 0 {
			snaps = append(snaps, r.db.NewSnapshot()) // they keep operands apart
		}
	}
	check := func(src reader, n int) {
		t.Helper()
		v, err := src.AppendGet(nil, []byte("key"))
		if err != nil || string(v) != strings.Join(want[:n], ",") {
			t.Fatalf("%d operands: %q, %v", n, v, err)
		}
	}
	for range 2 {
		check(r.db, 200)
		for i, s := range snaps {
			check(s, 5*i+1)
		}
		r.compact()
	}
	for _, s := range snaps {
		must(t, s.Close())
	}
}

// TestManyOperandsAreCollapsed: a key that is read with many operands is
// compacted, so that the next reads find a value.
func TestManyOperandsAreCollapsed(t *testing.T) {
	r := newRig(t, withMerger(merger.Counter{}), func(o *seerdb.Options, _ *seerdb.TestOptions) { o.MemtableSize = 1 << 20 })
	for range 5000 {
		must(t, r.db.Merge([]byte("n"), merger.AppendInt64(nil, 1)))
	}
	eventually(t, 10*time.Second, "the operands are one value", func() bool {
		v, err := r.db.Get([]byte("n"))
		must(t, err)
		if n, err := merger.Int64(v); err != nil || n != 5000 {
			t.Fatalf("%d, %v", n, err)
		}
		return r.db.Metrics().Memtable.Entries == 0 && r.entries() == 1
	})
}
