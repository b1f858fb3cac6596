package api

import (
	"errors"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/typed"
	"github.com/seerdb-go/seerdb/valuecodec"
)

// twoKeyspaces opens a database with two keyspaces, in which k has a value.
func twoKeyspaces(t *testing.T) (db *seerdb.DB, one, two *seerdb.Keyspace) {
	t.Helper()
	db = dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	return db, keyspaceWith(t, db, "one", "1"), keyspaceWith(t, db, "two", "2")
}

// has checks the value of k, where "" is none.
func has(t *testing.T, what string, r seerdb.Reader, want string) {
	t.Helper()
	if v, err := r.Get([]byte("k")); string(v) != want || errors.Is(err, seerdb.ErrNotFound) != (want == "") || err != nil && want != "" {
		t.Errorf("%s: k is %q, %v; want %q", what, v, err, want)
	}
}

// TestBatchInIsTheBatch: what In returns counts, shows, forgets and applies all
// operations of the batch, those of other keyspaces included, also of the zero Batch.
func TestBatchInIsTheBatch(t *testing.T) {
	db, one, two := twoKeyspaces(t)
	for name, b := range map[string]*seerdb.Batch{"new": db.NewBatch(), "zero": {}} {
		in := b.In(one)
		dbtest.Must(t, in.Put([]byte("k"), []byte("forgotten")))
		in.Reset()
		if b.Len() != 0 || in.Len() != 0 || b.Size() != 0 {
			t.Errorf("%s: after Reset %d and %d operations", name, b.Len(), in.Len())
		}
		dbtest.Must(t, b.Put([]byte("k"), []byte(name)))
		dbtest.Must(t, in.Put([]byte("k"), []byte("1"+name)))
		dbtest.Must(t, in.In(two).Put([]byte("k"), []byte("2"+name)))
		var values []string
		dbtest.Must(t, in.Each(func(op seerdb.Op) bool {
			values = append(values, string(op.Value))
			return true
		}))
		if want := []string{name, "1" + name, "2" + name}; !slices.Equal(values, want) || in.Len() != 3 || in.Size() != b.Size() {
			t.Errorf("%s: %d operations, in %d of %d bytes, %q; want %q", name, in.Len(), in.Size(), b.Size(), values, want)
		}
		dbtest.Must(t, db.Apply(in, seerdb.DefaultDurability))
		has(t, name, db, name)
		has(t, name, one, "1"+name)
		has(t, name, two, "2"+name)
	}
}

// TestSnapshotInIsTheSnapshot: what In returns is at the same moment, and closed
// together with the snapshot, whichever of them is closed.
func TestSnapshotInIsTheSnapshot(t *testing.T) {
	db, one, two := twoKeyspaces(t)
	for _, closeIn := range []bool{false, true} {
		s := db.NewSnapshot()
		in := s.In(one)
		dbtest.Must(t, one.Put([]byte("k"), []byte("later")))
		has(t, "at the snapshot", in, "1")
		has(t, "from one keyspace to another", in.In(two), "2")
		has(t, "in the default keyspace", s, "")
		if in.Seq() != s.Seq() {
			t.Errorf("sequences %d and %d", in.Seq(), s.Seq())
		}
		if closeIn {
			in, s = s, in
		}
		dbtest.Must(t, s.Close())
		if _, err := in.Get([]byte("k")); !errors.Is(err, seerdb.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		dbtest.Must(t, in.Close())
		dbtest.Must(t, one.Put([]byte("k"), []byte("1")))
	}
	dbtest.Must(t, db.Close()) // nothing leaks
}

// TestTxnInIsTheTransaction: what In returns ends the transaction, undoes it to a
// savepoint of either, and drops keyspaces in it.
func TestTxnInIsTheTransaction(t *testing.T) {
	db, one, two := twoKeyspaces(t)
	x := dbtest.Begin(t, db, nil)
	in := x.In(one)
	dbtest.Must(t, x.Put([]byte("k"), []byte("0")))
	save := in.Savepoint()
	dbtest.Must(t, x.Put([]byte("k"), []byte("undone")))
	dbtest.Must(t, in.In(two).Put([]byte("k"), []byte("undone")))
	dbtest.Must(t, x.RollbackTo(save))
	has(t, "in the transaction", x, "0")
	has(t, "from one keyspace to another", in.In(two), "2")
	dbtest.Must(t, in.Put([]byte("k"), []byte("1 new")))
	dbtest.Must(t, in.DropKeyspace("two"))
	if in.Seq() != x.Seq() {
		t.Errorf("sequences %d and %d", in.Seq(), x.Seq())
	}
	dbtest.Must(t, in.Commit())
	x.Rollback() // does nothing
	if err := x.Put([]byte("k"), nil); !errors.Is(err, seerdb.ErrTxnDone) {
		t.Errorf("after Commit: %v", err)
	}
	has(t, "committed", db, "0")
	has(t, "committed", one, "1 new")
	if _, err := two.Get([]byte("k")); !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Errorf("a keyspace that was dropped: %v", err)
	}

	x = dbtest.Begin(t, db, nil)
	made, err := x.Keyspace("three", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, made.Put([]byte("k"), []byte("3")))
	dbtest.Must(t, x.Put([]byte("k"), []byte("3")))
	made.Rollback()
	if err := x.Commit(); !errors.Is(err, seerdb.ErrTxnDone) {
		t.Errorf("Commit after Rollback: %v", err)
	}
	has(t, "rolled back", db, "0")
}

// TestTypedTakesInAsItIs: a typed view stays in the keyspace that In named, and goes to
// its own in what is of no keyspace yet.
func TestTypedTakesInAsItIs(t *testing.T) {
	db, one, two := twoKeyspaces(t)
	view := typed.New(one, keycodec.String, valuecodec.String)
	b := db.NewBatch()
	dbtest.Must(t, view.Into(b.In(two)).Put("b", "2"))
	dbtest.Must(t, view.Into(b).Put("b", "1"))
	dbtest.Must(t, db.Apply(b, seerdb.DefaultDurability))
	x := dbtest.Begin(t, db, nil)
	dbtest.Must(t, view.In(x.In(two)).Put("x", "2"))
	dbtest.Must(t, view.Into(x.In(two)).Put("y", "2"))
	dbtest.Must(t, view.In(x).Put("x", "1"))
	both := struct { // a program's type
		seerdb.Reader
		seerdb.Writer
	}{db, x}
	dbtest.Must(t, view.Into(both).Put("y", "1"))
	for _, c := range []struct {
		r    seerdb.Reader
		want string
	}{{x, "1"}, {x.In(two), "2"}} {
		if v, err := view.At(c.r).Get("y"); v != c.want || err != nil {
			t.Errorf("in the transaction %q, %v; want %q", v, err, c.want)
		}
	}
	dbtest.Must(t, x.Commit())
	s := db.NewSnapshot()
	defer s.Close()
	for name, k := range map[string]*seerdb.Keyspace{"1": one, "2": two} {
		for _, key := range []string{"b", "x", "y"} {
			if v, err := view.At(s.In(k)).Get(key); v != name || err != nil {
				t.Errorf("keyspace %s has %q, %v at %s", name, v, err, key)
			}
		}
	}
	if v, err := view.At(s).Get("x"); v != "1" || err != nil {
		t.Errorf("at the snapshot %q, %v", v, err)
	}
}
