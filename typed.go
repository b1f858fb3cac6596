package seerdb

import (
	"fmt"
	"sync"
	"time"

	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/valuecodec"
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
	store Store
}

// NewTyped makes a typed view of a store.
func NewTyped[K, V any](store Store, key keycodec.Codec[K], value valuecodec.Codec[V]) *Typed[K, V] {
	c := codecs[K, V]{key, value}
	return &Typed[K, V]{TypedReader[K, V]{store, c}, TypedWriter[K, V]{store, c}, store}
}

// With is the same view of another store.
func (t *Typed[K, V]) With(store Store) *Typed[K, V] {
	return NewTyped(store, t.TypedReader.c.key, t.TypedReader.c.value)
}

// In reads and writes in a transaction, in the keyspace that this is a view of.
// What Txn.In gives is taken as it is, whichever keyspace that is on.
//
//	err := db.Update(ctx, func(t *seerdb.Txn) error {
//		users := users.In(t)
//		...
//	})
func (t *Typed[K, V]) In(txn StoreTxn) *TypedTxn[K, V] {
	c := t.TypedReader.c
	if x, ok := txn.(*Txn); ok && t.keyspace() != nil {
		txn = x.In(t.keyspace())
	}
	return &TypedTxn[K, V]{TypedReader[K, V]{txn, c}, TypedWriter[K, V]{txn, c}, txn}
}

// At reads from a snapshot or a transaction, in the keyspace that this is a view
// of, or from any other reader, as it is: what Snapshot.In or Txn.In give, a DB, a
// Keyspace.
func (t *Typed[K, V]) At(r Reader) *TypedReader[K, V] {
	if k := t.keyspace(); k != nil {
		switch x := r.(type) {
		case *Snapshot:
			r = x.In(k)
		case *Txn:
			r = x.In(k)
		}
	}
	return &TypedReader[K, V]{r, t.TypedReader.c}
}

// Into writes to a batch or a transaction, in the keyspace that this is a view
// of, or to any other writer, as it is: what Batch.In or Txn.In give, a DB, a
// Keyspace.
func (t *Typed[K, V]) Into(w Writer) *TypedWriter[K, V] {
	if k := t.keyspace(); k != nil {
		switch x := w.(type) {
		case *Batch:
			w = x.In(k)
		case *Txn:
			w = x.In(k)
		}
	}
	return &TypedWriter[K, V]{w, t.TypedWriter.c}
}

// keyspace is the one that this is a view of; nil is the default one.
func (t *Typed[K, V]) keyspace() *Keyspace {
	if s, ok := t.store.(interface{ keyspace() *Keyspace }); ok {
		return s.keyspace()
	}
	return nil
}

// PutIfAbsent sets k to v if it has no value, and reports whether it did.
func (t *Typed[K, V]) PutIfAbsent(k K, v V) (done bool, err error) {
	b, err := t.TypedWriter.c.encode(k, v)
	if err == nil {
		done, err = t.store.PutIfAbsent(b.key, b.value)
	}
	b.free()
	return done, err
}

// CompareAndSwap sets k to v if its value is old, and reports whether it did.
// What is compared is the encodings, so the codec of the values must encode equal
// values alike: all those of package valuecodec do that whose types do.
func (t *Typed[K, V]) CompareAndSwap(k K, old, v V) (done bool, err error) {
	c := &t.TypedWriter.c
	b, err := c.encode(k, old)
	if n := len(b.value); err == nil {
		if b.value, err = c.appendValue(b.key, b.value, v); err == nil {
			done, err = t.store.CompareAndSwap(b.key, notNil(b.value[:n:n]), notNil(b.value[n:]))
		}
	}
	b.free()
	return done, err
}

// CompareAndDelete removes k if its value is old, as CompareAndSwap compares, and
// reports whether it did.
func (t *Typed[K, V]) CompareAndDelete(k K, old V) (done bool, err error) {
	b, err := t.TypedWriter.c.encode(k, old)
	if err == nil {
		done, err = t.store.CompareAndSwap(b.key, notNil(b.value), nil)
	}
	b.free()
	return done, err
}

// TypedTxn is a Typed in a transaction, with which it ends. It has the methods of
// TypedReader and of TypedWriter.
type TypedTxn[K, V any] struct {
	TypedReader[K, V]
	TypedWriter[K, V]
	txn StoreTxn
}

// GetForUpdate is Get, and the transaction will not commit if another client
// writes the key in between. See Txn.GetForUpdate.
func (t *TypedTxn[K, V]) GetForUpdate(k K) (v V, err error) {
	b := t.TypedReader.c.encodeKey(k)
	value, err := t.txn.GetForUpdate(b.key)
	if err == nil {
		v, err = t.TypedReader.c.decodeValue(b.key, value)
	}
	b.free()
	return v, err
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
	b := t.c.encodeKey(k)
	b.value, err = t.r.AppendGet(b.value[:0], b.key)
	if err == nil {
		v, err = t.c.decodeValue(b.key, b.value)
	}
	b.free()
	return v, err
}

