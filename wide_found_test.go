package seerdb_test

import (
	"bytes"
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

// Mistakes that were found by reading, of the wider data model.

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

// TestLongestKeysInKeyspace: a keyspace takes keys and bounds as long as the
// database itself does.
func TestLongestKeysInKeyspace(t *testing.T) {
	fs := memfs.New()
	o := dbtest.SmallOn(fs, seerdb.Sync)
	db := dbtest.Open(t, "db", o)
	k, err := db.Keyspace("k", nil)
	dbtest.Must(t, err)
	lo, hi := bytes.Repeat([]byte("a"), seerdb.MaxKeySize), bytes.Repeat([]byte("b"), seerdb.MaxKeySize)
	dbtest.Must(t, k.Put(lo, []byte("v")))
	dbtest.Must(t, k.Put(hi, []byte("v")))
	dbtest.Must(t, k.DeleteRange(lo, hi))
	dbtest.Must(t, db.Flush(context.Background()))
	if n := len(dbtest.Contents(t, k)); n != 1 {
		t.Fatalf("%d rows", n)
	}
}
