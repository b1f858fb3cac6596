package main

import (
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// Badger. Its log is a mapped file: without SyncWrites a commit is in the page
// cache when it is acked, so a kill loses nothing, and its weakest class is
// Buffered. With SyncWrites it acks after msync.

func init() {
	register(&Driver{
		Name:   "badger",
		Module: "github.com/dgraph-io/badger/v4",
		Ack: map[Class]string{
			Relaxed:  "SyncWrites false: in the mapped log (more than the class asks)",
			Buffered: "SyncWrites false: in the mapped log",
			Sync:     "SyncWrites true: msync",
		},
		Has: []Feature{Transactions},
		Open: func(o StoreOptions) (Store, error) {
			s := &badgerStore{opts: badgerOptions(o)}
			return s, s.open()
		},
	})
}

func badgerOptions(o StoreOptions) badger.Options {
	return badger.DefaultOptions(o.Dir).
		WithSyncWrites(o.Class == Sync).
		WithMemTableSize(o.Memtable).
		WithBlockCacheSize(o.Cache).
		WithValueThreshold(min(1<<20, o.Memtable/10)). // the default, unless the memtable is too small for it
		WithDetectConflicts(o.Conflicts).              // it need not look for them where no other engine does
		WithMetricsEnabled(false).
		WithLogger(nil)
}

type badgerStore struct {
	opts badger.Options
	db   *badger.DB // changed only by Settle, which runs alone
}

func (s *badgerStore) open() (err error) {
	s.db, err = badger.Open(s.opts)
	return err
}

func (s *badgerStore) Put(key, value []byte) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	if err := txn.Set(key, value); err != nil {
		return err
	}
	return txn.Commit()
}

func (s *badgerStore) Delete(key []byte) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	if err := txn.Delete(key); err != nil {
		return err
	}
	return txn.Commit()
}

func (s *badgerStore) Get(dst, key []byte) ([]byte, bool, error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	return badgerTx{txn}.Get(dst, key)
}

// Transact tries again at once after a conflict: Badger documents no other way.
func (s *badgerStore) Transact(fn func(Tx) error) (conflicts int, err error) {
	for ; ; conflicts++ {
		err := s.transact(fn)
		if !errors.Is(err, badger.ErrConflict) {
			return conflicts, err
		}
	}
}

func (s *badgerStore) transact(fn func(Tx) error) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	if err := fn(badgerTx{txn}); err != nil {
		return err
	}
	return txn.Commit()
}

type badgerTx struct{ txn *badger.Txn }

func (t badgerTx) Put(key, value []byte) error { return t.txn.Set(key, value) }

func (t badgerTx) Get(dst, key []byte) ([]byte, bool, error) {
	item, err := t.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	v, err := item.ValueCopy(dst)
	return v, err == nil, err
}

func (s *badgerStore) NewBatch() Batch { return &badgerBatch{s: s} }

// badgerBatch is a transaction, because Badger's WriteBatch may be split into
// several commits. A transaction keeps the slices until Commit.
type badgerBatch struct {
	s     *badgerStore
	txn   *badger.Txn
	arena arena
}

func (b *badgerBatch) begin() {
	if b.txn == nil {
		b.txn = b.s.db.NewTransaction(true)
	}
}

func (b *badgerBatch) Put(key, value []byte) error {
	b.begin()
	return b.txn.Set(b.arena.copy(key), b.arena.copy(value))
}

func (b *badgerBatch) Delete(key []byte) error {
	b.begin()
	return b.txn.Delete(b.arena.copy(key))
}

func (b *badgerBatch) Commit() error {
	err := b.txn.Commit()
	b.txn.Discard()
	b.txn = nil
	b.arena.reset()
	return err
}

func (s *badgerStore) NewIter(o IterOptions) (Iter, error) {
	io := badger.DefaultIteratorOptions
	io.Reverse = o.Reverse
	switch {
	case o.Rows == 1:
		io.PrefetchValues = false
	case o.Rows > 0:
		io.PrefetchSize = min(io.PrefetchSize, o.Rows)
	}
	txn := s.db.NewTransaction(false)
	return &badgerIter{txn: txn, it: txn.NewIterator(io)}, nil
}

// badgerIter goes in one direction only, chosen when it is made: First and
// Next, or Last and Prev.
type badgerIter struct {
	txn   *badger.Txn
	it    *badger.Iterator
	value []byte
	err   error
}

func (i *badgerIter) First() bool {
	i.it.Rewind()
	return i.it.Valid()
}

func (i *badgerIter) Last() bool { return i.First() }

func (i *badgerIter) SeekGE(key []byte) bool {
	i.it.Seek(key)
	return i.it.Valid()
}

func (i *badgerIter) Next() bool {
	i.it.Next()
	return i.it.Valid()
}

func (i *badgerIter) Prev() bool  { return i.Next() }
func (i *badgerIter) Key() []byte { return i.it.Item().Key() }

func (i *badgerIter) Value() []byte {
	err := i.it.Item().Value(func(v []byte) error {
		i.value = v
		return nil
	})
	if err != nil {
		i.err = err
		return nil
	}
	return i.value
}

func (i *badgerIter) Err() error { return i.err }

func (i *badgerIter) Close() error {
	i.it.Close()
	i.txn.Discard()
	return i.err
}

// Settle closes and opens the store, because nothing else flushes Badger's
// memtable, and then flattens its levels.
func (s *badgerStore) Settle() error {
	if err := s.db.Close(); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	return s.db.Flatten(2)
}

func (s *badgerStore) Close() error { return s.db.Close() }
