package seerdb

import (
	"bytes"
	"iter"
	"slices"
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
)

// IterOptions restrict an iterator; nil means every key.
type IterOptions struct {
	// LowerBound is the first key shown, UpperBound the first key not shown
	// any more; nil means no bound. They are copied.
	LowerBound, UpperBound []byte
	// KeysOnly leaves the values unread: Value is nil.
	KeysOnly bool
	// Bulk marks a scan of much of the database: what it reads does not
	// displace pages that are in use.
	Bulk bool
}

// Iter walks over keys and their values in key order, in both directions, at
// one moment of the database: later commits do not show. Before the first
// positioning call it stands nowhere; Next is then First, and Prev is Last.
// After running off one end it can be turned around.
//
// An Iter is used by one goroutine and must be closed; it pins memory and
// files until then.
type Iter struct{ it *engine.Iter }

// First moves to the first key. Like all positioning methods it reports
// whether there is one; when not, Err tells an end from a failure.
func (i *Iter) First() bool { return i.it != nil && i.it.First() }

// Last moves to the last key.
func (i *Iter) Last() bool { return i.it != nil && i.it.Last() }

// SeekGE moves to the first key >= key.
func (i *Iter) SeekGE(key []byte) bool { return i.it != nil && i.it.SeekGE(key) }

// SeekLT moves to the last key < key.
func (i *Iter) SeekLT(key []byte) bool { return i.it != nil && i.it.SeekLT(key) }

// Next moves to the following key.
func (i *Iter) Next() bool { return i.it != nil && i.it.Next() }

// Prev moves to the preceding key.
func (i *Iter) Prev() bool { return i.it != nil && i.it.Prev() }

// Valid reports whether the iterator stands on a key.
func (i *Iter) Valid() bool { return i.it != nil && i.it.Valid() }

// Key is the current key, or nil. It is valid until the next positioning call
// and must not be modified.
func (i *Iter) Key() []byte {
	if i.it == nil {
		return nil
	}
	return i.it.Key()
}

// Value is the current value, or nil. It is valid until the next call of
// Value, a positioning call or Close, and must not be modified. A value that
// cannot be read ends the walk, and Err says why.
func (i *Iter) Value() []byte {
	if i.it == nil {
		return nil
	}
	return i.it.Value()
}

// Expiry is when the current key is gone, to the millisecond, if it has an
// expiry: see DB.PutTTL. It costs next to nothing and does not read the value.
//
// A value that was merged has none, whatever its operands lie on: when that
// expires, what is left of the value is what the operands make of nothing.
func (i *Iter) Expiry() (at time.Time, expires bool) {
	if i.it == nil {
		return time.Time{}, false
	}
	return expiryTime(i.it.Expiry())
}

// expiryOf looks for a key with an iterator of its own.
func expiryOf(open func(engine.IterOptions) (*engine.Iter, error), key []byte) (at time.Time, expires bool, err error) {
	it, err := open(engine.IterOptions{Lower: key, Upper: append(slices.Clone(key), 0), KeysOnly: true, Own: true})
	if err != nil {
		return time.Time{}, false, err
	}
	there := it.First()
	at, expires = expiryTime(it.Expiry())
	if err = it.Close(); err == nil && !there {
		err = ErrNotFound
	}
	return at, expires, err
}

// expiryTime is an expiry of the engine, 0 for none.
func expiryTime(ms uint64) (at time.Time, expires bool) {
	if ms == 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(ms)), true
}

// Err is what ended the walk early, or nil.
func (i *Iter) Err() error {
	if i.it == nil {
		return ErrClosed
	}
	return i.it.Err()
}

// Close lets go of what the iterator pins and returns Err. A second Close
// does nothing.
func (i *Iter) Close() error {
	if i.it == nil {
		return nil
	}
	err := i.it.Close()
	i.it = nil
	return err
}

// Rows is a range of a database as a sequence of keys and values:
//
//	rows := db.Prefix([]byte("user/"))
//	for k, v := range rows.All() {
//		...
//	}
//	if err := rows.Err(); err != nil { ... }
//
// Every loop opens an iterator of its own and closes it at its end. The slices
// are valid until the next turn of the loop.
type Rows struct {
	open func(engine.IterOptions) (*engine.Iter, error)
	o    engine.IterOptions
	it   *engine.Iter // of the innermost loop that runs
	err  error
}

// rowsOf copies the bounds: loops over the rows may come at any time.
func rowsOf(open func(engine.IterOptions) (*engine.Iter, error), lo, hi []byte) *Rows {
	return &Rows{open: open, o: engine.IterOptions{Lower: bytes.Clone(lo), Upper: bytes.Clone(hi)}}
}

// All yields keys and values in ascending order.
func (r *Rows) All() iter.Seq2[[]byte, []byte] {
	return r.seq(r.o, (*engine.Iter).First, (*engine.Iter).Next)
}

// Backward yields keys and values in descending order.
func (r *Rows) Backward() iter.Seq2[[]byte, []byte] {
	return r.seq(r.o, (*engine.Iter).Last, (*engine.Iter).Prev)
}

// Keys yields the keys in ascending order without reading values.
func (r *Rows) Keys() iter.Seq[[]byte] {
	o := r.o
	o.KeysOnly = true
	rows := r.seq(o, (*engine.Iter).First, (*engine.Iter).Next)
	return func(yield func([]byte) bool) {
		rows(func(k, _ []byte) bool { return yield(k) })
	}
}

// Expiry is Iter.Expiry of the row that the loop is at. Where loops over the
// same Rows are nested it is that of the inner one; outside of loops there is
// none.
func (r *Rows) Expiry() (at time.Time, expires bool) {
	if r.it == nil {
		return time.Time{}, false
	}
	return expiryTime(r.it.Expiry())
}

// Err is what ended the last loop early, or nil.
func (r *Rows) Err() error { return r.err }

func (r *Rows) seq(o engine.IterOptions, start, step func(*engine.Iter) bool) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		it, err := r.open(o)
		if r.err = err; err != nil {
			return
		}
		outer := r.it
		r.it = it
		defer func() { r.it, r.err = outer, it.Close() }() // the loop may panic
		for ok := start(it); ok; ok = step(it) {
			v := it.Value()
			if !it.Valid() || !yield(it.Key(), v) {
				break
			}
		}
	}
}

// prefixEnd is the smallest key greater than every key that begins with p, or
// nil when there is none (p is empty or all 0xFF).
func prefixEnd(p []byte) []byte {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			end := append([]byte(nil), p[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}

func (o *IterOptions) engine() engine.IterOptions {
	if o == nil {
		return engine.IterOptions{}
	}
	return engine.IterOptions{Lower: o.LowerBound, Upper: o.UpperBound, KeysOnly: o.KeysOnly, Bulk: o.Bulk}
}
