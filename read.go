package seerdb

import (
	"slices"
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
	"github.com/seerdb-go/seerdb/observe"
)

// reader reads one tree of keys: its newest commits, or what a snapshot or a transaction
// shows of it.
type reader struct {
	k *engine.Keyspace
	s *engine.Snapshot // the snapshot to read, or nil
	t *engine.Txn      // the transaction to read in, or nil
}

// Get returns a copy of the value of key, or ErrNotFound.
func (r *reader) Get(key []byte) ([]byte, error) { return copied(r.AppendGet(nil, key)) }

// AppendGet appends the value of key to dst and returns the extended slice. It does not
// allocate if dst has room. If there is no value, it returns dst and ErrNotFound. For an
// empty value, a nil dst stays nil.
func (r *reader) AppendGet(dst, key []byte) ([]byte, error) {
	switch {
	case r.t != nil:
		return r.t.AppendGet(r.k, dst, key)
	case r.s != nil:
		return r.s.AppendGet(r.k, dst, key)
	}
	return r.k.AppendGet(dst, key, engine.Newest)
}

// GetFunc calls fn with the value of key and returns the result of fn, or ErrNotFound. It
// does not copy values that are in memory or in a cached page. The slice is valid during
// the call and must not be modified. fn should be short, since memory and files cannot be
// released while it runs. In a transaction fn may be long, and may use the transaction.
func (r *reader) GetFunc(key []byte, fn func(value []byte) error) error {
	switch {
	case r.t != nil:
		return r.t.View(r.k, key, fn)
	case r.s != nil:
		return r.s.View(r.k, key, fn)
	}
	return r.k.View(key, engine.Newest, fn)
}

// Has reports whether key has a value, without reading it.
func (r *reader) Has(key []byte) (bool, error) {
	switch {
	case r.t != nil:
		return r.t.Has(r.k, key)
	case r.s != nil:
		return r.s.Has(r.k, key)
	}
	return r.k.Has(key, engine.Newest)
}

// Expiry returns when key expires and whether it has an expiry, as Iter.Expiry does, or
// ErrNotFound. It does not read the value, and costs as much as an iterator.
func (r *reader) Expiry(key []byte) (at time.Time, expires bool, err error) {
	err = r.atKey(key, true, func(it *engine.Iter) { at, expires = expiryTime(it.Expiry()) })
	return at, expires, err
}

// ValueLen returns the length of the value of key, or ErrNotFound. It does not read a value
// that is in a value file, and costs as much as an iterator.
func (r *reader) ValueLen(key []byte) (n int, err error) {
	err = r.atKey(key, false, func(it *engine.Iter) { n = it.ValueLen() })
	return n, err
}

// NewIter opens an iterator over what reads see now. The iterator must be closed. An
// iterator over a snapshot may outlive the snapshot. An iterator over a transaction shows
// the writes made so far, and later ones after Iter.Refresh; it must be closed before
// Commit.
func (r *reader) NewIter(o *IterOptions) (*Iter, error) {
	it, err := r.open(o.engine())
	if err != nil {
		return nil, err
	}
	return &Iter{it, r}, nil
}

// Range returns the rows with lo <= key < hi; nil means unbounded.
func (r *reader) Range(lo, hi []byte) *Rows {
	return &Rows{from: r, o: engine.IterOptions{Lower: slices.Clone(lo), Upper: slices.Clone(hi)}, limit: -1}
}

// Prefix returns the rows whose keys begin with p.
func (r *reader) Prefix(p []byte) *Rows { return r.Range(p, PrefixEnd(p)) }

// open opens an iterator of the engine, which records the caller's caller.
func (r *reader) open(o engine.IterOptions) (*engine.Iter, error) {
	switch {
	case r.t != nil:
		return r.t.NewIter(r.k, o)
	case r.s != nil:
		return r.s.NewIter(r.k, o)
	}
	return r.k.NewIter(o, engine.Newest)
}

// atKey calls fn with a temporary iterator at key, or returns ErrNotFound.
func (r *reader) atKey(key []byte, keysOnly bool, fn func(*engine.Iter)) (err error) {
	it, err := r.open(engine.IterOptions{Lower: key, Upper: append(slices.Clone(key), 0), KeysOnly: keysOnly, Own: true})
	if err != nil {
		return err
	}
	there := false
	defer func() { // a merge operator may panic
		if err = it.Close(); err == nil && !there {
			err = ErrNotFound
		}
	}()
	if there = it.First(); there {
		fn(it)
	}
	return nil
}

// copied returns a missing value as nil and an empty one as not nil.
func copied(v []byte, err error) ([]byte, error) {
	switch {
	case err != nil:
		return nil, err
	case v == nil:
		return []byte{}, nil
	}
	return v, nil
}

// expiryTime converts an expiry of the engine, where 0 means none.
func expiryTime(ms uint64) (at time.Time, expires bool) {
	if ms == 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(ms)), true
}

// EstimateRange estimates, without reading rows, how many entries there are with lo <= key
// < hi and how much space they take. Nil means unbounded; a range in which hi is not above
// lo is empty. The estimate takes microseconds however many rows there are, and some
// nanoseconds more for each table that is wholly inside. If lo or hi cuts a table whose
// index is not in memory, EstimateRange reads the index. Concurrent commits and compactions
// may count in part. See observe.RangeEstimate for how exact the figures are.
//
// EstimateRange fails with ErrClosed, with ErrNoKeyspace if the keyspace was dropped, or
// with the error of reading an index: one of the system, or a *CorruptionError.
func (s *store) EstimateRange(lo, hi []byte) (observe.RangeEstimate, error) {
	return s.reader.k.EstimateRange(lo, hi)
}
