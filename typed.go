package seerdb

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"sync"

	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/valuecodec"
)

// What typed access needs of the store beneath it.
type (
	// Reader is what can be read: a DB, a Keyspace, a Snapshot, or what
	// Snapshot.In gives.
	Reader interface {
		AppendGet(dst, key []byte) ([]byte, error)
		Has(key []byte) (bool, error)
		Range(lo, hi []byte) *Rows
	}
	// Writer is what can be written to: a DB, a Keyspace, a Batch, or what
	// Batch.In gives.
	Writer interface {
		Put(key, value []byte) error
		Delete(key []byte) error
	}
	// ReadWriter is both.
	ReadWriter interface {
		Reader
		Writer
	}
)

// Typed is a store of keys of type K and values of type V: a view of a DB or a
// Keyspace, whose every key and value it encodes and decodes.
//
//	users := seerdb.NewTyped(db, keycodec.Uint64, valuecodec.JSON[User]())
//	err := users.Put(7, User{Name: "Ada"})
//	u, err := users.Get(7)
//
// It has the methods of TypedReader and of TypedWriter, and holds nothing of its
// own: it is cheap to make, needs no closing, and is as safe for concurrent use
// as the store is. Keys sort as their codec says.
//
// The codecs are part of what is stored: the same ones must be used for as long
// as the data lives, and nothing else may be kept among its keys.
type Typed[K, V any] struct {
	TypedReader[K, V]
	TypedWriter[K, V]
}

// NewTyped makes a typed view of a store.
func NewTyped[K, V any](store ReadWriter, key keycodec.Codec[K], value valuecodec.Codec[V]) *Typed[K, V] {
	c := codecs[K, V]{key, value}
	return &Typed[K, V]{TypedReader[K, V]{store, c}, TypedWriter[K, V]{store, c}}
}

// With is the same view of another store.
func (t *Typed[K, V]) With(store ReadWriter) *Typed[K, V] {
	return NewTyped(store, t.TypedReader.c.key, t.TypedReader.c.value)
}

// At reads from something else, such as a snapshot. That says which keyspace is
// read too: s.In(k) for a view of k, and s alone for one of the database.
func (t *Typed[K, V]) At(r Reader) *TypedReader[K, V] {
	return &TypedReader[K, V]{r, t.TypedReader.c}
}

// Into writes to something else, such as a batch. That says which keyspace is
// written to too: b.In(k) for a view of k, and b alone for one of the database.
func (t *Typed[K, V]) Into(w Writer) *TypedWriter[K, V] {
	return &TypedWriter[K, V]{w, t.TypedWriter.c}
}

type codecs[K, V any] struct {
	key   keycodec.Codec[K]
	value valuecodec.Codec[V]
}

// typedBuffer has the encodings of one operation.
type typedBuffer struct{ key, value []byte }

var typedBuffers = sync.Pool{New: func() any { return new(typedBuffer) }}

// free gives the buffer back, unless it has become too large to keep.
func (b *typedBuffer) free() {
	if cap(b.key)+cap(b.value) <= pooledBatchMax {
		typedBuffers.Put(b)
	}
}

// TypedReader reads keys and values of types K and V.
type TypedReader[K, V any] struct {
	r Reader
	c codecs[K, V]
}

// Get returns the value of k, or ErrNotFound.
func (t *TypedReader[K, V]) Get(k K) (v V, err error) {
	b := typedBuffers.Get().(*typedBuffer)
	b.key = t.c.key.Append(b.key[:0], k)
	b.value, err = t.r.AppendGet(b.value[:0], b.key)
	if err == nil {
		v, err = t.c.decodeValue(b.key, b.value)
	}
	b.free()
	return v, err
}

// Has reports whether k has a value, without reading or decoding it.
func (t *TypedReader[K, V]) Has(k K) (bool, error) {
	b := typedBuffers.Get().(*typedBuffer)
	b.key = t.c.key.Append(b.key[:0], k)
	has, err := t.r.Has(b.key)
	b.free()
	return has, err
}

// Rows is everything there is. Its methods From and Before narrow it.
func (t *TypedReader[K, V]) Rows() *TypedRows[K, V] { return &TypedRows[K, V]{r: t.r, c: t.c} }

