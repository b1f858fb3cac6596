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
// Every loop opens an iterator of its own and closes it at its end. What it
// yields belongs to the caller.
type Rows[K, V any] struct {
	r      seerdb.Reader
	c      codecs[K, V]
	lo, hi []byte       // hi nil = no end
	limit  int          // of the rows of a loop; negative = none
	at     *seerdb.Rows // of the innermost loop that runs
	err    error
}

// again returns the same rows, outside of loops.
func (r *Rows[K, V]) again() *Rows[K, V] {
	return &Rows[K, V]{r: r.r, c: r.c, lo: r.lo, hi: r.hi, limit: r.limit}
}

// rows are the rows beneath, for one loop.
func (r *Rows[K, V]) rows() *seerdb.Rows { return r.r.Range(r.lo, r.hi).Limit(r.limit) }

// After returns those of the rows with a key > k: the next page of results,
// behind the last key of one.
func (r *Rows[K, V]) After(k K) *Rows[K, V] {
	out := r.again()
	// Between the two there is no key.
	if b := append(r.c.key.Append([]byte{}, k), 0); bytes.Compare(b, r.lo) > 0 {
		out.lo = b
	}
	return out
}

// Limit returns the first n of the rows, in the order of the loop: the last n
// keys for Backward. Of several limits the least holds. A negative n leaves
// none out.
func (r *Rows[K, V]) Limit(n int) *Rows[K, V] {
	out := r.again()
	out.limit = int(min(uint(r.limit), uint(n))) // a negative one is the largest
	return out
}

// From returns those of the rows with lo <= key.
func (r *Rows[K, V]) From(lo K) *Rows[K, V] {
	out := r.again()
	if b := r.c.key.Append([]byte{}, lo); bytes.Compare(b, r.lo) > 0 {
		out.lo = b
	}
	return out
}

// Before returns those of the rows with key < hi.
func (r *Rows[K, V]) Before(hi K) *Rows[K, V] {
	out := r.again()
	// The key may have no bytes, and must not become no bound.
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

// Expiry is when the row that the loop is at is gone, if it has an expiry: see
// seerdb.Rows.Expiry.
func (r *Rows[K, V]) Expiry() (at time.Time, expires bool) {
	if r.at == nil {
		return time.Time{}, false
	}
	return r.at.Expiry()
}

// Err returns what ended the last loop early, or nil.
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
		return k, fmt.Errorf("seerdb: key %q is not of this keyspace's codec: %w", key, err)
	}
	return k, nil
}
