package txn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// TestTxnReadsItsOwnWrites: every kind of write shows in gets and iterators of
// the transaction, in both directions, and to no other client before the commit.
func TestTxnReadsItsOwnWrites(t *testing.T) {
	o := dbtest.SmallOn(memfs.New(), seerdb.Sync)
	o.Merger = merger.Append{Sep: ","}
	db := dbtest.Open(t, "db", o)
	other, err := db.Keyspace("other", &seerdb.KeyspaceOptions{Merger: merger.Append{Sep: ","}})
	dbtest.Must(t, err)
	for i := range 40 { // more than are searched one by one
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "k%02d", i), []byte("old")))
		dbtest.Must(t, other.Put(fmt.Appendf(nil, "k%02d", i), []byte("old")))
	}
	dbtest.Must(t, db.Flush(context.Background()))
	dbtest.Must(t, db.Put([]byte("k39"), []byte("newer")))
	dbtest.Must(t, other.Put([]byte("k39"), []byte("newer")))
	x := dbtest.Begin(t, db, nil)
	for _, s := range []interface {
		Get(key []byte) ([]byte, error)
		Has(key []byte) (bool, error)
		Put(key, value []byte) error
		Delete(key []byte) error
		DeleteRange(lo, hi []byte) error
		Merge(key, operand []byte) error
		PutTTL(key, value []byte, d time.Duration) error
		Range(lo, hi []byte) *seerdb.Rows
	}{x, x.In(other)} {
		dbtest.Must(t, s.DeleteRange([]byte("k05"), []byte("k35")))
		for i := 10; i < 30; i++ {
			dbtest.Must(t, s.Put(fmt.Appendf(nil, "k%02d", i), []byte("new")))
		}
		dbtest.Must(t, s.DeleteRange([]byte("k12"), []byte("k28")))
		dbtest.Must(t, s.Merge([]byte("k01"), []byte("more")))
		dbtest.Must(t, s.Merge([]byte("k11"), []byte("more")))
		dbtest.Must(t, s.Merge([]byte("k20"), []byte("alone")))
		dbtest.Must(t, s.Delete([]byte("k02")))
		dbtest.Must(t, s.PutTTL([]byte("k03"), []byte("for an hour"), time.Hour))
		dbtest.Must(t, s.Delete([]byte("k04")))
		got := dbtest.Contents(t, s)
		want := []string{"k00=old", "k01=old,more", "k03=for an hour", "k10=new", "k11=new,more", "k20=alone", "k28=new", "k29=new"}
		if len(got) < len(want) || strings.Join(got[:len(want)], " ") != strings.Join(want, " ") || len(got) != len(want)+5 {
			t.Fatalf("got %q", got)
		}
		for _, row := range got {
			k, v, _ := strings.Cut(row, "=")
			if b, err := s.Get([]byte(k)); err != nil || string(b) != v {
				t.Fatalf("get %s: %q, %v; the scan says %q", k, b, err, v)
			}
		}
		for _, gone := range []string{"k02", "k04", "k05", "k15", "k27", "k34"} {
			if has, err := s.Has([]byte(gone)); has || err != nil {
				t.Fatalf("has %s: %v, %v", gone, has, err)
			}
		}
	}
	if n := len(dbtest.Contents(t, db)); n != 40 {
		t.Fatalf("the database shows %d rows before the commit", n)
	}
	seen := dbtest.Contents(t, x)
	dbtest.Must(t, x.Commit())
	if d := strings.Join(dbtest.Contents(t, db), " "); d != strings.Join(seen, " ") || d != strings.Join(dbtest.Contents(t, other), " ") {
		t.Fatalf("committed: %q, the transaction saw %q", d, seen)
	}
}

