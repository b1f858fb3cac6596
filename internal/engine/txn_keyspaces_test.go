package engine

import (
	"errors"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// TestKeyspacesOfATransactionUndone: a savepoint takes back what a transaction created and
// dropped since, and the commit does what is left.
func TestKeyspacesOfATransactionUndone(t *testing.T) {
	e := openSmall(t, nil)
	defer e.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	old, err := e.Keyspace("old", KeyspaceChoice{}, true)
	must(err)
	var x Txn
	must(e.Begin(&x, TxnOptions{}))
	create := func(name string) *Keyspace {
		t.Helper()
		k, err := x.Keyspace(name, KeyspaceChoice{}, true)
		must(err)
		return k
	}
	put := func(k *Keyspace) error {
		return x.Write(k, func(b *batch.Batch) error { return b.Put(k.ID(), []byte("key"), []byte("value")) })
	}
	names := func(want ...string) {
		t.Helper()
		if got, err := x.Keyspaces(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	first := create("first")
	must(put(first))
	before := x.Savepoint()
	second := create("second")
	must(put(second))
	must(x.DropKeyspace("old"))
	must(x.DropKeyspace("first"))
	names("second")
	for _, k := range []*Keyspace{old, first} {
		if err := put(k); !errors.Is(err, base.ErrNoKeyspace) {
			t.Errorf("a write to %s, which the transaction dropped: %v", k.Describe(), err)
		}
	}
	must(x.RollbackTo(before))
	names("first", "old")
	if err := put(second); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("a write to a keyspace whose creation was undone: %v", err)
	}
	must(put(old))
	again := create("second")
	if again.ID() == second.ID() {
		t.Error("the number of a keyspace is used again whose creation was undone")
	}
	if same := create("second"); same.ID() != again.ID() {
		t.Error("a keyspace that the transaction has is created again")
	}
	if list, _ := e.Keyspaces(); !slices.Equal(list, []string{"old"}) {
		t.Errorf("others see %q", list)
	}
	_, err = x.Commit(t.Context())
	must(err)
	if list, _ := e.Keyspaces(); !slices.Equal(list, []string{"first", "old", "second"}) {
		t.Errorf("after the commit there are %q", list)
	}
	for name, want := range map[string]bool{"first": true, "old": true, "second": false} {
		k, err := e.Keyspace(name, KeyspaceChoice{}, false)
		must(err)
		if there := get(t, k, "key") != nil; there != want {
			t.Errorf("%s has the row: %v", name, there)
		}
	}
}

// TestConflictsOverKeyspaces: two transactions that create or drop the same name, and one that
// read in a keyspace that another dropped, do not both commit.
func TestConflictsOverKeyspaces(t *testing.T) {
	e := openSmall(t, nil)
	defer e.Close()
	k, err := e.Keyspace("there", KeyspaceChoice{}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Write(func(b *batch.Batch) error { return b.Put(k.ID(), []byte("key"), nil) }); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ one, other func(x *Txn) error }{
		"created twice": {
			func(x *Txn) error { _, err := x.Keyspace("new", KeyspaceChoice{}, true); return err },
			func(x *Txn) error { _, err := x.Keyspace("new", KeyspaceChoice{}, true); return err },
		},
		"dropped under a reader": {
			func(x *Txn) error { return x.DropKeyspace("there") },
			func(x *Txn) error {
				if _, err := x.Has(k, []byte("key")); err != nil {
					return err
				}
				return x.Write(e.Root(), func(b *batch.Batch) error { return b.Put(0, []byte("seen"), nil) })
			},
		},
	} {
		var one, other Txn
		for _, x := range []*Txn{&one, &other} {
			if err := e.Begin(x, TxnOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(c.one(&one), c.other(&other)); err != nil {
			t.Fatal(err)
		}
		if _, err := one.Commit(t.Context()); err != nil {
			t.Errorf("%s: the first: %v", name, err)
		}
		if _, err := other.Commit(t.Context()); !errors.Is(err, base.ErrConflict) {
			t.Errorf("%s: the second: %v", name, err)
		}
	}
	if get(t, e.Root(), "seen") != nil {
		t.Error("a transaction wrote that had a conflict")
	}
}

// TestKeyspacesThatATransactionDoesNotFind: names that mean nothing are errors, and leave the
// transaction as it was.
func TestKeyspacesThatATransactionDoesNotFind(t *testing.T) {
	e := openSmall(t, nil)
	defer e.Close()
	var x Txn
	if err := e.Begin(&x, TxnOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Keyspace("none", KeyspaceChoice{}, false); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("a keyspace that is not there: %v", err)
	}
	if err := x.DropKeyspace("none"); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("a keyspace that is not there is dropped: %v", err)
	}
	if _, err := x.Keyspace("", KeyspaceChoice{}, true); !errors.Is(err, base.ErrInvalidOptions) {
		t.Errorf("a keyspace without a name: %v", err)
	}
	if names, err := x.Keyspaces(); err != nil || len(names) != 0 {
		t.Errorf("there are %q, %v", names, err)
	}
	x.Rollback()
	if _, err := x.Keyspaces(); !errors.Is(err, base.ErrTxnDone) {
		t.Errorf("after the transaction: %v", err)
	}
}
