package main

import (
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// goleveldb writes every commit to the log file before it acks, so its weakest
// class is Buffered; under Relaxed it gives more than was asked for. Its
// transactions exclude all other writers and bypass the log: they are for bulk
// loads, and do not count as transactions here.

func init() {
	register(&Driver{
		Name:   "goleveldb",
		Module: "github.com/syndtr/goleveldb",
		Ack: map[Class]string{
			Relaxed:  "Sync false: written to the log file (more than the class asks)",
			Buffered: "Sync false: written to the log file",
			Sync:     "Sync true: fsync",
		},
		Open: openGoLevelDB,
	})
}

type levelStore struct {
	db *leveldb.DB
	wo *opt.WriteOptions
}

func openGoLevelDB(o StoreOptions) (Store, error) {
	db, err := leveldb.OpenFile(o.Dir, &opt.Options{
		BlockCacheCapacity:     int(o.Cache),
		WriteBuffer:            int(o.Memtable),
		Filter:                 filter.NewBloomFilter(10),
		Compression:            opt.SnappyCompression,
		OpenFilesCacheCapacity: 1000,
	})
	if err != nil {
		return nil, err
	}
	return &levelStore{db: db, wo: &opt.WriteOptions{Sync: o.Class == Sync}}, nil
}

func (s *levelStore) Put(key, value []byte) error { return s.db.Put(key, value, s.wo) }
func (s *levelStore) Delete(key []byte) error     { return s.db.Delete(key, s.wo) }

func (s *levelStore) Get(_, key []byte) ([]byte, bool, error) {
	v, err := s.db.Get(key, nil) // already a copy
	if err == leveldb.ErrNotFound {
		return nil, false, nil
	}
	return v, err == nil, err
}

func (s *levelStore) NewBatch() Batch { return &levelBatch{s: s} }

type levelBatch struct {
	s *levelStore
	b leveldb.Batch
}

func (b *levelBatch) Put(key, value []byte) error {
	b.b.Put(key, value)
	return nil
}

func (b *levelBatch) Delete(key []byte) error {
	b.b.Delete(key)
	return nil
}

func (b *levelBatch) Commit() error {
	if err := b.s.db.Write(&b.b, b.s.wo); err != nil {
		return err
	}
	b.b.Reset()
	return nil
}

func (s *levelStore) NewIter(IterOptions) (Iter, error) {
	return levelIter{s.db.NewIterator(nil, nil)}, nil
}

type levelIter struct{ iterator.Iterator }

func (i levelIter) SeekGE(key []byte) bool { return i.Iterator.Seek(key) }
func (i levelIter) Err() error             { return i.Iterator.Error() }
func (i levelIter) Close() error {
	err := i.Iterator.Error()
	i.Iterator.Release()
	return err
}

// Settle uses CompactRange, which flushes the memtable and waits for its
// compactions.
func (s *levelStore) Settle() error { return s.db.CompactRange(util.Range{}) }

func (s *levelStore) Close() error { return s.db.Close() }
