package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

var snapshotIsolationOf = &seerdb.TxnOptions{Isolation: seerdb.SnapshotIsolation}

// smallTracker has room for the records of few commits, so that one batch of
// 400 keys takes their history from the transactions that are open.
func smallTracker(to seerdb.TestOptions) *seerdb.Options {
	to.FS, to.ManualOnly = memfs.New(), true
	return seerdb.Options{MemoryBudget: 1 << 20, MemtableSize: 256 << 10}.With(to)
}

// loseHistory makes the tracker forget the history that open transactions need.
func loseHistory(t *testing.T, db *seerdb.DB) {
	t.Helper()
	b := db.NewBatch()
	for i := range 400 {
		must(t, b.Put(fmt.Appendf(nil, "junk%d", i), nil))
	}
	must(t, db.Apply(b, seerdb.DefaultDurability))
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
		for _, o := range []*seerdb.TxnOptions{nil, snapshotIsolationOf} {
			db := open(t, "db", smallTracker(seerdb.TestOptions{}))
			x, untouched := begin(t, db, o), begin(t, db, o)
			_, err := x.GetForUpdate([]byte("k"))
			if !errors.Is(err, seerdb.ErrNotFound) {
				t.Fatal(err)
			}
			must(t, x.Put([]byte("k"), []byte("mine")))
			must(t, untouched.Put([]byte("l"), nil))
			y := begin(t, db, o)
			must(t, y.Put([]byte("k"), []byte("theirs")))
			must(t, y.Commit())
			must(t, db.SingleDelete([]byte("k")))
			if lose {
				loseHistory(t, db)
			}
			must(t, db.Flush(ctx))
			conflicts(t, fmt.Sprintf("history lost %v, %+v", lose, o), x.Commit(), true)
			conflicts(t, "a writer of another key", untouched.Commit(), false)
			must(t, db.DeleteRange([]byte("junk"), []byte("junl")))
			must(t, db.Delete([]byte("l")))
			must(t, db.Compact(ctx, nil, nil))
			for _, l := range db.Metrics().Levels {
				if l.Entries != 0 {
					t.Errorf("history lost %v: %d entries are left", lose, l.Entries)
				}
			}
			must(t, db.Close())
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
			db := open(t, "db", smallOn(fs, seerdb.Sync))
			must(t, db.Put([]byte("k"), []byte("v")))
			x := begin(t, db, nil)
			_, err := x.Get([]byte("k"))
			must(t, err)
			must(t, x.Put([]byte("m"), []byte("w")))
			if before {
				must(t, db.Put([]byte("k"), []byte("changed")))
			}
			fs.SetCapacity(fs.Used())
			if err := refuse(db); !errors.Is(err, seerdb.ErrNoSpace) || errors.Is(err, seerdb.ErrCommitUnknown) {
				t.Fatalf("%s on a full disk: %v", name, err)
			}
			fs.SetCapacity(0)
			conflicts(t, fmt.Sprintf("after a refused %s, with a commit before it %v", name, before), x.Commit(), before)
			must(t, db.Close())
		}
	}
}

