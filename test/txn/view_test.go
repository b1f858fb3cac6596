package txn

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// TestTxnMergesOnItsSnapshot: operands that a transaction adds lie on what its
// snapshot shows, not on commits since, which stand between the two.
func TestTxnMergesOnItsSnapshot(t *testing.T) {
	o := dbtest.SmallOn(memfs.New(), seerdb.Sync)
	o.Merger = merger.Append{Sep: ","}
	db := dbtest.Open(t, "db", o)
	key := []byte("k")
	dbtest.Must(t, db.Put(key, []byte("old")))
	dbtest.Must(t, db.Put([]byte("l"), []byte("last")))
	x := dbtest.Begin(t, db, nil)
	dbtest.Must(t, x.Merge(key, []byte("mine")))
	for i := range 20 {
		dbtest.Must(t, db.Merge(key, []byte("theirs")))
		if i == 10 {
			dbtest.Must(t, db.Put(key, []byte("new")))
		}
	}
	for range 2 {
		if v, err := x.Get(key); err != nil || string(v) != "old,mine" {
			t.Fatalf("%q, %v", v, err)
		}
		if got := fmt.Sprint(dbtest.Contents(t, x)); got != "[k=old,mine l=last]" {
			t.Fatal(got)
		}
		dbtest.Must(t, db.Flush(context.Background())) // in a memtable they are not seen, in a table they are
	}
}

// TestTxnTimeIsItsOwn: a transaction that gets a time with its first expiry
// does not, when it ends, let go of the time of a snapshot that began in the
// same millisecond.
func TestTxnTimeIsItsOwn(t *testing.T) {
	clock := dbtest.NewClock()
	o := dbtest.With(seerdb.Options{}, dbtest.TestOptions{FS: memfs.New(), Clock: clock.Now, ManualOnly: true})
	db := dbtest.Open(t, "db", o)
	x := dbtest.Begin(t, db, nil)
	dbtest.Must(t, x.PutTTL([]byte("mine"), nil, time.Hour))
	dbtest.Must(t, db.PutTTL([]byte("k"), []byte("v"), 10*time.Millisecond))
	s := db.NewSnapshot()
	defer s.Close()
	x.Rollback()
	clock.Set(20)
	dbtest.Must(t, db.Compact(context.Background(), nil, nil))
	if v, err := s.Get([]byte("k")); err != nil || string(v) != "v" {
		t.Fatalf("expired within a snapshot: %q, %v", v, err)
	}
}

// TestTxnSavepointUndone: a savepoint that was undone stays so, even when as
// much was written again.
func TestTxnSavepointUndone(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	x := dbtest.Begin(t, db, nil)
	dbtest.Must(t, x.Put([]byte("a"), nil))
	first := x.Savepoint()
	dbtest.Must(t, x.Put([]byte("b"), make([]byte, 100)))
	second := x.Savepoint()
	dbtest.Must(t, x.RollbackTo(first))
	for i := range 50 {
		dbtest.Must(t, x.Put(fmt.Appendf(nil, "c%02d", i), nil))
	}
	third := x.Savepoint()
	if err := x.RollbackTo(second); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Fatalf("rolled back to what was undone: %v", err)
	}
	dbtest.Must(t, x.Put([]byte("d"), nil))
	dbtest.Must(t, x.RollbackTo(third))
	dbtest.Must(t, x.RollbackTo(third))
	dbtest.Must(t, x.RollbackTo(first))
	if err := x.RollbackTo(third); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Fatalf("rolled back to what was undone: %v", err)
	}
	dbtest.Must(t, x.Commit())
	if got := fmt.Sprint(dbtest.Contents(t, db)); got != "[a=]" {
		t.Fatal(got)
	}
}

