package txn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// smallTracker has room for the records of few commits, so that one batch of
// 400 keys takes their history from the transactions that are open.
func smallTracker(to dbtest.TestOptions) *seerdb.Options {
	to.FS, to.ManualOnly = memfs.New(), true
	return dbtest.With(seerdb.Options{MemoryBudget: 1 << 20, MemtableSize: 256 << 10}, to)
}

// loseHistory makes the tracker forget the history that open transactions need.
func loseHistory(t *testing.T, db *seerdb.DB) {
	t.Helper()
	b := db.NewBatch()
	for i := range 400 {
		dbtest.Must(t, b.Put(fmt.Appendf(nil, "junk%d", i), nil))
	}
	dbtest.Must(t, db.Apply(b, seerdb.DefaultDurability))
}

// conflicts checks whether a commit was a conflict.
func conflicts(t *testing.T, what string, err error, want bool) {
	t.Helper()
	if errors.Is(err, seerdb.ErrConflict) != want || !want && err != nil {
		t.Errorf("%s: %v; a conflict: %v", what, err, want)
	}
}

// TestSingleDeleteLeavesItsTraceForTransactions: of two concurrent writers of a
// key the second conflicts, also when what the first put met a single delete and
// both went, while the second was open and its history forgotten. After it they
// go without one.
func TestSingleDeleteLeavesItsTraceForTransactions(t *testing.T) {
	ctx := context.Background()
	for _, lose := range []bool{false, true} {
		for _, o := range []*seerdb.TxnOptions{nil, dbtest.SnapshotIsolation} {
			db := dbtest.Open(t, "db", smallTracker(dbtest.TestOptions{}))
			x, untouched := dbtest.Begin(t, db, o), dbtest.Begin(t, db, o)
			_, err := x.GetForUpdate([]byte("k"))
			if !errors.Is(err, seerdb.ErrNotFound) {
				t.Fatal(err)
			}
			dbtest.Must(t, x.Put([]byte("k"), []byte("mine")))
			dbtest.Must(t, untouched.Put([]byte("l"), nil))
			y := dbtest.Begin(t, db, o)
			dbtest.Must(t, y.Put([]byte("k"), []byte("theirs")))
			dbtest.Must(t, y.Commit())
			dbtest.Must(t, db.SingleDelete([]byte("k")))
			if lose {
				loseHistory(t, db)
			}
			dbtest.Must(t, db.Flush(ctx))
			conflicts(t, fmt.Sprintf("history lost %v, %+v", lose, o), x.Commit(), true)
			conflicts(t, "a writer of another key", untouched.Commit(), false)
			dbtest.Must(t, db.DeleteRange([]byte("junk"), []byte("junl")))
			dbtest.Must(t, db.Delete([]byte("l")))
			dbtest.Must(t, db.Compact(ctx, nil, nil))
			for _, l := range db.Metrics().Levels {
				if l.Entries != 0 {
					t.Errorf("history lost %v: %d entries are left", lose, l.Entries)
				}
			}
			dbtest.Must(t, db.Close())
		}
	}
}

// TestRefusedCommitsLeaveNoTrace: a commit, or a load, that failed for good makes
// no conflict, whether the transaction has its history, lost it, or is asked
// while the outcome is open; and it does not hide the commit before it.
func TestRefusedCommitsLeaveNoTrace(t *testing.T) {
	for _, before := range []bool{false, true} {
		for name, refuse := range map[string]func(*seerdb.DB) error{
			"put": func(db *seerdb.DB) error { return db.Put([]byte("k"), make([]byte, 8000)) },
			"load": func(db *seerdb.DB) error {
				_, err := db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
					_ = yield([]byte("j"), make([]byte, 4000)) && yield([]byte("l"), make([]byte, 4000))
				}, nil)
				return err
			},
		} {
			fs := memfs.New()
			db := dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Sync))
			dbtest.Must(t, db.Put([]byte("k"), []byte("v")))
			x := dbtest.Begin(t, db, nil)
			_, err := x.Get([]byte("k"))
			dbtest.Must(t, err)
			dbtest.Must(t, x.Put([]byte("m"), []byte("w")))
			if before {
				dbtest.Must(t, db.Put([]byte("k"), []byte("changed")))
			}
			fs.SetCapacity(fs.Used())
			if err := refuse(db); !errors.Is(err, seerdb.ErrNoSpace) || errors.Is(err, seerdb.ErrCommitUnknown) {
				t.Fatalf("%s on a full disk: %v", name, err)
			}
			fs.SetCapacity(0)
			conflicts(t, fmt.Sprintf("after a refused %s, with a commit before it %v", name, before), x.Commit(), before)
			dbtest.Must(t, db.Close())
		}
	}
}

