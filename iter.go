package seerdb

import (
	"bytes"
	"iter"
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
)

// IterOptions restrict an iterator; nil means every key.
type IterOptions struct {
	// LowerBound is the first key shown, UpperBound the first key not shown
	// any more; nil means no bound. They are copied.
	LowerBound, UpperBound []byte
	// Prefix shows only keys that begin with it, within the bounds. It is copied.
	Prefix []byte
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
type Iter struct {
	it   *engine.Iter // nil once closed
	from *reader
}

// First moves to the first key. Like all positioning methods it reports
// whether there is one; when not, Err tells an end from a failure.
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

// Valid reports whether the iterator stands on a key.
func (i *Iter) Valid() bool { return i.it != nil && i.it.Valid() }

// Key returns the current key, or nil. It is valid until the next positioning call
// and must not be modified.
func (i *Iter) Key() []byte {
	if i.it == nil {
		return nil
	}
	return i.it.Key()
}

// Value returns the current value, or nil. It is valid until the next call of
// Value, a positioning call or Close, and must not be modified. A value that
// cannot be read ends the walk, and Err says why.
func (i *Iter) Value() []byte {
	if i.it == nil {
		return nil
	}
	return i.it.Value()
}

// AppendValue appends the current value to dst and returns the result: a copy that
// is the caller's, without another on the way. Where it cannot be read, or there is
// none, it returns dst and the reason: Err, ErrNotFound outside of keys, or
// ErrInvalidOptions with IterOptions.KeysOnly.
func (i *Iter) AppendValue(dst []byte) ([]byte, error) {
	if i.it == nil {
		return dst, ErrClosed
	}
	return i.it.AppendValue(dst)
}

// ValueLen returns the length of the current value, 0 where Value is nil, without
// reading a value that lies in a value file.
func (i *Iter) ValueLen() int {
	if i.it == nil {
		return 0
	}
	return i.it.ValueLen()
}

// Refresh makes the iterator show what a new one would show, and stand nowhere: of
// a DB or a Keyspace the newest commits, of a transaction its later writes, of a
// snapshot the same as before, as long as that is open. It lets go of what it pinned,
// at the cost of a new iterator. Where there can be no new one it returns why, and the
// iterator is as it was. ErrTxnTooLarge comes after it was refreshed: with what it
// walked over before, the transaction has read too much.
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

// Expiry returns when the current key is gone, to the millisecond, if it has an
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

// Err returns what ended the walk early, or nil.
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
// are valid until the next turn of the loop. After, Before and Limit narrow the
// rows to a page:
//
//	page := db.Prefix([]byte("user/")).After(last).Limit(100)
type Rows struct {
	from  *reader
	o     engine.IterOptions
	limit int          // of the rows of a loop; negative = none
	it    *engine.Iter // of the innermost loop that runs
	err   error
}

// After returns the rows with a key > key: the next page of results, behind the
// last key of one. A nil key leaves none out.
func (r *Rows) After(key []byte) *Rows {
	if key == nil {
		return r.within(nil, nil)
	}
	return r.within(append(bytes.Clone(key), 0), nil)
}

// Before returns the rows with a key < key: for Backward the next page. A nil key
// leaves none out.
func (r *Rows) Before(key []byte) *Rows { return r.within(nil, bytes.Clone(key)) }

// within returns those of the rows with lo <= key < hi.
func (r *Rows) within(lo, hi []byte) *Rows {
	return &Rows{from: r.from, o: r.o.Within(lo, hi), limit: r.limit}
}

// Limit returns the first n of the rows, in the order of the loop: the last n keys for
// Backward. Of several limits the least holds. A negative n leaves none out.
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

// Expiry returns Iter.Expiry of the row that the loop is at. Where loops over the
// same Rows are nested it is that of the inner one; outside of loops there is
// none.
func (r *Rows) Expiry() (at time.Time, expires bool) {
	if r.it == nil {
		return time.Time{}, false
	}
	return expiryTime(r.it.Expiry())
}

// Err returns what ended the last loop early, or nil.
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

// PrefixEnd returns the smallest key greater than every key that begins with p: the end
// of a range that holds these keys and no others. It is nil, no end, when there is
// none: p is empty or all 0xFF.
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