// TestLoadThatFailsInItsPlaceLeavesNoTrace: a load that had its sequence, so that
// its range was recorded for the transactions that are open, and whose tables the
// manifest then could not take, makes no conflict. One that succeeds does.
func TestLoadThatFailsInItsPlaceLeavesNoTrace(t *testing.T) {
	for _, fails := range []bool{true, false} {
		fs := faultfs.New(memfs.New())
		db := open(t, "db", smallOn(fs, seerdb.Sync))
		must(t, db.Put([]byte("k"), []byte("v")))
		must(t, db.Flush(context.Background()))
		x := begin(t, db, nil)
		_, err := x.Get([]byte("k"))
		must(t, err)
		must(t, x.Put([]byte("m"), []byte("w")))
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
			must(t, err)
		}
		conflicts(t, fmt.Sprintf("after a load around the key, which fails %v", fails), x.Commit(), !fails)
		if got := fmt.Sprint(contents(t, db)); fails && got != "[k=v m=w]" {
			t.Errorf("after a load that failed: %s", got)
		}
		must(t, db.Close())
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
		for _, o := range []*seerdb.TxnOptions{nil, snapshotIsolationOf} {
			what := fmt.Sprintf("flushed %v, %+v", flush, o)
			db := open(t, "db", smallTracker(seerdb.TestOptions{}))
			d, err := db.Keyspace("d", nil)
			must(t, err)
			for _, k := range []string{"k", "n"} {
				must(t, d.Put([]byte(k), []byte("0")))
			}
			reader, neighbour, scanner := begin(t, db, o), begin(t, db, o), begin(t, db, nil)
			_, err = reader.In(d).GetForUpdate([]byte("k"))
			must(t, err)
			_, err = neighbour.In(d).GetForUpdate([]byte("n"))
			must(t, err)
			rows := scanner.In(d).Range([]byte("a"), []byte("l"))
			if got := collect(rows.Keys()); got != "k" {
				t.Errorf("%s: the scan shows %q", what, got)
			}
			writer := begin(t, db, o)
			must(t, writer.In(d).Put([]byte("k"), []byte("1")))
			must(t, writer.Commit())
			if flush {
				must(t, db.Flush(ctx))
			}
			loseHistory(t, db)
			must(t, db.DropKeyspace("d"))
			must(t, db.Flush(ctx)) // what is kept does not hang on memtables that are used
			must(t, reader.Put([]byte("x1"), nil))
			must(t, neighbour.Put([]byte("x2"), nil))
			must(t, scanner.Put([]byte("x3"), nil))
			if s, ok := reader.In(d).Get([]byte("k")); !errors.Is(ok, seerdb.ErrNoKeyspace) {
				t.Errorf("%s: a read after the drop: %q, %v", what, s, ok)
			}
			conflicts(t, what+": what read the key", reader.Commit(), true)
			conflicts(t, what+": what scanned over it", scanner.Commit(), true)
			conflicts(t, what+": what read another key", neighbour.Commit(), false)
			if n := db.Metrics().Snapshots; n != 0 {
				t.Errorf("%s: %d snapshots are left", what, n)
			}
			must(t, db.Close())
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
			o := smallTracker(seerdb.TestOptions{})
			o.Merger = merger.Append{Sep: ","}
			db := open(t, "db", o)
			var second *seerdb.TxnOptions
			if !c.serializable {
				second = snapshotIsolationOf
			}
			a, b, idle := begin(t, db, snapshotIsolationOf), begin(t, db, second), begin(t, db, snapshotIsolationOf)
			must(t, c.first(a))
			must(t, c.second(b))
			must(t, put(idle))
			must(t, a.Put([]byte("a"), nil))
			must(t, b.Put([]byte("b"), nil))
			must(t, a.Commit())
			if lose {
				loseHistory(t, db)
			}
			conflicts(t, fmt.Sprintf("%s, lost %v", c.what, lose), b.Commit(), c.conflict)
			later := begin(t, db, snapshotIsolationOf) // to one that began after it, it is nothing
			must(t, put(later))
			conflicts(t, c.what+": what began later", later.Commit(), false)
			idle.Rollback()
			must(t, db.Close())
		}
	}
}

// TestGetForUpdateWithoutWritesIsNoCommit: a transaction that asked for a key and
// wrote nothing has no place among the commits, so that it excludes no other.
func TestGetForUpdateWithoutWritesIsNoCommit(t *testing.T) {
	db := open(t, "db", smallTracker(seerdb.TestOptions{}))
	a, b := begin(t, db, snapshotIsolationOf), begin(t, db, snapshotIsolationOf)
	_, err := a.GetForUpdate([]byte("k"))
	if !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	must(t, b.Put([]byte("k"), nil))
	must(t, a.Commit())
	must(t, b.Commit())
}