// TestTxnSavepoints: what is undone is undone for gets, scans and the commit.
func TestTxnSavepoints(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	x := dbtest.Begin(t, db, nil)
	put := func(keys ...string) {
		for _, k := range keys {
			dbtest.Must(t, x.Put([]byte(k), []byte(k)))
		}
	}
	put("a", "b")
	s1 := x.Savepoint()
	put("c")
	dbtest.Must(t, x.DeleteRange(nil, []byte("b")))
	s2 := x.Savepoint()
	put("d")
	it, err := x.NewIter(nil)
	dbtest.Must(t, err)
	dbtest.Must(t, x.RollbackTo(s2))
	put("e")
	for k, n := "", 0; it.Next(); n++ {
		if k = string(it.Key()); k != []string{"b", "c", "d"}[n] || string(it.Value()) != k {
			t.Fatalf("the iterator, opened before, shows %q=%q", k, it.Value())
		}
	}
	dbtest.Must(t, it.Close())
	if got := fmt.Sprint(dbtest.Contents(t, x)); got != "[b=b c=c e=e]" {
		t.Fatal(got)
	}
	dbtest.Must(t, x.RollbackTo(s1))
	dbtest.Must(t, x.RollbackTo(s1))
	if err := x.RollbackTo(s2); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Fatalf("rolled back to a savepoint that was undone: %v", err)
	}
	put("f")
	dbtest.Must(t, x.Commit())
	if got := fmt.Sprint(dbtest.Contents(t, db)); got != "[a=a b=b f=f]" {
		t.Fatal(got)
	}
}

// TestTxnLife: what a transaction answers when it is over, too large, or may
// only read, and how one that was forgotten is found.
func TestTxnLife(t *testing.T) {
	o := dbtest.SmallOn(memfs.New(), seerdb.Sync)
	o.MemoryBudget = 1 << 20
	db, err := seerdb.Open("db", o) // it is closed with a transaction open
	dbtest.Must(t, err)
	x := dbtest.Begin(t, db, nil)
	dbtest.Must(t, x.Put([]byte("k"), nil))
	dbtest.Must(t, x.Commit())
	for _, err := range []error{x.Commit(), x.Put(nil, nil), x.RollbackTo(x.Savepoint())} {
		if !errors.Is(err, seerdb.ErrTxnDone) {
			t.Fatalf("after the end: %v", err)
		}
	}
	r := dbtest.Begin(t, db, &seerdb.TxnOptions{ReadOnly: true})
	if err := r.Put(nil, nil); !errors.Is(err, seerdb.ErrReadOnly) {
		t.Fatal(err)
	}
	dbtest.Must(t, r.Commit())
	big := dbtest.Begin(t, db, nil)
	n := 0
	for ; ; n++ {
		if err := big.Put(fmt.Appendf(nil, "%06d", n), make([]byte, 1000)); err != nil {
			if !errors.Is(err, seerdb.ErrTxnTooLarge) || n < 200 {
				t.Fatalf("%d writes: %v", n, err)
			}
			break
		}
	}
	dbtest.Must(t, big.Commit()) // the write that was refused left the others as they were
	if got := len(dbtest.Contents(t, db)); got != n+1 {
		t.Fatalf("%d rows, want %d", got, n+1)
	}
	if _, err := db.Begin(nil); err != nil {
		t.Fatal(err)
	}
	if m := db.Metrics(); m.Transactions != 1 || m.Snapshots != 0 {
		t.Fatalf("%d transactions, %d snapshots", m.Transactions, m.Snapshots)
	}
	if err := db.Close(); err == nil || !strings.Contains(err.Error(), "transaction made at") || !strings.Contains(err.Error(), "txn_test.go") {
		t.Fatalf("closed with a transaction open: %v", err)
	}
	if _, err := db.Begin(nil); !errors.Is(err, seerdb.ErrClosed) {
		t.Fatal(err)
	}
}

