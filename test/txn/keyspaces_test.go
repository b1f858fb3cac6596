package txn

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// keyspaceNames lists the keyspaces of a database, joined.
func keyspaceNames(t *testing.T, l interface{ Keyspaces() ([]string, error) }) string {
	t.Helper()
	names, err := l.Keyspaces()
	dbtest.Must(t, err)
	return strings.Join(names, " ")
}

// rowsIn lists the rows of a tree, joined.
func rowsIn(t *testing.T, r interface {
	Range(lo, hi []byte) *seerdb.Rows
}) string {
	t.Helper()
	return strings.Join(dbtest.Contents(t, r), " ")
}

// TestTxnKeyspaces creates and drops keyspaces in one transaction, with rows in
// them, in the default keyspace and in one that stays: to others all of it comes at
// once, and it is there after a reopening in every durability mode.
func TestTxnKeyspaces(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.Buffered, seerdb.Relaxed, seerdb.NoWAL} {
		t.Run(d.String(), func(t *testing.T) {
			fs := memfs.New()
			o := seerdb.Options{Durability: d}
			db := dbtest.Open(t, "db", dbtest.With(o, dbtest.TestOptions{FS: fs}))
			stays, err := db.Keyspace("stays", nil)
			dbtest.Must(t, err)
			old, err := db.Keyspace("old", nil)
			dbtest.Must(t, err)
			dbtest.Must(t, old.Put([]byte("k"), []byte("old")))
			dbtest.Must(t, stays.Put([]byte("a"), []byte("1")))
			dbtest.Must(t, db.Put([]byte("d"), []byte("1")))
			x, err := db.Begin(nil)
			dbtest.Must(t, err)
			defer x.Rollback()
			in, err := x.Keyspace("new", &seerdb.KeyspaceOptions{Merger: merger.Counter{}})
			dbtest.Must(t, err)
			dbtest.Must(t, in.Put([]byte("x"), []byte("1")))
			dbtest.Must(t, in.Put([]byte("x"), []byte("2"))) // two versions in one commit
			dbtest.Must(t, in.Put([]byte("big"), make([]byte, 5000)))
			dbtest.Must(t, in.Delete([]byte("big")))
			dbtest.Must(t, in.Put([]byte("y"), []byte("3")))
			dbtest.Must(t, x.In(stays).Put([]byte("a"), []byte("2")))
			dbtest.Must(t, x.In(stays).DeleteRange([]byte("b"), nil))
			dbtest.Must(t, x.Put([]byte("d"), []byte("2")))
			dbtest.Must(t, x.DropKeyspace("old"))
			dbtest.WantText(t, "in the transaction", rowsIn(t, in), "x=2 y=3")
			dbtest.WantText(t, "its keyspaces", keyspaceNames(t, x), "new stays")
			dbtest.WantText(t, "others' before", keyspaceNames(t, db), "old stays")
			if _, err := x.In(old).Get([]byte("k")); !errors.Is(err, seerdb.ErrNoKeyspace) {
				t.Errorf("a keyspace that the transaction dropped: %v", err)
			}
			before := db.NewSnapshot()
			dbtest.Must(t, x.Commit())
			dbtest.WantText(t, "a snapshot from before", rowsIn(t, before)+", "+rowsIn(t, before.In(stays)), "d=1, a=1")
			dbtest.Must(t, before.Close())
			check := func() {
				t.Helper()
				dbtest.WantText(t, "names", keyspaceNames(t, db), "new stays")
				k, err := db.Keyspace("new", &seerdb.KeyspaceOptions{Merger: merger.Counter{}})
				dbtest.Must(t, err)
				stays, err := db.Keyspace("stays", nil)
				dbtest.Must(t, err)
				dbtest.WantText(t, "the new one", rowsIn(t, k), "x=2 y=3")
				dbtest.WantText(t, "the one that stays", rowsIn(t, stays), "a=2")
				dbtest.WantText(t, "the default one", rowsIn(t, db), "d=2")
			}
			check()
			if _, err := old.Get([]byte("k")); !errors.Is(err, seerdb.ErrNoKeyspace) {
				t.Errorf("a keyspace that was dropped: %v", err)
			}
			if db.DurableSeq() < db.VisibleSeq() {
				t.Errorf("durable up to %d of %d", db.DurableSeq(), db.VisibleSeq())
			}
			r := fs.CrashClone(memfs.CrashOptions{}) // not even a close
			_ = db.Close()
			db = dbtest.Open(t, "db", dbtest.With(o, dbtest.TestOptions{FS: r}))
			check()
			rep, err := db.Verify(t.Context())
			dbtest.Must(t, err)
			if !rep.Clean() {
				t.Errorf("damage: %v", rep)
			}
		})
	}
}