// TestTxnTooLargeBeforeCommit: with snapshot isolation too it is the write that
// is refused, not the commit.
func TestTxnTooLargeBeforeCommit(t *testing.T) {
	o := dbtest.SmallOn(memfs.New(), seerdb.Sync)
	o.MemoryBudget = 1 << 20
	db := dbtest.Open(t, "db", o)
	x := dbtest.Begin(t, db, &seerdb.TxnOptions{Isolation: seerdb.SnapshotIsolation})
	n := 0
	for ; ; n++ {
		var err error
		if key := fmt.Appendf(nil, "%06d", n); n%2 == 0 {
			err = x.Put(key, nil)
		} else if _, err = x.GetForUpdate(key); errors.Is(err, seerdb.ErrNotFound) {
			err = nil
		}
		if errors.Is(err, seerdb.ErrTxnTooLarge) {
			break
		}
		dbtest.Must(t, err)
	}
	if n < 1000 {
		t.Fatalf("%d operations are too many", n)
	}
	dbtest.Must(t, x.Commit())
}

// TestTxnEmptyBounds: iterators over nothing, and seeks before everything, read
// nothing.
func TestTxnEmptyBounds(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	for name, read := range map[string]func(it *seerdb.Iter) bool{
		"Last":   (*seerdb.Iter).Last,
		"Prev":   (*seerdb.Iter).Prev,
		"First":  (*seerdb.Iter).First,
		"SeekLT": func(it *seerdb.Iter) bool { return it.SeekLT(nil) },
	} {
		o := &seerdb.IterOptions{LowerBound: []byte{}, UpperBound: []byte{}}
		if name == "SeekLT" {
			o = nil
		}
		x := dbtest.Begin(t, db, nil)
		it, err := x.NewIter(o)
		dbtest.Must(t, err)
		if read(it) {
			t.Fatalf("%s found %q", name, it.Key())
		}
		dbtest.Must(t, it.Close())
		dbtest.Must(t, x.Put([]byte("mine"), nil))
		dbtest.Must(t, db.Put([]byte("theirs"), []byte(name)))
		if err := x.Commit(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPutIfAbsentOfNothing: a value that is nil is an empty one, as for Put.
func TestPutIfAbsentOfNothing(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	for _, want := range []bool{true, false} {
		if ok, err := db.PutIfAbsent([]byte("k"), nil); ok != want || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
	}
	if v, err := db.Get([]byte("k")); err != nil || len(v) != 0 {
		t.Fatalf("%q, %v", v, err)
	}
	if ok, err := db.CompareAndSwap([]byte("k"), []byte{}, nil); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	if has, err := db.Has([]byte("k")); has || err != nil {
		t.Fatal(has, err)
	}
}

// TestTxnWalksBackFromTheEmptyKey: an iterator that stood on the empty key and went
// back has read nothing more, and not all that there is.
func TestTxnWalksBackFromTheEmptyKey(t *testing.T) {
	for _, where := range []string{"in the memtable", "in a table", "its own"} {
		db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
		if where != "its own" {
			dbtest.Must(t, db.Put(nil, []byte("first")))
		}
		if where == "in a table" {
			dbtest.Must(t, db.Flush(context.Background()))
		}
		x := dbtest.Begin(t, db, nil)
		dbtest.Must(t, x.Put(nil, []byte("mine")))
		it, err := x.NewIter(nil)
		dbtest.Must(t, err)
		if !it.SeekLT([]byte("a")) || len(it.Key()) > 0 || it.Prev() {
			t.Fatalf("%s: %q", where, it.Key())
		}
		dbtest.Must(t, it.Close())
		dbtest.Must(t, db.Put([]byte("other"), nil))
		if err := x.Commit(); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
}

// TestTxnMergesOnItsSnapshotInBothDirections: operands of a transaction lie on what its snapshot
// has, and not on what was committed since, wherever that is by now.
func TestTxnMergesOnItsSnapshotInBothDirections(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		o := dbtest.SmallOn(memfs.New(), seerdb.Sync)
		o.Merger = merger.Append{Sep: ","}
		db := dbtest.Open(t, "db", o)
		for _, k := range []string{"m", "p", "d", "new"} {
			if k != "new" {
				dbtest.Must(t, db.Put([]byte(k), []byte("old")))
			}
		}
		x := dbtest.Begin(t, db, nil)
		dbtest.Must(t, db.Merge([]byte("m"), []byte("later")))
		dbtest.Must(t, db.Put([]byte("p"), []byte("later")))
		dbtest.Must(t, db.Delete([]byte("d")))
		dbtest.Must(t, db.Merge([]byte("new"), []byte("later")))
		if flushed {
			dbtest.Must(t, db.Flush(context.Background()))
		}
		for _, k := range []string{"m", "p", "d", "new"} {
			dbtest.Must(t, x.Merge([]byte(k), []byte("own")))
		}
		for k, want := range map[string]string{"m": "old,own", "p": "old,own", "d": "old,own", "new": "own"} {
			if v, err := x.Get([]byte(k)); string(v) != want || err != nil {
				t.Errorf("flushed %v: %s is %q, %v; want %q", flushed, k, v, err, want)
			}
		}
		it, err := x.NewIter(nil)
		dbtest.Must(t, err)
		var fore, back []string
		for ok := it.First(); ok; ok = it.Next() {
			fore = append(fore, fmt.Sprintf("%s=%s", it.Key(), it.Value()))
		}
		for ok := it.Last(); ok; ok = it.Prev() {
			back = append([]string{fmt.Sprintf("%s=%s", it.Key(), it.Value())}, back...)
		}
		dbtest.Must(t, it.Close())
		if want := "[d=old,own m=old,own new=own p=old,own]"; fmt.Sprint(fore) != want || fmt.Sprint(back) != want {
			t.Errorf("flushed %v: forward %v, backward %v", flushed, fore, back)
		}
	}
}

// TestSnapshotTimeBesideTxn: a transaction that got its time only with its first
// value that expires does not take that of a snapshot along when it ends.
func TestSnapshotTimeBesideTxn(t *testing.T) {
	clock := dbtest.NewClock()
	o := dbtest.With(*dbtest.SmallOn(memfs.New(), seerdb.Sync), dbtest.TestOptions{
		FS: memfs.New(), ManualOnly: true, Clock: clock.Now,
	})
	db := dbtest.Open(t, "db", o)
	x := dbtest.Begin(t, db, nil)
	dbtest.Must(t, x.PutTTL([]byte("x"), []byte("v"), time.Hour))
	dbtest.Must(t, db.PutTTL([]byte("k"), []byte("v"), time.Minute))
	snap := db.NewSnapshot()
	defer snap.Close()
	x.Rollback()
	clock.Add(2 * time.Minute)
	dbtest.Must(t, db.Compact(context.Background(), nil, nil))
	if v, err := snap.Get([]byte("k")); string(v) != "v" || err != nil {
		t.Fatalf("%q, %v", v, err)
	}
}

// TestSavepointUndone: a savepoint that was undone by an earlier one stays so,
// whatever is written afterwards.
func TestSavepointUndone(t *testing.T) {
	fs := memfs.New()
	o := dbtest.SmallOn(fs, seerdb.Sync)
	db := dbtest.Open(t, "db", o)
	x := dbtest.Begin(t, db, nil)
	dbtest.Must(t, x.Put([]byte("a"), []byte("1")))
	first := x.Savepoint()
	dbtest.Must(t, x.Put([]byte("b"), make([]byte, 100)))
	second := x.Savepoint()
	dbtest.Must(t, x.RollbackTo(second))
	dbtest.Must(t, x.RollbackTo(first))
	dbtest.Must(t, x.RollbackTo(first))
	if err := x.RollbackTo(second); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Fatalf("at once: %v", err)
	}
	dbtest.Must(t, x.Put([]byte("c"), []byte("3")))
	dbtest.Must(t, x.Put([]byte("d"), []byte("4")))
	if err := x.RollbackTo(second); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Fatalf("after other writes: %v", err)
	}
	third := x.Savepoint()
	dbtest.Must(t, x.Put([]byte("e"), []byte("5")))
	dbtest.Must(t, x.RollbackTo(third))
	dbtest.Must(t, x.Commit())
	if got := fmt.Sprint(dbtest.Contents(t, db)); got != "[a=1 c=3 d=4]" {
		t.Fatalf("%s", got)
	}
}