// Range is the keys lo <= key < hi.
func (t *TypedReader[K, V]) Range(lo, hi K) *TypedRows[K, V] { return t.Rows().From(lo).Before(hi) }

// Prefix is the keys that begin with p: strings with a common beginning, or
// tuples with the same first elements. The codec of the keys makes prefixes.
func (t *TypedReader[K, V]) Prefix(p keycodec.Prefix[K]) *TypedRows[K, V] {
	rows := t.Rows()
	rows.lo, rows.hi = p.Bounds()
	return rows
}

func (c *codecs[K, V]) decodeValue(key, value []byte) (V, error) {
	v, err := c.value.Decode(value)
	if err != nil {
		var zero V
		return zero, fmt.Errorf("seerdb: value of key %q: %w", key, err)
	}
	return v, nil
}

// TypedWriter writes keys and values of types K and V.
type TypedWriter[K, V any] struct {
	w Writer
	c codecs[K, V]
}

// Put sets k to v.
func (t *TypedWriter[K, V]) Put(k K, v V) (err error) {
	b := typedBuffers.Get().(*typedBuffer)
	b.key = t.c.key.Append(b.key[:0], k)
	if b.value, err = t.c.value.Append(b.value[:0], v); err != nil {
		err = fmt.Errorf("seerdb: encoding the value of key %q: %w", b.key, err)
	} else {
		err = t.w.Put(b.key, b.value)
	}
	b.free()
	return err
}

// Delete removes k. Deleting a key that is not there is no error.
func (t *TypedWriter[K, V]) Delete(k K) error {
	b := typedBuffers.Get().(*typedBuffer)
	b.key = t.c.key.Append(b.key[:0], k)
	err := t.w.Delete(b.key)
	b.free()
	return err
}

// TypedRows is a range of keys and their values as a sequence:
//
//	rows := users.Rows().From(1000)
//	for id, user := range rows.All() {
//		...
//	}
//	if err := rows.Err(); err != nil { ... }
//
// Every loop opens an iterator of its own and closes it at its end. What it
// yields belongs to the caller.
type TypedRows[K, V any] struct {
	r      Reader
	c      codecs[K, V]
	lo, hi []byte // hi nil = no end
	err    error
}

// From is those of the rows with lo <= key.
func (r *TypedRows[K, V]) From(lo K) *TypedRows[K, V] {
	out := &TypedRows[K, V]{r: r.r, c: r.c, lo: r.lo, hi: r.hi}
	if b := r.c.key.Append([]byte{}, lo); bytes.Compare(b, r.lo) > 0 {
		out.lo = b
	}
	return out
}

// Before is those of the rows with key < hi.
func (r *TypedRows[K, V]) Before(hi K) *TypedRows[K, V] {
	out := &TypedRows[K, V]{r: r.r, c: r.c, lo: r.lo, hi: r.hi}
	// The key may have no bytes, and must not become no bound.
	if b := r.c.key.Append([]byte{}, hi); r.hi == nil || bytes.Compare(b, r.hi) < 0 {
		out.hi = b
	}
	return out
}

// All yields keys and values in ascending order.
func (r *TypedRows[K, V]) All() iter.Seq2[K, V] { return r.seq((*Rows).All) }

// Backward yields keys and values in descending order.
func (r *TypedRows[K, V]) Backward() iter.Seq2[K, V] { return r.seq((*Rows).Backward) }

// Keys yields the keys in ascending order without reading values.
func (r *TypedRows[K, V]) Keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		rows := r.r.Range(r.lo, r.hi)
		var err error
		for key := range rows.Keys() {
			var k K
			if k, err = r.decodeKey(key); err != nil || !yield(k) {
				break
			}
		}
		r.err = cmp.Or(err, rows.Err())
	}
}

// Err is what ended the last loop early, or nil.
func (r *TypedRows[K, V]) Err() error { return r.err }

func (r *TypedRows[K, V]) seq(order func(*Rows) iter.Seq2[[]byte, []byte]) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		rows := r.r.Range(r.lo, r.hi)
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
		r.err = cmp.Or(err, rows.Err())
	}
}

func (r *TypedRows[K, V]) decodeKey(key []byte) (K, error) {
	k, err := r.c.key.Decode(key)
	if err != nil {
		return k, fmt.Errorf("seerdb: key %q is not of this keyspace's codec: %w", key, err)
	}
	return k, nil
}
