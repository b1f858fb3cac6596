package seerdb

import (
	"context"
	"sync"

	"github.com/seerdb-go/seerdb/internal/engine"
)

// space is what a database and a keyspace have in common: a tree of keys.
type space struct {
	e       *engine.Engine
	k       *engine.Keyspace
	batches *sync.Pool // of *Batch, for single operations
}

// Put sets key to value, with the durability of the database. Both slices are
// copied.
func (s *space) Put(key, value []byte) error {
	b := s.batches.Get().(*Batch)
	return s.commit(b, b.b.Put(s.k.ID(), key, value))
}

// Delete removes key. Deleting a key that is not there is no error.
func (s *space) Delete(key []byte) error {
	b := s.batches.Get().(*Batch)
	return s.commit(b, b.b.Delete(s.k.ID(), key))
}

// pooledBatchMax keeps a rare huge value from staying in memory for ever.
const pooledBatchMax = 1 << 20

func (s *space) commit(b *Batch, err error) error {
	if err == nil {
		_, err = s.e.Commit(&b.b, engine.DefaultDurability)
	}
	if b.Size() <= pooledBatchMax {
		b.Reset()
		s.batches.Put(b)
	}
	return err
}

// Get returns a copy of the value of key, or ErrNotFound.
func (s *space) Get(key []byte) ([]byte, error) { return copied(s.k.AppendGet(nil, key, newest)) }

// AppendGet appends the value of key to dst and returns the extended slice.
// It does not allocate when dst has room. When there is no value it returns
// dst and ErrNotFound.
func (s *space) AppendGet(dst, key []byte) ([]byte, error) { return s.k.AppendGet(dst, key, newest) }

// Has reports whether key has a value, without reading it.
func (s *space) Has(key []byte) (bool, error) { return s.k.Has(key, newest) }

// NewIter opens an iterator over what is visible now.
func (s *space) NewIter(o *IterOptions) (*Iter, error) {
	return wrapIter(s.k.NewIter(o.engine(), newest))
}

// Range is the keys lo <= key < hi; nil means unbounded. See Rows.
func (s *space) Range(lo, hi []byte) *Rows {
	open := func(o engine.IterOptions) (*engine.Iter, error) { return s.k.NewIter(o, newest) }
	return &Rows{open: open, o: engine.IterOptions{Lower: lo, Upper: hi}}
}

// Prefix is the keys that begin with p. See Rows.
func (s *space) Prefix(p []byte) *Rows { return s.Range(p, prefixEnd(p)) }

// Compact rewrites the tables with keys in [lo, hi) until each key is in one
// place; nil means unbounded. It is never needed for correctness.
func (s *space) Compact(ctx context.Context, lo, hi []byte) error { return s.k.Compact(ctx, lo, hi) }