// TestTxnKeyspacesUndone rolls the creation and the dropping of keyspaces back, to
// savepoints and as a whole.
func TestTxnKeyspacesUndone(t *testing.T) {
	db := dbtest.Open(t, t.TempDir(), nil)
	k, err := db.Keyspace("k", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, k.Put([]byte("a"), []byte("1")))
	x, err := db.Begin(nil)
	dbtest.Must(t, err)
	defer x.Rollback()
	first := x.Savepoint()
	one, err := x.Keyspace("one", nil)
	dbtest.Must(t, err)
	second := x.Savepoint()
	dbtest.Must(t, one.Put([]byte("1"), []byte("1")))
	dbtest.Must(t, x.DropKeyspace("k"))
	again, err := x.Keyspace("k", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, again.Put([]byte("b"), []byte("2")))
	dbtest.Must(t, x.DropKeyspace("one"))
	if err := one.Put([]byte("2"), nil); !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Errorf("a keyspace that was created and dropped: %v", err)
	}
	if err := x.DropKeyspace("one"); !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Errorf("dropped twice: %v", err)
	}
	dbtest.WantText(t, "names", keyspaceNames(t, x), "k")
	dbtest.WantText(t, "k again", rowsIn(t, again), "b=2")
	dbtest.Must(t, x.RollbackTo(second))
	dbtest.WantText(t, "names after the rollback", keyspaceNames(t, x), "k one")
	dbtest.WantText(t, "one", rowsIn(t, one), "")
	dbtest.WantText(t, "k", rowsIn(t, x.In(k)), "a=1")
	if err := again.Put([]byte("c"), nil); !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Errorf("a keyspace whose creation was undone: %v", err)
	}
	dbtest.Must(t, one.Put([]byte("3"), []byte("3")))
	dbtest.Must(t, x.RollbackTo(first))
	if _, err := one.Get([]byte("3")); !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Errorf("a keyspace whose creation was undone: %v", err)
	}
	if err := x.RollbackTo(second); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Errorf("a savepoint that was undone: %v", err)
	}
	two, err := x.Keyspace("two", nil)
	dbtest.Must(t, err)
	if err := x.RollbackTo(second); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Errorf("a savepoint that was undone, with as many steps since: %v", err)
	}
	dbtest.Must(t, two.Put([]byte("z"), []byte("z")))
	dbtest.Must(t, x.Commit())
	dbtest.WantText(t, "names at the end", keyspaceNames(t, db), "k two")
	k2, err := db.Keyspace("two", nil)
	dbtest.Must(t, err)
	dbtest.WantText(t, "two", rowsIn(t, k2), "z=z")
}

