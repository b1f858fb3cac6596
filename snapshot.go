package seerdb

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
)

// Snapshot is the database at one moment: whatever is committed, flushed,
// compacted or deleted later, it reads the same. It keeps old versions from
// being dropped, so it must be closed. It is safe for concurrent use and does
// not outlive the process.
type Snapshot struct{ view }

// view is what a snapshot shows of one keyspace.
type view struct {
	s *engine.Snapshot
	k *engine.Keyspace
}

// Get returns a copy of the value of key, or ErrNotFound.
func (s *view) Get(key []byte) ([]byte, error) { return copied(s.s.AppendGet(s.k, nil, key)) }

// AppendGet appends the value of key to dst and returns the result, or dst
// and ErrNotFound.
func (s *view) AppendGet(dst, key []byte) ([]byte, error) { return s.s.AppendGet(s.k, dst, key) }

// GetFunc is DB.GetFunc at the snapshot.
func (s *view) GetFunc(key []byte, fn func(value []byte) error) error {
	return s.s.View(s.k, key, fn)
}

// Has reports whether key has a value.
func (s *view) Has(key []byte) (bool, error) { return s.s.Has(s.k, key) }

// Expiry is DB.Expiry at the snapshot.
func (s *view) Expiry(key []byte) (at time.Time, expires bool, err error) {
	return expiryOf(s, key)
}

// ValueLen is DB.ValueLen at the snapshot.
func (s *view) ValueLen(key []byte) (int, error) { return valueLenOf(s, key) }

func (s *view) open(o engine.IterOptions) (*engine.Iter, error) { return s.s.NewIter(s.k, o) }

// NewIter opens an iterator at the snapshot. It may outlive the snapshot.
func (s *view) NewIter(o *IterOptions) (*Iter, error) { return newIter(s, o) }

// Range is DB.Range at the snapshot.
func (s *view) Range(lo, hi []byte) *Rows {
	return rowsOf(s, lo, hi)
}

// Prefix is DB.Prefix at the snapshot.
func (s *view) Prefix(p []byte) *Rows { return s.Range(p, PrefixEnd(p)) }

// Seq is the sequence number that the snapshot sees.
func (s *Snapshot) Seq() uint64 { return uint64(s.s.Seq()) }

// Close lets the snapshot go. A second Close does nothing.
func (s *Snapshot) Close() error { return s.s.Close() }

// copied makes a missing value nil and an empty one empty.
func copied(v []byte, err error) ([]byte, error) {
	switch {
	case err != nil:
		return nil, err
	case v == nil:
		return []byte{}, nil
	}
	return v, nil
}
