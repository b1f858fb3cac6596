package isolation

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// engineDB is the database itself under the isolation suite. Keys live in the
// default keyspace, or in another one.
type engineDB struct {
	db *seerdb.DB
	k  *seerdb.Keyspace // nil: the default one
}

func newEngineDB(t testing.TB, keyspace bool, budget int64) *engineDB {
	o := dbtest.With(seerdb.Options{
		Durability: seerdb.Relaxed, MemtableSize: 16 << 10, PageSize: 128, TableSize: 1 << 10, MemoryBudget: budget,
	}, dbtest.TestOptions{FS: memfs.New(), L0Trigger: 2, BaseLevel: 4 << 10})
	db, err := seerdb.Open("db", o)
	dbtest.Must(t, err)
	d := &engineDB{db: db}
	if keyspace {
		d.k, err = db.Keyspace("other", nil)
		dbtest.Must(t, err)
	}
	return d
}

// Begin implements isolationDB.
func (d *engineDB) Begin(l isolationLevel) (isolationTxn, error) {
	o := &seerdb.TxnOptions{}
	if l == snapshotIsolation {
		o.Isolation = seerdb.SnapshotIsolation
	}
	t, err := d.db.Begin(o)
	if err != nil {
		return nil, err
	}
	x := &engineTxn{t: t, tree: t}
	if d.k != nil {
		x.tree = t.In(d.k)
	}
	return x, nil
}

// Disturb implements isolationDB.
func (d *engineDB) Disturb(n uint64) error {
	ctx := context.Background()
	switch n % 16 {
	case 0:
		return d.db.Flush(ctx)
	case 1:
		if d.k != nil {
			return d.k.Compact(ctx, nil, nil)
		}
		return d.db.Compact(ctx, nil, nil)
	}
	return nil
}

// Close implements isolationDB.
func (d *engineDB) Close() error { return d.db.Close() }

// txnTree is a keyspace in a transaction.
type txnTree interface {
	Get(key []byte) ([]byte, error)
	GetForUpdate(key []byte) ([]byte, error)
	Put(key, value []byte) error
	Delete(key []byte) error
	DeleteRange(lo, hi []byte) error
	NewIter(*seerdb.IterOptions) (*seerdb.Iter, error)
	Prefix(p []byte) *seerdb.Rows
}

type engineTxn struct {
	t    *seerdb.Txn
	tree txnTree
}

func found(v []byte, err error) (string, bool, error) {
	if errors.Is(err, seerdb.ErrNotFound) {
		return "", false, nil
	}
	return string(v), err == nil, err
}

func (x *engineTxn) Get(key string) (string, bool, error) { return found(x.tree.Get([]byte(key))) }

func (x *engineTxn) GetForUpdate(key string) (string, bool, error) {
	return found(x.tree.GetForUpdate([]byte(key)))
}

func (x *engineTxn) Put(key, value string) error { return x.tree.Put([]byte(key), []byte(value)) }
func (x *engineTxn) Delete(key string) error     { return x.tree.Delete([]byte(key)) }

func (x *engineTxn) DeleteRange(lo, hi string) error {
	return x.tree.DeleteRange([]byte(lo), []byte(hi))
}

// Scan reads a range between bounds, so that a caller that reads on sees where to stop
// depends on what lies beyond; or by a prefix.
func (x *engineTxn) Scan(lo, hi string, how scanKind) (rows []isolationRow, err error) {
	if how == scanPrefix {
		r := x.tree.Prefix([]byte(lo))
		for k, v := range r.All() {
			rows = append(rows, isolationRow{string(k), string(v)})
		}
		return rows, r.Err()
	}
	it, err := x.tree.NewIter(&seerdb.IterOptions{LowerBound: []byte(lo), UpperBound: []byte(hi)})
	if err != nil {
		return nil, err
	}
	if how == scanReverse {
		for ok := it.SeekLT([]byte(hi)); ok; ok = it.Prev() {
			rows = append(rows, isolationRow{string(it.Key()), string(it.Value())})
		}
		slices.Reverse(rows)
		return rows, it.Close()
	}
	for ok := it.SeekGE([]byte(lo)); ok; ok = it.Next() {
		rows = append(rows, isolationRow{string(it.Key()), string(it.Value())})
	}
	return rows, it.Close()
}

func (x *engineTxn) Commit() error { return x.t.Commit() }

func (x *engineTxn) Rollback() error {
	x.t.Rollback()
	return nil
}
