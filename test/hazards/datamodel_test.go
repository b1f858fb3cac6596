package hazards

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
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/merger"
)

// Reads found an operand in the memtable being flushed and again in its table,
// and counted it twice.
func TestS06NoOperandCountsTwice(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.WithMerger(merger.Counter{}))
	for i := range int64(dbtest.Some(40)) {
		dbtest.Must(t, r.DB.Merge([]byte("n"), merger.AppendInt64(nil, 1)))
		flushed := dbtest.Async(r.Flush)
		for done := false; !done; {
			select {
			case err := <-flushed:
				dbtest.Must(t, err)
				done = true
			default:
			}
			v, err := r.DB.Get([]byte("n"))
			dbtest.Must(t, err)
			if n, err := merger.Int64(v); err != nil || n != i+1 {
				t.Fatalf("the counter is %d (%v) after %d increments", n, err, i+1)
			}
		}
	}
}

// The newest sequence of a key, as validation saw it, passed over tombstones
// and operands; and writers outside of transactions were not seen at all.
func TestH09DeletesAndMergesAreConflicts(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.WithMerger(merger.Append{Sep: ","}))
	r.Put("a=1", "b=1", "c=1")
	dbtest.Must(t, r.Flush())
	for name, write := range map[string]func() error{
		"a": func() error { return r.DB.Delete([]byte("a")) },
		"b": func() error { return r.DB.Merge([]byte("b"), []byte("2")) },
		"c": func() error { return r.DB.DeleteRange([]byte("c"), []byte("d")) },
		"d": func() error { return r.DB.Put([]byte("d"), nil) }, // was not there
	} {
		x := dbtest.Begin(t, r.DB, nil)
		if _, err := x.Get([]byte(name)); err != nil && !errors.Is(err, seerdb.ErrNotFound) {
			t.Fatal(err)
		}
		dbtest.Must(t, x.Put([]byte("out"), nil))
		dbtest.Must(t, write())
		dbtest.Must(t, r.Flush()) // nor does it matter where the write is
		if err := x.Commit(); !errors.Is(err, seerdb.ErrConflict) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	r.Gone("out")
}

// Of two transactions that wrote the same key the last one won silently.
func TestH09WritersOfOneKeyConflict(t *testing.T) {
	r := dbtest.NewRig(t)
	o := &seerdb.TxnOptions{Isolation: seerdb.SnapshotIsolation}
	x, y := dbtest.Begin(t, r.DB, o), dbtest.Begin(t, r.DB, o)
	dbtest.Must(t, x.Put([]byte("k"), []byte("x")))
	dbtest.Must(t, y.Put([]byte("k"), []byte("y")))
	dbtest.Must(t, x.Commit())
	if err := y.Commit(); !errors.Is(err, seerdb.ErrConflict) {
		t.Fatal(err)
	}
	r.Want("k=x")
}

// Compaction kept only the newest entry of a key, even if it was an operand, and
// threw away the version that the oldest snapshot needed.
func TestH10OperandsAndTheirBaseSurviveCompaction(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, dbtest.WithMerger(merger.Append{Sep: ","}))
	r.Put("k=base", "gone=base")
	dbtest.Must(t, r.Flush())
	r.Merge("k=1")
	old := r.DB.NewSnapshot()
	defer old.Close()
	dbtest.Must(t, r.Flush())
	r.Merge("k=2", "alone=1")
	r.Delete("gone")
	dbtest.Must(t, r.Flush())
	r.Merge("k=3", "alone=2", "gone=new")
	r.Compact()
	r.Want("alone=1,2", "gone=new", "k=base,1,2,3")
	if got := fmt.Sprint(dbtest.Contents(t, old)); got != "[gone=base k=base,1]" {
		t.Fatalf("the snapshot moved: %s", got)
	}
	r.Crash(0).Want("alone=1,2", "gone=new", "k=base,1,2,3")
}

// Tables of a bulk load were put below older data, which then hid them.
func TestH22LoadsLieOverWhatWasThere(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("a=old", "b=old")
	dbtest.Must(t, r.Flush())
	r.Put("c=old")
	snap := r.DB.NewSnapshot()
	defer snap.Close()
	rows := func(yield func(k, v []byte) bool) {
		for _, k := range []string{"a", "c", "d"} {
			if !yield([]byte(k), []byte("loaded")) {
				return
			}
		}
	}
	_, err := r.DB.BulkLoad(context.Background(), rows, nil)
	dbtest.Must(t, err)
	r.Put("d=newer")
	r.Want("a=loaded", "b=old", "c=loaded", "d=newer")
	if got := fmt.Sprint(dbtest.Contents(t, snap)); got != "[a=old b=old c=old]" {
		t.Fatalf("the snapshot moved: %s", got)
	}
	r.Crash(0).Want("a=loaded", "b=old", "c=loaded", "d=newer")
	r.Compact()
	r.Want("a=loaded", "b=old", "c=loaded", "d=newer")
}

