package seerdb

import (
	"context"
	"sync"
	"time"

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
	return s.commit(b, s.in(b).put(key, value))
}

// in adds operations on this tree to a batch.
func (s *space) in(b *Batch) ops { return opsOn(&b.b, s.k, s.e) }

// Delete removes key. Deleting a key that is not there is no error.
func (s *space) Delete(key []byte) error {
	b := s.batches.Get().(*Batch)
	return s.commit(b, s.in(b).delete(key))
}

// SingleDelete removes a key that was put at most once, and neither merged, nor
// given an expiry, nor deleted by Delete, since the last SingleDelete or
// DeleteRange of it, or ever: that is the caller's promise. The tombstone then
// goes away together with what it hides, where that of Delete has to travel to
// the bottom of the tree. A broken promise can bring an older value of this key
// back, and affects no other key; it is counted where it is noticed.
func (s *space) SingleDelete(key []byte) error {
	b := s.batches.Get().(*Batch)
	return s.commit(b, s.in(b).singleDelete(key))
}

// DeleteRange removes the keys lo <= key < hi; a nil hi means no end. It costs
// the same however many there are. A range in which hi is not above lo is
// empty.
func (s *space) DeleteRange(lo, hi []byte) error {
	b := s.batches.Get().(*Batch)
	return s.commit(b, s.in(b).deleteRange(lo, hi))
}

// Merge adds an operand to the value of key, without reading it: the merge
// operator of Options or KeyspaceOptions puts them together when the key is
// read or compacted. Without one it is refused with ErrInvalidOptions.
func (s *space) Merge(key, operand []byte) error {
	b := s.batches.Get().(*Batch)
	return s.commit(b, s.in(b).merge(key, operand))
}

// PutTTL sets key to value for the time d, in milliseconds rounded up. Then the
// key is gone as if it had been deleted, for every read that begins later, and
// its space comes back with compactions. A snapshot keeps the time at which it
// was taken. A Put that follows clears the expiry; operands merged onto a value
// that expires are left, on top of nothing.
func (s *space) PutTTL(key, value []byte, d time.Duration) error {
	b := s.batches.Get().(*Batch)
	return s.commit(b, s.in(b).putTTL(key, value, d))
}

// PutUntil is PutTTL up to a moment, in milliseconds rounded up: what
// Iter.Expiry and Op.Expires tell is kept to the millisecond. After a moment that
// has passed the key is gone at once. The zero time is no expiry, whatever
// KeyspaceOptions.TTL says.
func (s *space) PutUntil(key, value []byte, at time.Time) error {
	b := s.batches.Get().(*Batch)
	return s.commit(b, s.in(b).putUntil(key, value, at))
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
func (s *space) Get(key []byte) ([]byte, error) {
	return copied(s.k.AppendGet(nil, key, engine.Newest))
}

// AppendGet appends the value of key to dst and returns the extended slice.
// It does not allocate when dst has room. When there is no value it returns
// dst and ErrNotFound. A nil dst stays nil where the value is empty.
func (s *space) AppendGet(dst, key []byte) ([]byte, error) {
	return s.k.AppendGet(dst, key, engine.Newest)
}

// GetFunc calls fn with the value of key without copying it, where it lies in
// memory or in a cached page; it returns what fn returns, or ErrNotFound. The
// slice is valid during the call and must not be modified. fn should be short:
// it keeps memory and files from being given back.
func (s *space) GetFunc(key []byte, fn func(value []byte) error) error {
	return s.k.View(key, engine.Newest, fn)
}

// Has reports whether key has a value, without reading it.
func (s *space) Has(key []byte) (bool, error) { return s.k.Has(key, engine.Newest) }

// Expiry tells when key is gone, if it has an expiry, as Iter.Expiry does, or
// ErrNotFound. It does not read the value, and costs what an iterator costs.
func (s *space) Expiry(key []byte) (at time.Time, expires bool, err error) {
	return expiryOf(s, key)
}

// ValueLen is the length of the value of key, or ErrNotFound. It does not read a
// value that lies in a value file, and costs what an iterator costs.
func (s *space) ValueLen(key []byte) (int, error) { return valueLenOf(s, key) }

func (s *space) open(o engine.IterOptions) (*engine.Iter, error) {
	return s.k.NewIter(o, engine.Newest)
}

// NewIter opens an iterator over what is visible now.
func (s *space) NewIter(o *IterOptions) (*Iter, error) {
	return newIter(s, o)
}

// Range is the keys lo <= key < hi; nil means unbounded. See Rows.
func (s *space) Range(lo, hi []byte) *Rows {
	return rowsOf(s, lo, hi)
}

// Prefix is the keys that begin with p. See Rows.
func (s *space) Prefix(p []byte) *Rows { return s.Range(p, PrefixEnd(p)) }

// Compact rewrites the tables that hold keys in [lo, hi) when it begins until
// each of those keys is in one place, in few files; nil means unbounded. It ends
// however fast others write, and is never needed for correctness.
func (s *space) Compact(ctx context.Context, lo, hi []byte) error { return s.k.Compact(ctx, lo, hi) }
