package seerdb

import (
	"slices"
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
	"github.com/seerdb-go/seerdb/observe"
)

// reader reads one tree of keys: what is newest in it, or what a snapshot or a
// transaction shows of it.
type reader struct {
	k *engine.Keyspace
	s *engine.Snapshot // reads are at it, unless it is nil
	t *engine.Txn      // reads are in it, unless it is nil
}

// Get returns a copy of the value of key, or ErrNotFound.
func (r *reader) Get(key []byte) ([]byte, error) { return copied(r.AppendGet(nil, key)) }

// AppendGet appends the value of key to dst and returns the extended slice.
// It does not allocate when dst has room. When there is no value it returns
// dst and ErrNotFound. A nil dst stays nil where the value is empty.
func (r *reader) AppendGet(dst, key []byte) ([]byte, error) {
	switch {
	case r.t != nil:
		return r.t.AppendGet(r.k, dst, key)
	case r.s != nil:
		return r.s.AppendGet(r.k, dst, key)
	}
	return r.k.AppendGet(dst, key, engine.Newest)
}

// GetFunc calls fn with the value of key and returns what fn returns, or ErrNotFound.
// What lies in memory or in a cached page is not copied. The slice is valid during the
// call and must not be modified. fn should be short: it keeps memory and files from
// being given back, but in a transaction, which it may use.
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

// Expiry tells when key is gone, if it has an expiry, as Iter.Expiry does, or
// ErrNotFound. It does not read the value, and costs what an iterator costs.
func (r *reader) Expiry(key []byte) (at time.Time, expires bool, err error) {
	err = r.atKey(key, true, func(it *engine.Iter) { at, expires = expiryTime(it.Expiry()) })
	return at, expires, err
}

// ValueLen returns the length of the value of key, or ErrNotFound. It does not read a
// value that lies in a value file, and costs what an iterator costs.
func (r *reader) ValueLen(key []byte) (n int, err error) {
	err = r.atKey(key, false, func(it *engine.Iter) { n = it.ValueLen() })
	return n, err
}

// NewIter opens an iterator over what reads see now, which must be closed. That of a
// snapshot may outlive it. That of a transaction shows the writes made so far, later
// ones not before Iter.Refresh, and must be closed before Commit.
func (r *reader) NewIter(o *IterOptions) (*Iter, error) {
	it, err := r.open(o.engine())
	if err != nil {
		return nil, err
	}
	return &Iter{it, r}, nil
}

// Range returns the keys lo <= key < hi; nil means unbounded. See Rows.
func (r *reader) Range(lo, hi []byte) *Rows {
	return &Rows{from: r, o: engine.IterOptions{Lower: slices.Clone(lo), Upper: slices.Clone(hi)}, limit: -1}
}

// Prefix returns the keys that begin with p. See Rows.
func (r *reader) Prefix(p []byte) *Rows { return r.Range(p, PrefixEnd(p)) }

// open opens an iterator of the engine, which notes the caller's caller.
func (r *reader) open(o engine.IterOptions) (*engine.Iter, error) {
	switch {
	case r.t != nil:
		return r.t.NewIter(r.k, o)
	case r.s != nil:
		return r.s.NewIter(r.k, o)
	}
	return r.k.NewIter(o, engine.Newest)
}

// atKey calls fn with an iterator of its own at a key, or returns ErrNotFound.
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

// expiryTime is an expiry of the engine, 0 for none.
func expiryTime(ms uint64) (at time.Time, expires bool) {
	if ms == 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(ms)), true
}

// EstimateRange estimates, without reading rows, how many entries lie at
// lo <= key < hi and what they take; nil is unbounded, and a range in which hi is not
// above lo is empty. It takes microseconds however many rows there are, and for each
// table that lies wholly inside some nanoseconds more; where the index of one of the
// tables that lo or hi cut is not in memory, it is read. Commits and compactions beside
// it may show in part. observe.RangeEstimate says how exact the figures are.
//
// Errors are ErrClosed, ErrNoKeyspace for a keyspace that was dropped, and those of
// reading an index: of the system, or a *CorruptionError.
func (s *store) EstimateRange(lo, hi []byte) (observe.RangeEstimate, error) {
	return s.reader.k.EstimateRange(lo, hi)
}