// TestLoadThatFailsInItsPlaceLeavesNoTrace: a load that had its sequence, so that
// its range was recorded for the transactions that are open, and whose tables the
// manifest then could not take, makes no conflict. One that succeeds does.
func TestLoadThatFailsInItsPlaceLeavesNoTrace(t *testing.T) {
	for _, fails := range []bool{true, false} {
		fs := faultfs.New(memfs.New())
		db := dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Sync))
		dbtest.Must(t, db.Put([]byte("k"), []byte("v")))
		dbtest.Must(t, db.Flush(context.Background()))
		x := dbtest.Begin(t, db, nil)
		_, err := x.Get([]byte("k"))
		dbtest.Must(t, err)
		dbtest.Must(t, x.Put([]byte("m"), []byte("w")))
		if fails {
			full := fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "MANIFEST-*", Err: syscall.ENOSPC})
			if _, err := db.BulkLoad(context.Background(), around("k"), nil); !errors.Is(err, seerdb.ErrNoSpace) || errors.Is(err, seerdb.ErrCommitUnknown) {
				t.Fatalf("a load that the manifest has no room for: %v", err)
			}
			if full.Count() == 0 {
				t.Fatal("the manifest was not written")
			}
			full.Remove()
		} else {
			_, err := db.BulkLoad(context.Background(), around("k"), nil)
			dbtest.Must(t, err)
		}
		conflicts(t, fmt.Sprintf("after a load around the key, which fails %v", fails), x.Commit(), !fails)
		if got := fmt.Sprint(dbtest.Contents(t, db)); fails && got != "[k=v m=w]" {
			t.Errorf("after a load that failed: %s", got)
		}
		dbtest.Must(t, db.Close())
	}
}

// around is two rows, one on each side of a key.
func around(key string) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		_ = yield([]byte{key[0] - 1}, nil) && yield([]byte{key[0] + 1}, nil)
	}
}

// TestDroppedKeyspacesKeepConflicts: what was committed to a keyspace before it
// was dropped still is a conflict for older transactions that read it, and only
// for them, wherever it lies and whatever was forgotten; and it is let go once
// they are over.
func TestDroppedKeyspacesKeepConflicts(t *testing.T) {
	ctx := context.Background()
	for _, flush := range []bool{false, true} {
		for _, o := range []*seerdb.TxnOptions{nil, dbtest.SnapshotIsolation} {
			what := fmt.Sprintf("flushed %v, %+v", flush, o)
			db := dbtest.Open(t, "db", smallTracker(dbtest.TestOptions{}))
			d, err := db.Keyspace("d", nil)
			dbtest.Must(t, err)
			for _, k := range []string{"k", "n"} {
				dbtest.Must(t, d.Put([]byte(k), []byte("0")))
			}
			reader, neighbour, scanner := dbtest.Begin(t, db, o), dbtest.Begin(t, db, o), dbtest.Begin(t, db, nil)
			_, err = reader.In(d).GetForUpdate([]byte("k"))
			dbtest.Must(t, err)
			_, err = neighbour.In(d).GetForUpdate([]byte("n"))
			dbtest.Must(t, err)
			rows := scanner.In(d).Range([]byte("a"), []byte("l"))
			if got := dbtest.Collect(rows.Keys()); got != "k" {
				t.Errorf("%s: the scan shows %q", what, got)
			}
			writer := dbtest.Begin(t, db, o)
			dbtest.Must(t, writer.In(d).Put([]byte("k"), []byte("1")))
			dbtest.Must(t, writer.Commit())
			if flush {
				dbtest.Must(t, db.Flush(ctx))
			}
			loseHistory(t, db)
			dbtest.Must(t, db.DropKeyspace("d"))
			dbtest.Must(t, db.Flush(ctx)) // what is kept does not hang on memtables that are used
			dbtest.Must(t, reader.Put([]byte("x1"), nil))
			dbtest.Must(t, neighbour.Put([]byte("x2"), nil))
			dbtest.Must(t, scanner.Put([]byte("x3"), nil))
			if s, ok := reader.In(d).Get([]byte("k")); !errors.Is(ok, seerdb.ErrNoKeyspace) {
				t.Errorf("%s: a read after the drop: %q, %v", what, s, ok)
			}
			conflicts(t, what+": what read the key", reader.Commit(), true)
			conflicts(t, what+": what scanned over it", scanner.Commit(), true)
			conflicts(t, what+": what read another key", neighbour.Commit(), false)
			if n := db.Metrics().Snapshots; n != 0 {
				t.Errorf("%s: %d snapshots are left", what, n)
			}
			dbtest.Must(t, db.Close())
		}
	}
}

