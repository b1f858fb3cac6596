package main

import (
	"context"
	"errors"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/merger"
)

// seerdb, with its defaults except for memory and durability. Its budget is the
// run's cache, which must also hold what rivals have beside their caches
// (memtables, indexes, filters).

func init() {
	register(&Driver{
		Name:   "seerdb",
		Module: "github.com/seerdb-go/seerdb",
		Ack: map[Class]string{
			Relaxed:  "Relaxed: in the log's memory, written within milliseconds",
			Buffered: "Buffered: written to the log file",
			Sync:     "Sync: fdatasync",
		},
		Has:  []Feature{Transactions, RangeDeletes, MergeOperator},
		Open: openSeerDB,
	})
}

var seerDurability = map[Class]seerdb.Durability{
	Relaxed: seerdb.Relaxed, Buffered: seerdb.Buffered, Sync: seerdb.Sync,
}

type seerStore struct{ db *seerdb.DB }

func openSeerDB(o StoreOptions) (Store, error) {
	db, err := seerdb.Open(o.Dir, &seerdb.Options{
		Durability:   seerDurability[o.Class],
		MemoryBudget: o.Cache,
		MemtableSize: int(o.Memtable),
		Merger:       merger.Counter{},
	})
	if err != nil {
		return nil, err
	}
	return &seerStore{db}, nil
}

func (s *seerStore) Put(key, value []byte) error     { return s.db.Put(key, value) }
func (s *seerStore) Delete(key []byte) error         { return s.db.Delete(key) }
func (s *seerStore) DeleteRange(lo, hi []byte) error { return s.db.DeleteRange(lo, hi) }

func (s *seerStore) Add(key []byte, delta int64) error {
	var operand [8]byte
	return s.db.Merge(key, merger.AppendInt64(operand[:0], delta))
}

// Transact counts conflicts by how often fn runs; Update gives up after many of
// them.
func (s *seerStore) Transact(fn func(Tx) error) (conflicts int, err error) {
	runs := 0
	for {
		err := s.db.Update(context.Background(), func(t *seerdb.Txn) error {
			runs++
			return fn(seerTx{t})
		})
		if !errors.Is(err, seerdb.ErrConflict) {
			return runs - 1, err
		}
	}
}

type seerTx struct{ t *seerdb.Txn }

func (t seerTx) Put(key, value []byte) error { return t.t.Put(key, value) }

func (t seerTx) Get(dst, key []byte) ([]byte, bool, error) {
	v, err := t.t.AppendGet(dst[:0], key)
	if errors.Is(err, seerdb.ErrNotFound) {
		return nil, false, nil
	}
	return v, err == nil, err
}

func (s *seerStore) Get(dst, key []byte) ([]byte, bool, error) {
	v, err := s.db.AppendGet(dst[:0], key)
	if errors.Is(err, seerdb.ErrNotFound) {
		return nil, false, nil
	}
	return v, err == nil, err
}

func (s *seerStore) NewBatch() Batch { return &seerBatch{s.db, s.db.NewBatch()} }

type seerBatch struct {
	db *seerdb.DB
	b  *seerdb.Batch
}

func (b *seerBatch) Put(key, value []byte) error { return b.b.Put(key, value) }
func (b *seerBatch) Delete(key []byte) error     { return b.b.Delete(key) }

func (b *seerBatch) Commit() error {
	if err := b.db.Apply(b.b, seerdb.DefaultDurability); err != nil {
		return err
	}
	b.b.Reset()
	return nil
}

func (s *seerStore) NewIter(IterOptions) (Iter, error) { return s.db.NewIter(nil) }

func (s *seerStore) Settle() error {
	if err := s.db.Flush(context.Background()); err != nil {
		return err
	}
	if err := s.db.Compact(context.Background(), nil, nil); err != nil {
		return err
	}
	for m := s.db.Metrics(); m.Compactions.Running+m.Flushes.Running > 0; m = s.db.Metrics() {
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (s *seerStore) Close() error { return s.db.Close() }
