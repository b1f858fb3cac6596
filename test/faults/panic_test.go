package faults

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// TestPanicPinsNothing: the code of the program that a read calls may panic, and
// the program may go on. What the read held is let go all the same: tables that
// are not needed any more go, and Close has nothing to complain about.
func TestPanicPinsNothing(t *testing.T) {
	for name, read := range map[string]func(db *seerdb.DB){
		"Range": func(db *seerdb.DB) {
			for range db.Range(nil, nil).All() {
				panic("mine")
			}
		},
		"Keys": func(db *seerdb.DB) {
			for range db.Prefix([]byte("k")).Keys() {
				panic("mine")
			}
		},
		"GetFunc": func(db *seerdb.DB) {
			_ = db.GetFunc([]byte("k"), func([]byte) error { panic("mine") })
		},
		"View": func(db *seerdb.DB) { _ = db.View(func(*seerdb.Snapshot) error { panic("mine") }) },
		"Update": func(db *seerdb.DB) {
			_ = db.Update(context.Background(), func(x *seerdb.Txn) error {
				_, _ = x.Get([]byte("k"))
				panic("mine")
			})
		},
		"iterator of a transaction": func(db *seerdb.DB) {
			_ = db.Update(context.Background(), func(x *seerdb.Txn) error {
				for range x.Range(nil, nil).All() {
					panic("mine")
				}
				return nil
			})
		},
		"GetFunc of a snapshot": func(db *seerdb.DB) {
			s := db.NewSnapshot()
			defer func() { _ = s.Close() }()
			_ = s.GetFunc([]byte("k"), func([]byte) error { panic("mine") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := memfs.New()
			db := dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Relaxed))
			dbtest.Must(t, db.Put([]byte("k"), []byte("v")))
			dbtest.Must(t, db.Flush(context.Background()))
			func() {
				defer func() {
					if r := recover(); r != "mine" {
						t.Errorf("recovered %v", r)
					}
				}()
				read(db)
			}()
			dbtest.Must(t, db.Put([]byte("k"), []byte("w")))
			dbtest.Must(t, db.Compact(context.Background(), nil, nil))
			// What the reader pinned would stay until Close.
			names := dbtest.LiveFiles(t, db, fs)
			if n := strings.Count(strings.Join(names, " "), ".sst"); n != 1 {
				t.Errorf("%d tables are there, where one is enough: %q", n, names)
			}
			dbtest.Must(t, db.Close())
		})
	}
}

// moody is a merge operator that panics at times.
type moody struct {
	merger.Append
	now *bool
}

func (m moody) Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	if *m.now {
		panic("no operator today")
	}
	return m.Append.Full(dst, key, existing, exists, operands)
}

// TestRowsEndWithAPanic: a loop over rows that panics, or in which a merge
// operator does, closes its iterator, and so does a Get. In a transaction that goes on, what the
// iterator saw counts, and the iterator concerns its reader alone.
func TestRowsEndWithAPanic(t *testing.T) {
	o, bad := dbtest.SmallOn(memfs.New(), seerdb.Relaxed), false
	o.Merger = moody{now: &bad}
	db := dbtest.Open(t, "db", o)
	dbtest.Must(t, db.Put([]byte("a"), nil))
	dbtest.Must(t, db.Merge([]byte("b"), []byte("operand")))
	panics := func(read func()) {
		defer func() {
			if bad = false; recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		read()
	}
	loopPanics := func(r *seerdb.Rows, after int) {
		panics(func() {
			for range r.All() {
				if bad = true; after == 0 {
					panic("in the loop")
				}
				after--
			}
		})
	}
	loopPanics(db.Range(nil, nil), 0)
	loopPanics(db.Range(nil, nil), 1)
	panics(func() {
		bad = true
		_, _ = db.Get([]byte("b"))
	})
	panics(func() {
		bad = true
		_, _ = db.ValueLen([]byte("b"))
	})
	if n := db.Metrics().Iterators; n != 0 {
		t.Errorf("%d iterators are open", n)
	}
	for _, call := range []func([]byte, []byte) (bool, error){db.PutIfAbsent, func(k, v []byte) (bool, error) { return db.CompareAndSwap(k, v, v) }} {
		panics(func() {
			bad = true
			_, _ = call([]byte("b"), []byte("c"))
		})
	}
	for after := range 2 {
		x, err := db.Begin(nil)
		dbtest.Must(t, err)
		loopPanics(x.Range(nil, nil), after)
		other, err := db.Begin(nil)
		dbtest.Must(t, err)
		rows := other.Range([]byte("c"), nil)
		for range rows.All() {
			t.Error("a row from nowhere")
		}
		dbtest.Must(t, errors.Join(rows.Err(), other.Put([]byte("d"), nil), db.Put([]byte("a"), nil), x.Put([]byte("e"), nil)))
		if err := x.Commit(); !errors.Is(err, seerdb.ErrConflict) {
			t.Errorf("another client wrote what the transaction read: %v", err)
		}
		dbtest.Must(t, other.Commit())
		dbtest.Must(t, db.Delete([]byte("d")))
	}
	if m := db.Metrics(); m.Iterators != 0 || m.Transactions != 0 || m.OldestSnapshotSeq != 0 {
		t.Errorf("%d iterators and %d transactions are open, the oldest at %d", m.Iterators, m.Transactions, m.OldestSnapshotSeq)
	}
}