// TestPlainWritesConflict: a transaction notices what Put, Apply, DeleteRange
// and Merge did in between; nothing of it is applied then.
func TestPlainWritesConflict(t *testing.T) {
	o := dbtest.SmallOn(memfs.New(), seerdb.Sync)
	o.Merger = merger.Append{}
	db := dbtest.Open(t, "db", o)
	for name, write := range map[string]func() error{
		"put":       func() error { return db.Put([]byte("k"), nil) },
		"delete":    func() error { return db.Delete([]byte("k")) },
		"range":     func() error { return db.DeleteRange([]byte("a"), nil) },
		"merge":     func() error { return db.Merge([]byte("k"), []byte("x")) },
		"condition": func() error { _, err := db.CompareAndSwap([]byte("k"), []byte("v"), []byte("w")); return err },
	} {
		dbtest.Must(t, db.Put([]byte("k"), []byte("v")))
		x := dbtest.Begin(t, db, nil)
		if _, err := x.Get([]byte("k")); err != nil {
			t.Fatal(err)
		}
		dbtest.Must(t, x.Put([]byte("mine"), []byte(name)))
		dbtest.Must(t, write())
		if err := x.Commit(); !errors.Is(err, seerdb.ErrConflict) {
			t.Fatalf("%s: %v", name, err)
		}
		if has, err := db.Has([]byte("mine")); has || err != nil {
			t.Fatalf("%s: %v, %v", name, has, err)
		}
	}
}

// TestUpdateCounts: concurrent read-modify-writes lose nothing, through Update
// and through conditional puts.
func TestUpdateCounts(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Relaxed))
	ctx := context.Background()
	const workers, rounds = 4, 100
	var swaps atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				err := db.Update(ctx, func(x *seerdb.Txn) error {
					var n int
					if v, err := x.Get([]byte("n")); err == nil {
						_, _ = fmt.Sscan(string(v), &n)
					} else if !errors.Is(err, seerdb.ErrNotFound) {
						return err
					}
					return x.Put([]byte("n"), fmt.Append(nil, n+1))
				})
				if err != nil {
					t.Error(err)
				}
				old, err := db.Get([]byte("swapped"))
				if err != nil && !errors.Is(err, seerdb.ErrNotFound) {
					t.Error(err)
				}
				if ok, err := db.CompareAndSwap([]byte("swapped"), old, append(old, 'x')); err != nil {
					t.Error(err)
				} else if ok {
					swaps.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if v, err := db.Get([]byte("n")); err != nil || string(v) != fmt.Sprint(workers*rounds) {
		t.Fatalf("%s, %v", v, err)
	}
	if v, err := db.Get([]byte("swapped")); err != nil || int64(len(v)) != swaps.Load() {
		t.Fatalf("%d swaps, %d in the value, %v", swaps.Load(), len(v), err)
	}
	if ok, err := db.PutIfAbsent([]byte("n"), nil); ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	if ok, err := db.PutIfAbsent([]byte("fresh"), []byte("1")); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := db.Update(cancelled, func(*seerdb.Txn) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestTxnGetFunc: GetFunc sees what Get sees, is a read like it, and lets the
// function use the transaction.
func TestTxnGetFunc(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	k, err := db.Keyspace("k", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
	x := dbtest.Begin(t, db, nil)
	dbtest.Must(t, x.In(k).Put([]byte("b"), []byte("2")))
	var got string
	dbtest.Must(t, x.GetFunc([]byte("a"), func(a []byte) error {
		return x.In(k).GetFunc([]byte("b"), func(b []byte) error {
			got = string(a) + string(b)
			return x.Put(b, a)
		})
	}))
	if v, err := x.Get([]byte("2")); got != "12" || string(v) != "1" {
		t.Errorf("got %q, then %q, %v", got, v, err)
	}
	if err := x.GetFunc([]byte("c"), nil); err != seerdb.ErrNotFound {
		t.Errorf("a key that is not there: %v", err)
	}
	dbtest.Must(t, db.Put([]byte("c"), nil)) // what was not there is a dependence too
	if err := x.Commit(); !errors.Is(err, seerdb.ErrConflict) {
		t.Errorf("commit: %v", err)
	}
}
