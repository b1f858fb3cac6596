package seerdb

import (
	"bytes"
	"iter"
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
)

// IterOptions restrict an iterator. A nil *IterOptions means every key.
type IterOptions struct {
	// LowerBound is the first key to show; UpperBound is the first key not to show. Nil
	// means no bound. The iterator copies both.
	LowerBound, UpperBound []byte
	// Prefix restricts the iterator to keys that begin with it, within the bounds. The
	// iterator copies it.
	Prefix []byte
	// KeysOnly leaves the values unread: Value returns nil.
	KeysOnly bool
	// Bulk marks a scan of much of the database: the pages that it reads do not displace
	// pages that are in use.
	Bulk bool
}

// Iter iterates over keys and their values in key order, in both directions, as of one
// moment of the database: it does not show later commits. Before the first positioning call
// it is at no key; Next then acts as First, and Prev as Last. After it has passed one end,
// it can move back from there.
//
// An Iter is for one goroutine and must be closed; it pins memory and files until then.
type Iter struct {
	it   *engine.Iter // nil once closed
	from *reader
}

// First moves to the first key. Like all positioning methods it reports whether there is
// such a key. If not, Err distinguishes an end from a failure.
func (i *Iter) First() bool { return i.it != nil && i.it.First() }

// Last moves to the last key.
func (i *Iter) Last() bool { return i.it != nil && i.it.Last() }

// SeekGE moves to the first key >= key.
func (i *Iter) SeekGE(key []byte) bool { return i.it != nil && i.it.SeekGE(key) }

// SeekLT moves to the last key < key.
func (i *Iter) SeekLT(key []byte) bool { return i.it != nil && i.it.SeekLT(key) }

// SeekLE moves to the last key <= key.
func (i *Iter) SeekLE(key []byte) bool { return i.it != nil && i.it.SeekLE(key) }

// Next moves to the following key.
func (i *Iter) Next() bool { return i.it != nil && i.it.Next() }

// Prev moves to the preceding key.
func (i *Iter) Prev() bool { return i.it != nil && i.it.Prev() }

// Valid reports whether the iterator is at a key.
func (i *Iter) Valid() bool { return i.it != nil && i.it.Valid() }

// Key returns the current key, or nil. The slice is valid until the next positioning call
// and must not be modified.
func (i *Iter) Key() []byte {
	if i.it == nil {
		return nil
	}
	return i.it.Key()
}

// Value returns the current value, or nil. The slice is valid until the next call of Value,
// a positioning method or Close, and must not be modified. If the value cannot be read, the
// iterator ends and Err returns the reason.
func (i *Iter) Value() []byte {
	if i.it == nil {
		return nil
	}
	return i.it.Value()
}

// AppendValue appends the current value to dst, without an intermediate copy, and returns
// the extended slice, which the caller owns. If there is no value or it cannot be read,
// AppendValue returns dst and the reason: Err, ErrNotFound if the iterator is at no key, or
// ErrInvalidOptions with IterOptions.KeysOnly.
func (i *Iter) AppendValue(dst []byte) ([]byte, error) {
	if i.it == nil {
		return dst, ErrClosed
	}
	return i.it.AppendValue(dst)
}

// ValueLen returns the length of the current value, 0 where Value returns nil. It does not
// read a value that is in a value file.
func (i *Iter) ValueLen() int {
	if i.it == nil {
		return 0
	}
	return i.it.ValueLen()
}

// Refresh replaces the iterator by a new one with the same options, at no key. It then
// shows the newest commits of a DB or a Keyspace, or the writes made so far in a
// transaction; of a snapshot it shows the same as before, if that is still open. Refresh
// releases what the iterator pinned, and costs as much as a new iterator.
//
// If no new iterator can be opened, Refresh returns the reason and leaves the iterator as
// it is. Refresh returns ErrTxnTooLarge after it has replaced the iterator: with the keys
// that the iterator passed before, the transaction has read too much.
func (i *Iter) Refresh() error {
	if i.it == nil {
		return ErrClosed
	}
	it, err := i.from.open(i.it.Options())
	if err != nil {
		return err
	}
	old := i.it
	i.it = it
	if walked := old.Err(); walked == nil {
		return old.Close()
	}
	_ = old.Close() // the walk that failed is over
	return nil
}