// TestTxnKeyspacesRolledBack undoes all that a transaction did to keyspaces.
func TestTxnKeyspacesRolledBack(t *testing.T) {
	db := dbtest.Open(t, t.TempDir(), nil)
	k, err := db.Keyspace("k", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, k.Put([]byte("a"), []byte("1")))
	x, err := db.Begin(nil)
	dbtest.Must(t, err)
	_, err = x.Keyspace("three", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, x.DropKeyspace("k"))
	x.Rollback()
	dbtest.WantText(t, "names", keyspaceNames(t, db), "k")
	dbtest.WantText(t, "k", rowsIn(t, k), "a=1")
	y, err := db.Begin(nil)
	dbtest.Must(t, err)
	defer y.Rollback()
	save := y.Savepoint()
	zero, err := y.Keyspace("zero", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, zero.Put([]byte("z"), []byte("z")))
	dbtest.Must(t, y.RollbackTo(save))
	dbtest.Must(t, y.Put([]byte("d"), []byte("d")))
	dbtest.Must(t, y.Commit()) // as one that never knew of the keyspace
	dbtest.WantText(t, "names after a commit", keyspaceNames(t, db), "k")
	dbtest.WantText(t, "the commit", rowsIn(t, db), "d=d")
}

// txnStep is what one client does in its transaction.
type txnStep func(db *seerdb.DB, x *seerdb.Txn) error

func createsSpace(name string) txnStep {
	return func(_ *seerdb.DB, x *seerdb.Txn) error {
		_, err := x.Keyspace(name, nil)
		return err
	}
}

func dropsSpace(name string) txnStep {
	return func(_ *seerdb.DB, x *seerdb.Txn) error { return x.DropKeyspace(name) }
}

func writesIn(name string) txnStep {
	return func(db *seerdb.DB, x *seerdb.Txn) error {
		k, err := db.Keyspace(name, nil)
		if err != nil {
			return err
		}
		return x.In(k).Put([]byte("a"), []byte("w"))
	}
}

func readsIn(name string) txnStep {
	return func(db *seerdb.DB, x *seerdb.Txn) error {
		k, err := db.Keyspace(name, nil)
		if err != nil {
			return err
		}
		if _, err := x.In(k).Get([]byte("a")); err != nil {
			return err
		}
		return x.Put([]byte("read"), []byte(name))
	}
}

func (a txnStep) and(b txnStep) txnStep {
	return func(db *seerdb.DB, x *seerdb.Txn) error { return errors.Join(a(db, x), b(db, x)) }
}

// TestTxnKeyspaceConflicts lets two clients want the same name, and one write where
// another drops.
func TestTxnKeyspaceConflicts(t *testing.T) {
	for _, c := range []struct {
		name       string
		ours       txnStep
		theirs     txnStep // committed before ours
		isolation  seerdb.Isolation
		want       error
		namesAfter string
	}{
		{"create, create", createsSpace("n"), createsSpace("n"), seerdb.Serializable, seerdb.ErrConflict, "k n"},
		{"create, create of another name", createsSpace("n"), createsSpace("m"), seerdb.Serializable, nil, "k m n"},
		{"drop, drop", dropsSpace("k"), dropsSpace("k"), seerdb.Serializable, seerdb.ErrConflict, ""},
		{"drop, write, serializable", dropsSpace("k"), writesIn("k"), seerdb.Serializable, nil, ""},
		{"drop, write, snapshot", dropsSpace("k"), writesIn("k"), seerdb.SnapshotIsolation, seerdb.ErrConflict, "k"},
		{"write, drop", writesIn("k"), dropsSpace("k"), seerdb.Serializable, seerdb.ErrNoKeyspace, ""},
		{"create and write, drop", createsSpace("n").and(writesIn("k")), dropsSpace("k"), seerdb.Serializable, seerdb.ErrNoKeyspace, ""},
		{"create and read, write", createsSpace("n").and(readsIn("k")), writesIn("k"), seerdb.Serializable, seerdb.ErrConflict, "k"},
		{"read, drop", readsIn("k"), dropsSpace("k"), seerdb.Serializable, seerdb.ErrConflict, ""},
		{"read, drop, snapshot", readsIn("k"), dropsSpace("k"), seerdb.SnapshotIsolation, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := dbtest.Open(t, t.TempDir(), nil)
			k, err := db.Keyspace("k", nil)
			dbtest.Must(t, err)
			dbtest.Must(t, k.Put([]byte("a"), []byte("1")))
			x, err := db.Begin(&seerdb.TxnOptions{Isolation: c.isolation})
			dbtest.Must(t, err)
			defer x.Rollback()
			dbtest.Must(t, c.ours(db, x))
			y, err := db.Begin(&seerdb.TxnOptions{Isolation: c.isolation})
			dbtest.Must(t, err)
			defer y.Rollback()
			dbtest.Must(t, c.theirs(db, y))
			dbtest.Must(t, y.Commit())
			if err := x.Commit(); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			dbtest.WantText(t, "names", keyspaceNames(t, db), c.namesAfter)
			dbtest.Must(t, db.Put([]byte("after"), nil)) // nothing is held back
		})
	}
}