// Has reports whether k has a value, without reading or decoding it.
func (t *TypedReader[K, V]) Has(k K) (bool, error) {
	b := t.c.encodeKey(k)
	has, err := t.r.Has(b.key)
	b.free()
	return has, err
}

// Expiry tells when k is gone, if it has an expiry, or ErrNotFound. See DB.Expiry.
func (t *TypedReader[K, V]) Expiry(k K) (at time.Time, expires bool, err error) {
	b := t.c.encodeKey(k)
	at, expires, err = t.r.Expiry(b.key)
	b.free()
	return at, expires, err
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

// encodeKey encodes a key into a buffer, which must be freed.
func (c *codecs[K, V]) encodeKey(k K) *typedBuffer {
	b := typedBuffers.Get().(*typedBuffer)
	b.key = c.key.Append(b.key[:0], k)
	return b
}

// encode encodes both. The buffer must be freed after an error too.
func (c *codecs[K, V]) encode(k K, v V) (b *typedBuffer, err error) {
	b = c.encodeKey(k)
	b.value, err = c.appendValue(b.key, b.value[:0], v)
	return b, err
}

func (c *codecs[K, V]) appendValue(key, dst []byte, v V) ([]byte, error) {
	b, err := c.value.Append(dst, v)
	if err != nil {
		return dst, fmt.Errorf("seerdb: encoding the value of key %q: %w", key, err)
	}
	return b, nil
}

// TypedWriter writes keys and values of types K and V.
type TypedWriter[K, V any] struct {
	w Writer
	c codecs[K, V]
}

// Put sets k to v.
func (t *TypedWriter[K, V]) Put(k K, v V) error {
	b, err := t.c.encode(k, v)
	if err == nil {
		err = t.w.Put(b.key, b.value)
	}
	b.free()
	return err
}

// PutTTL sets k to v for the time d. See DB.PutTTL.
func (t *TypedWriter[K, V]) PutTTL(k K, v V, d time.Duration) error {
	b, err := t.c.encode(k, v)
	if err == nil {
		err = t.w.PutTTL(b.key, b.value, d)
	}
	b.free()
	return err
}

// PutUntil sets k to v up to a moment. See DB.PutUntil.
func (t *TypedWriter[K, V]) PutUntil(k K, v V, at time.Time) error {
	b, err := t.c.encode(k, v)
	if err == nil {
		err = t.w.PutUntil(b.key, b.value, at)
	}
	b.free()
	return err
}

// Merge adds an operand to the value of k, without reading it. See DB.Merge.
//
// The operand is encoded as values are. The operators of package merger take
// that, with a codec that writes their form: valuecodec.Int64 for a counter,
// valuecodec.Set for a union. For an operator of your own whose operands are of
// another type than its values make a second view, with a codec of operands, and
// use it to merge and for nothing else.
func (t *TypedWriter[K, V]) Merge(k K, operand V) error {
	b, err := t.c.encode(k, operand)
	if err == nil {
		err = t.w.Merge(b.key, b.value)
	}
	b.free()
	return err
}

// Delete removes k. Deleting a key that is not there is no error.
func (t *TypedWriter[K, V]) Delete(k K) error {
	b := t.c.encodeKey(k)
	err := t.w.Delete(b.key)
	b.free()
	return err
}

// SingleDelete removes k, of which the caller promises that it was put at most
// once. See DB.SingleDelete.
func (t *TypedWriter[K, V]) SingleDelete(k K) error {
	b := t.c.encodeKey(k)
	err := t.w.SingleDelete(b.key)
	b.free()
	return err
}

// DeleteRange removes the keys lo <= key < hi, at the same cost however many
// there are. A range in which hi is not above lo is empty.
func (t *TypedWriter[K, V]) DeleteRange(lo, hi K) error {
	b := t.c.encodeKey(lo)
	b.value = t.c.key.Append(b.value[:0], hi)
	err := t.w.DeleteRange(b.key, notNil(b.value))
	b.free()
	return err
}

// DeleteRows removes every key of a range that may be open at its ends:
//
//	err := users.DeleteRows(users.Rows().From(1000))
//	err := posts.DeleteRows(posts.Prefix(byUser.First("ada")))
//
// The rows say no more than which range that is, and are not read: what is
// removed is what the store of t has there, whichever they are rows of. That
// costs what DeleteRange costs.
func (t *TypedWriter[K, V]) DeleteRows(rows *TypedRows[K, V]) error {
	return t.w.DeleteRange(rows.lo, rows.hi)
}

// notNil makes the encoding of a value or of an end, which is no bytes, not be
// taken for none.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
