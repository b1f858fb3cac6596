package main

import (
	"path/filepath"

	"go.etcd.io/bbolt"
)

// bbolt, a B+tree in a mapped file. Without sync it passes the pages of every
// commit to the operating system (a kill loses nothing), but a power cut may
// leave a file that cannot be opened. A single committer uses Update;
// concurrent ones use Batch, as its documentation advises.

var boltBucket = []byte("b")

func init() {
	register(&Driver{
		Name:   "bbolt",
		Module: "go.etcd.io/bbolt",
		Ack: map[Class]string{
			Relaxed:  "NoSync: written to the file (more than the class asks; not power-safe)",
			Buffered: "NoSync: written to the file (not power-safe)",
			Sync:     "fdatasync",
		},
		Has:  []Feature{Transactions},
		Open: openBolt,
	})
}

type boltStore struct {
	db *bbolt.DB
	// syncers is how many goroutines commit concurrently; more than one makes
	// Put join others in a batch. Changed only while no other call runs.
	syncers int
}

func openBolt(o StoreOptions) (Store, error) {
	opts := *bbolt.DefaultOptions
	opts.NoSync = o.Class != Sync
	opts.FreelistType = bbolt.FreelistMapType
	opts.InitialMmapSize = 1 << 30 // a growing map has to wait for all readers
	db, err := bbolt.Open(filepath.Join(o.Dir, "bolt.db"), 0o600, &opts)
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(boltBucket)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := &boltStore{db: db}
	s.SetSyncers(o.Syncers)
	return s, nil
}

// SetSyncers makes a batch commit as soon as all committers are in it, and not
// only after the default 10 ms.
func (s *boltStore) SetSyncers(n int) {
	s.syncers = n
	s.db.MaxBatchSize = max(n, 1)
}

func (s *boltStore) Put(key, value []byte) error {
	return s.write(func(tx *bbolt.Tx) error { return tx.Bucket(boltBucket).Put(key, value) })
}

func (s *boltStore) Delete(key []byte) error {
	return s.write(func(tx *bbolt.Tx) error { return tx.Bucket(boltBucket).Delete(key) })
}

func (s *boltStore) write(fn func(*bbolt.Tx) error) error {
	if s.syncers > 1 {
		return s.db.Batch(fn)
	}
	return s.db.Update(fn)
}

// Transact has no conflicts: there is one writer at a time.
func (s *boltStore) Transact(fn func(Tx) error) (int, error) {
	return 0, s.write(func(tx *bbolt.Tx) error { return fn(boltTx{tx.Bucket(boltBucket)}) })
}

type boltTx struct{ b *bbolt.Bucket }

func (t boltTx) Put(key, value []byte) error { return t.b.Put(key, value) }

func (t boltTx) Get(dst, key []byte) ([]byte, bool, error) {
	v := t.b.Get(key)
	return append(dst[:0], v...), v != nil, nil
}

func (s *boltStore) Get(dst, key []byte) (v []byte, found bool, err error) {
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, false, err
	}
	if v = tx.Bucket(boltBucket).Get(key); v != nil {
		v, found = append(dst[:0], v...), true
	}
	return v, found, tx.Rollback()
}

func (s *boltStore) NewBatch() Batch { return &boltBatch{s: s} }

// boltBatch keeps its transaction open between the first Put and Commit. A
// bucket keeps the key and value slices until then, so each is copied to an
// arena of the batch, which Commit reuses.
type boltBatch struct {
	s     *boltStore
	tx    *bbolt.Tx
	arena arena
}

func (b *boltBatch) begin() (err error) {
	if b.tx == nil {
		b.tx, err = b.s.db.Begin(true)
	}
	return err
}

func (b *boltBatch) Put(key, value []byte) error {
	if err := b.begin(); err != nil {
		return err
	}
	return b.tx.Bucket(boltBucket).Put(b.arena.copy(key), b.arena.copy(value))
}

func (b *boltBatch) Delete(key []byte) error {
	if err := b.begin(); err != nil {
		return err
	}
	return b.tx.Bucket(boltBucket).Delete(key)
}

func (b *boltBatch) Commit() error {
	err := b.tx.Commit()
	b.tx = nil
	b.arena.reset()
	return err
}

func (s *boltStore) NewIter(IterOptions) (Iter, error) {
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, err
	}
	return &boltIter{tx: tx, c: tx.Bucket(boltBucket).Cursor()}, nil
}

type boltIter struct {
	tx         *bbolt.Tx
	c          *bbolt.Cursor
	key, value []byte
}

func (i *boltIter) set(k, v []byte) bool {
	i.key, i.value = k, v
	return k != nil
}

func (i *boltIter) First() bool            { return i.set(i.c.First()) }
func (i *boltIter) Last() bool             { return i.set(i.c.Last()) }
func (i *boltIter) SeekGE(key []byte) bool { return i.set(i.c.Seek(key)) }
func (i *boltIter) Next() bool             { return i.set(i.c.Next()) }
func (i *boltIter) Prev() bool             { return i.set(i.c.Prev()) }
func (i *boltIter) Key() []byte            { return i.key }
func (i *boltIter) Value() []byte          { return i.value }
func (i *boltIter) Err() error             { return nil }
func (i *boltIter) Close() error           { return i.tx.Rollback() }

// Settle does nothing: a B+tree has no background work.
func (s *boltStore) Settle() error { return nil }

func (s *boltStore) Close() error { return s.db.Close() }