// TestTxnKeyspacesBesideOthers moves rows from keyspace to keyspace, each time to a
// new one, while others read them, or write beside them: one that finds a keyspace gone
// finds, in reads that begin then, its rows in the next one.
func TestTxnKeyspacesBesideOthers(t *testing.T) {
	for name, use := range map[string]func(k *seerdb.Keyspace) error{
		"get":  func(k *seerdb.Keyspace) error { _, err := k.Get([]byte("row")); return err },
		"iter": func(k *seerdb.Keyspace) error { return drain(k.NewIter(nil)) },
		"put":  func(k *seerdb.Keyspace) error { return k.Put([]byte("beside"), nil) },
	} {
		t.Run(name, func(t *testing.T) { testTxnKeyspacesBeside(t, use) })
	}
}

// drain walks over an iterator and closes it.
func drain(it *seerdb.Iter, err error) error {
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
	}
	return it.Close()
}

func testTxnKeyspacesBeside(t *testing.T, use func(*seerdb.Keyspace) error) {
	o := seerdb.Options{Durability: seerdb.Relaxed} // so that writes are as frequent as reads
	db := dbtest.Open(t, "db", dbtest.With(o, dbtest.TestOptions{FS: memfs.New()}))
	first, err := db.Keyspace("at 0", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, first.Put([]byte("row"), []byte("0")))
	dbtest.Must(t, db.Put([]byte("at"), []byte("0")))
	rounds := 200
	if testing.Short() || dbtest.RaceEnabled {
		rounds = 40
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				// The name is read before the keyspace: at each failure it has moved.
				at, err := db.Get([]byte("at"))
				dbtest.Must(t, err)
				k, err := db.Keyspace("at "+string(at), &seerdb.KeyspaceOptions{ErrorIfMissing: true})
				for err == nil { // until it is dropped, so that no moment of that is missed
					select {
					case <-done:
						return
					default:
						err = use(k)
					}
				}
				now, nerr := db.Get([]byte("at"))
				if nerr != nil || string(now) == string(at) || !errors.Is(err, seerdb.ErrNoKeyspace) {
					t.Errorf("at %s: %v; now at %s, %v", at, err, now, nerr)
					return
				}
			}
		})
	}
	for i := 1; i <= rounds; i++ {
		err := db.Update(t.Context(), func(x *seerdb.Txn) error {
			to, err := x.Keyspace(fmt.Sprint("at ", i), nil)
			if err != nil {
				return err
			}
			return errors.Join(
				to.Put([]byte("row"), fmt.Append(nil, i)),
				x.Put([]byte("at"), fmt.Append(nil, i)),
				x.DropKeyspace(fmt.Sprint("at ", i-1)))
		})
		if err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	wg.Wait()
	dbtest.WantText(t, "at the end", keyspaceNames(t, db), fmt.Sprint("at ", rounds))
}

