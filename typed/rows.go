package typed

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"time"

	"github.com/seerdb-go/seerdb"
)

// Rows is a range of keys and their values as a sequence:
//
//	rows := users.Rows().From(1000)
//	for id, user := range rows.All() {
//		...
//	}
//	if err := rows.Err(); err != nil { ... }
//
// Every loop opens an iterator and closes it when it ends. Yielded keys and
// values belong to the caller.
type Rows[K, V any] struct {
	r      seerdb.Reader
	c      codecs[K, V]
	lo, hi []byte       // nil hi means no end
	limit  int          // of the rows in a loop; negative for none
	at     *seerdb.Rows // of the innermost running loop
	err    error
}

// again returns the same rows for another loop.
func (r *Rows[K, V]) again() *Rows[K, V] {
	return &Rows[K, V]{r: r.r, c: r.c, lo: r.lo, hi: r.hi, limit: r.limit}
}

// rows returns the underlying rows for one loop.
func (r *Rows[K, V]) rows() *seerdb.Rows { return r.r.Range(r.lo, r.hi).Limit(r.limit) }

// After returns the rows with key > k: the next page of results, if k is the
// last key of a page.
func (r *Rows[K, V]) After(k K) *Rows[K, V] {
	out := r.again()
	// There is no key between the two.
	if b := append(r.c.key.Append([]byte{}, k), 0); bytes.Compare(b, r.lo) > 0 {
		out.lo = b
	}
	return out
}

// Limit returns the first n rows in the order of the loop: for Backward the
// rows with the last n keys. The smallest of several limits applies. A negative
// n is no limit.
func (r *Rows[K, V]) Limit(n int) *Rows[K, V] {
	out := r.again()
	out.limit = int(min(uint(r.limit), uint(n))) // a negative one becomes the largest
	return out
}

// From returns the rows with lo <= key.
func (r *Rows[K, V]) From(lo K) *Rows[K, V] {
	out := r.again()
	if b := r.c.key.Append([]byte{}, lo); bytes.Compare(b, r.lo) > 0 {
		out.lo = b
	}
	return out
}

// Before returns the rows with key < hi.
func (r *Rows[K, V]) Before(hi K) *Rows[K, V] {
	out := r.again()
	// An empty encoding must not become nil, which is no bound.
	if b := notNil(r.c.key.Append(nil, hi)); r.hi == nil || bytes.Compare(b, r.hi) < 0 {
		out.hi = b
	}
	return out
}

// All yields keys and values in ascending order.
func (r *Rows[K, V]) All() iter.Seq2[K, V] { return r.seq((*seerdb.Rows).All) }

// Backward yields keys and values in descending order.
func (r *Rows[K, V]) Backward() iter.Seq2[K, V] { return r.seq((*seerdb.Rows).Backward) }

// Keys yields the keys in ascending order without reading values.
func (r *Rows[K, V]) Keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		rows, outer := r.rows(), r.at
		r.at = rows
		var err error
		for key := range rows.Keys() {
			var k K
			if k, err = r.decodeKey(key); err != nil || !yield(k) {
				break
			}
		}
		r.at, r.err = outer, cmp.Or(err, rows.Err())
	}
}

// Expiry returns when the loop's current row expires, if it has an expiry: see
// seerdb.Rows.Expiry.
func (r *Rows[K, V]) Expiry() (at time.Time, expires bool) {
	if r.at == nil {
		return time.Time{}, false
	}
	return r.at.Expiry()
}

// Err returns the error that ended the last loop early, or nil.
func (r *Rows[K, V]) Err() error { return r.err }

func (r *Rows[K, V]) seq(order func(*seerdb.Rows) iter.Seq2[[]byte, []byte]) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		rows, outer := r.rows(), r.at
		r.at = rows
		var err error
		for key, value := range order(rows) {
			var k K
			var v V
			if k, err = r.decodeKey(key); err != nil {
				break
			}
			if v, err = r.c.decodeValue(key, value); err != nil || !yield(k, v) {
				break
			}
		}
		r.at, r.err = outer, cmp.Or(err, rows.Err())
	}
}

func (r *Rows[K, V]) decodeKey(key []byte) (K, error) {
	k, err := r.c.key.Decode(key)
	if err != nil {
		return k, fmt.Errorf("seerdb: key %q does not decode with this keyspace's codec: %w", key, err)
	}
	return k, nil
}