// Expiry returns when the current key expires, to the millisecond, and whether it has an
// expiry: see DB.PutTTL. It costs next to nothing and does not read the value.
//
// A merged value has no expiry, even if its operands were merged onto a value that has one:
// once that value expires, the operands are applied to nothing.
func (i *Iter) Expiry() (at time.Time, expires bool) {
	if i.it == nil {
		return time.Time{}, false
	}
	return expiryTime(i.it.Expiry())
}

// Err returns the error that ended the iteration early, or nil.
func (i *Iter) Err() error {
	if i.it == nil {
		return ErrClosed
	}
	return i.it.Err()
}

// Close releases what the iterator pins and returns Err. A second Close does nothing.
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
// Each loop opens an iterator and closes it when the loop ends. The slices are valid until
// the next iteration of the loop. After, Before and Limit narrow the rows to a page:
//
//	page := db.Prefix([]byte("user/")).After(last).Limit(100)
type Rows struct {
	from  *reader
	o     engine.IterOptions
	limit int          // of the rows of each loop; negative = none
	it    *engine.Iter // of the innermost running loop
	err   error
}

// After returns the rows with a key > key: given the last key of a page, the rows of the
// next. A nil key excludes nothing.
func (r *Rows) After(key []byte) *Rows {
	if key == nil {
		return r.within(nil, nil)
	}
	return r.within(append(bytes.Clone(key), 0), nil)
}

// Before returns the rows with a key < key: given the last key of a page of Backward, the
// rows of the next. A nil key excludes nothing.
func (r *Rows) Before(key []byte) *Rows { return r.within(nil, bytes.Clone(key)) }

// within returns the rows with lo <= key < hi.
func (r *Rows) within(lo, hi []byte) *Rows {
	return &Rows{from: r.from, o: r.o.Within(lo, hi), limit: r.limit}
}

// Limit returns the first n rows in the order of the loop: for Backward, those with the
// last n keys. The lowest of several limits applies. A negative n sets no limit.
func (r *Rows) Limit(n int) *Rows {
	return &Rows{from: r.from, o: r.o, limit: int(min(uint(r.limit), uint(n)))} // a negative one is the largest
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

// Expiry returns Iter.Expiry of the current row of the loop. With nested loops over the
// same Rows, that is the row of the innermost loop; outside of loops there is no expiry.
func (r *Rows) Expiry() (at time.Time, expires bool) {
	if r.it == nil {
		return time.Time{}, false
	}
	return expiryTime(r.it.Expiry())
}

// Err returns the error that ended the last loop early, or nil.
func (r *Rows) Err() error { return r.err }

func (r *Rows) seq(o engine.IterOptions, start, step func(*engine.Iter) bool) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		if r.err = nil; r.limit == 0 {
			return
		}
		it, err := r.from.open(o)
		if r.err = err; err != nil {
			return
		}
		outer := r.it
		r.it = it
		defer func() { r.it, r.err = outer, it.Close() }() // the loop may panic
		left := r.limit
		for ok := start(it); ok; ok = step(it) {
			v := it.Value()
			if !it.Valid() || !yield(it.Key(), v) {
				break
			}
			if left--; left == 0 {
				break
			}
		}
	}
}

// PrefixEnd returns the smallest key greater than every key that begins with p, so that the
// range from p to PrefixEnd(p) holds these keys and no others. It returns nil, which means
// no end, if there is no such key: p is empty or all 0xFF.
func PrefixEnd(p []byte) []byte {
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
	e := engine.IterOptions{Lower: o.LowerBound, Upper: o.UpperBound, KeysOnly: o.KeysOnly, Bulk: o.Bulk}
	if len(o.Prefix) > 0 {
		e = e.Within(o.Prefix, PrefixEnd(o.Prefix))
	}
	return e
}