// TestTxnKeyspacesBesideDrops: another client drops a keyspace that the transaction
// writes to, at any moment of its commit.
func TestTxnKeyspacesBesideDrops(t *testing.T) {
	var o seerdb.Options
	for i := range 12 {
		db := dbtest.Open(t, "db", dbtest.With(o, dbtest.TestOptions{FS: memfs.New()}))
		k, err := db.Keyspace("k", nil)
		dbtest.Must(t, err)
		x, err := db.Begin(nil)
		dbtest.Must(t, err)
		dbtest.Must(t, x.In(k).Put([]byte("a"), []byte("1")))
		_, err = x.Keyspace("new", nil)
		dbtest.Must(t, err)
		for j := range 100_000 { // what the commit is at for a while
			dbtest.Must(t, x.Put(fmt.Append(nil, j), nil))
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 4 * time.Millisecond)
			if err := db.DropKeyspace("k"); err != nil {
				t.Error(err)
			}
		})
		err = x.Commit()
		wg.Wait()
		want := "new"
		if errors.Is(err, seerdb.ErrNoKeyspace) {
			err, want = nil, ""
		}
		dbtest.Must(t, err)
		dbtest.WantText(t, "names", keyspaceNames(t, db), want)
		dbtest.Must(t, db.Put([]byte("after"), nil)) // nothing is held back
		dbtest.Must(t, db.Close())
	}
}

// TestTxnKeyspacesTooLarge: what a transaction does to keyspaces counts against its
// share of the budget, and the call that is too much says so, not the commit.
func TestTxnKeyspacesTooLarge(t *testing.T) {
	for _, isolation := range []seerdb.Isolation{seerdb.Serializable, seerdb.SnapshotIsolation} {
		o, to := dbtest.Tiny()
		to.FS = memfs.New()
		db := dbtest.Open(t, "db", dbtest.With(o, to))
		x, err := db.Begin(&seerdb.TxnOptions{Isolation: isolation})
		dbtest.Must(t, err)
		put := 0
		for err == nil {
			err = x.Put(fmt.Appendf(nil, "%08d", put), nil)
			put++
		}
		if !errors.Is(err, seerdb.ErrTxnTooLarge) {
			t.Fatal(err)
		}
		made := 0
		for err = nil; err == nil && made < 1000; made++ {
			_, err = x.Keyspace(fmt.Sprint("n", made), nil)
		}
		if !errors.Is(err, seerdb.ErrTxnTooLarge) || made > 10 {
			t.Errorf("%d keyspaces beside %d puts: %v", made, put, err)
		}
		dbtest.Must(t, x.Commit())
		y, err := db.Begin(&seerdb.TxnOptions{Isolation: isolation})
		dbtest.Must(t, err)
		made = 0
		for ; err == nil; made++ {
			_, err = y.Keyspace(fmt.Sprintf("%01000d", made), nil)
		}
		if !errors.Is(err, seerdb.ErrTxnTooLarge) || int64(made) > o.MemoryBudget/4/1000 {
			t.Errorf("%d keyspaces with long names: %v", made, err)
		}
		dbtest.Must(t, y.Commit())
		dbtest.Must(t, db.Close())
	}
}

// TestTxnKeyspacesReadOnly refuses both at once, in a transaction that only reads and
// in a database that was opened so.
func TestTxnKeyspacesReadOnly(t *testing.T) {
	dir := t.TempDir()
	db, err := seerdb.Open(dir, nil)
	dbtest.Must(t, err)
	_, err = db.Keyspace("k", nil)
	dbtest.Must(t, err)
	check := func(x *seerdb.Txn) {
		t.Helper()
		defer x.Rollback()
		if _, err := x.Keyspace("new", nil); !errors.Is(err, seerdb.ErrReadOnly) {
			t.Errorf("created: %v", err)
		}
		if err := x.DropKeyspace("k"); !errors.Is(err, seerdb.ErrReadOnly) {
			t.Errorf("dropped: %v", err)
		}
		if _, err := x.Keyspace("k", nil); err != nil {
			t.Errorf("opened: %v", err)
		}
	}
	x, err := db.Begin(&seerdb.TxnOptions{ReadOnly: true})
	dbtest.Must(t, err)
	check(x)
	dbtest.Must(t, db.Close())
	db = dbtest.Open(t, dir, &seerdb.Options{ReadOnly: true})
	x, err = db.Begin(nil)
	dbtest.Must(t, err)
	check(x)
}