// TestGetForUpdateIsSymmetric: of two concurrent transactions, one of which asks
// for a key that the other writes, only the first commits, whichever that is,
// also when everything else is forgotten. Two that ask do not conflict, nor does
// a serializable one that only wrote what another asked for.
func TestGetForUpdateIsSymmetric(t *testing.T) {
	ask := func(x *seerdb.Txn) error {
		if _, err := x.GetForUpdate([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
			return err
		}
		return nil
	}
	put := func(x *seerdb.Txn) error { return x.Put([]byte("k"), []byte("1")) }
	for _, c := range []struct {
		what          string
		first, second func(*seerdb.Txn) error
		serializable  bool // the second
		conflict      bool
	}{
		{"asked, put", ask, put, false, true},
		{"asked, merged", ask, func(x *seerdb.Txn) error { return x.Merge([]byte("k"), nil) }, false, true},
		{"asked, deleted in a range", ask, func(x *seerdb.Txn) error { return x.DeleteRange([]byte("j"), []byte("l")) }, false, true},
		{"asked, deleted in another range", ask, func(x *seerdb.Txn) error { return x.DeleteRange([]byte("l"), nil) }, false, false},
		{"put, asked", put, ask, false, true},
		{"asked, asked", ask, ask, false, false},
		{"asked, put by a serializable one", ask, put, true, false},
	} {
		for _, lose := range []bool{false, true} {
			o := smallTracker(dbtest.TestOptions{})
			o.Merger = merger.Append{Sep: ","}
			db := dbtest.Open(t, "db", o)
			var second *seerdb.TxnOptions
			if !c.serializable {
				second = dbtest.SnapshotIsolation
			}
			a, b, idle := dbtest.Begin(t, db, dbtest.SnapshotIsolation), dbtest.Begin(t, db, second), dbtest.Begin(t, db, dbtest.SnapshotIsolation)
			dbtest.Must(t, c.first(a))
			dbtest.Must(t, c.second(b))
			dbtest.Must(t, put(idle))
			dbtest.Must(t, a.Put([]byte("a"), nil))
			dbtest.Must(t, b.Put([]byte("b"), nil))
			dbtest.Must(t, a.Commit())
			if lose {
				loseHistory(t, db)
			}
			conflicts(t, fmt.Sprintf("%s, lost %v", c.what, lose), b.Commit(), c.conflict)
			later := dbtest.Begin(t, db, dbtest.SnapshotIsolation) // to one that began after it, it is nothing
			dbtest.Must(t, put(later))
			conflicts(t, c.what+": what began later", later.Commit(), false)
			idle.Rollback()
			dbtest.Must(t, db.Close())
		}
	}
}

// TestGetForUpdateWithoutWritesIsNoCommit: a transaction that asked for a key and
// wrote nothing has no place among the commits, so that it excludes no other.
func TestGetForUpdateWithoutWritesIsNoCommit(t *testing.T) {
	db := dbtest.Open(t, "db", smallTracker(dbtest.TestOptions{}))
	a, b := dbtest.Begin(t, db, dbtest.SnapshotIsolation), dbtest.Begin(t, db, dbtest.SnapshotIsolation)
	_, err := a.GetForUpdate([]byte("k"))
	if !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	dbtest.Must(t, b.Put([]byte("k"), nil))
	dbtest.Must(t, a.Commit())
	dbtest.Must(t, b.Commit())
}