// The filter was given encoded keys and flagged values, and what it removed
// made an older version show.
func TestH25FilterSeesWhatUsersSee(t *testing.T) {
	seen := map[string]bool{}
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
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
	r.Put("a=old", "b=old", "c="+long, "d=old")
	dbtest.Must(t, r.Flush())
	r.Put("a=remove", "b=change")
	r.Delete("d")
	snap := r.DB.NewSnapshot()
	r.Compact()
	r.Want("b=changed", "c="+long)
	if got := dbtest.Contents(t, snap); !slices.Equal(got, []string{"a=remove", "b=change", "c=" + long}) {
		t.Fatalf("the snapshot shows %v", got)
	}
	if want := map[string]bool{"a=remove": true, "b=change": true, "c=" + long: true}; !maps.Equal(seen, want) {
		t.Fatalf("the filter saw %v", seen)
	}
	r.Put("e=more") // so that there is something to compact
	r.Compact()
	r.Want("b=changed", "c="+long, "e=more")
	if v, err := snap.Get([]byte("a")); err != nil || string(v) != "remove" {
		t.Fatalf("the snapshot shows %q, %v", v, err)
	}
	dbtest.Must(t, snap.Close())
}

// An operator that failed, or that was missing, was passed over: the read
// returned the value under the operands.
func TestH30MergeThatFailsIsAnError(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, dbtest.WithMerger(merger.Counter{}))
	r.Put("k=" + string(merger.AppendInt64(nil, 5)))
	dbtest.Must(t, r.Flush())
	r.Merge("k=no number", "n="+string(merger.AppendInt64(nil, 1)))
	check := func(when string) {
		t.Helper()
		if v, err := r.DB.Get([]byte("k")); !errors.Is(err, merger.ErrForm) {
			t.Fatalf("%s: %q, %v", when, v, err)
		}
		it, err := r.DB.NewIter(nil)
		dbtest.Must(t, err)
		if it.First() || !errors.Is(it.Err(), merger.ErrForm) {
			t.Fatalf("%s: the iterator shows %q, %v", when, it.Key(), it.Err())
		}
		if !it.SeekGE([]byte("l")) || string(it.Key()) != "n" {
			t.Fatalf("%s: what comes behind is not shown: %v", when, it.Err())
		}
		_ = it.Close()
		if has, err := r.DB.Has([]byte("k")); !has || err != nil {
			t.Fatalf("%s: has: %v, %v", when, has, err)
		}
	}
	check("in the memtable")
	r.Compact()
	check("compacted")
	r = r.Reopen()
	check("reopened")
	r.Put("k=" + string(merger.AppendInt64(nil, 7)))
	if v, err := r.DB.Get([]byte("k")); err != nil || len(v) != 8 {
		t.Fatalf("after a put: %q, %v", v, err)
	}
}

// A read that found an operand in a table looked for the others in a way that
// found some of them.
func TestH34EveryOperandOfATableCounts(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, dbtest.WithMerger(merger.Append{Sep: ","}), func(o *seerdb.Options, _ *dbtest.TestOptions) {
		o.PageSize = 80
	})
	var want []string
	snaps := []*seerdb.Snapshot{}
	for i := range 200 { // over many pages, and among keys that are its prefixes
		op := fmt.Sprintf("operand%03d", i)
		want = append(want, op)
		r.Merge("key="+op, "ke="+op, "key\x00="+op)
		if i%5 == 0 {
			snaps = append(snaps, r.DB.NewSnapshot()) // they keep operands apart
		}
	}
	check := func(src dbtest.Reader, n int) {
		t.Helper()
		v, err := src.AppendGet(nil, []byte("key"))
		if err != nil || string(v) != strings.Join(want[:n], ",") {
			t.Fatalf("%d operands: %q, %v", n, v, err)
		}
	}
	for range 2 {
		check(r.DB, 200)
		for i, s := range snaps {
			check(s, 5*i+1)
		}
		r.Compact()
	}
	for _, s := range snaps {
		dbtest.Must(t, s.Close())
	}
}

// TestManyOperandsAreCollapsed: a key that is read with many operands is
// compacted, so that the next reads find a value.
func TestManyOperandsAreCollapsed(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.WithMerger(merger.Counter{}), func(o *seerdb.Options, _ *dbtest.TestOptions) { o.MemtableSize = 1 << 20 })
	for range 5000 {
		dbtest.Must(t, r.DB.Merge([]byte("n"), merger.AppendInt64(nil, 1)))
	}
	dbtest.Eventually(t, 10*time.Second, "the operands are one value", func() bool {
		v, err := r.DB.Get([]byte("n"))
		dbtest.Must(t, err)
		if n, err := merger.Int64(v); err != nil || n != 5000 {
			t.Fatalf("%d, %v", n, err)
		}
		return r.DB.Metrics().Memtable.Entries == 0 && r.Entries() == 1
	})
}
