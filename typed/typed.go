// Package typed provides keys and values of Go types for a seerdb database:
//
//	users := typed.New(db, keycodec.Uint64, valuecodec.JSON[User]())
//	err := users.Put(7, User{Name: "Ada"})
//	u, err := users.Get(7)
//
// A Store is a view of a DB or a Keyspace that encodes and decodes keys and
// values. It has views of the same keyspace in a transaction (Store.In), at a
// snapshot (Store.At) and in a batch (Store.Into). A view takes no memory
// besides the encodings, which it reuses.
//
// Packages keycodec and valuecodec have the codecs. Errors are those of the
// database, and those of codecs, wrapped with the key that they concern.
package typed

import (
	"fmt"
	"sync"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/private"
	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/valuecodec"
)

// Store is a store of keys of type K and values of type V: a view of a DB or a
// Keyspace. It has the methods of Reader and of Writer. It has no state of its
// own: it is cheap to make, needs no closing, and is as safe for concurrent use
// as the store is. Keys are ordered by their codec.
//
// The codecs are part of what is stored: use the same ones for as long as the
// data lives, and store nothing else among its keys.
type Store[K, V any] struct {
	Reader[K, V]
	Writer[K, V]
	store seerdb.Store
	k     *seerdb.Keyspace // of store; nil for the default one
}

// New returns a view of a store.
func New[K, V any](store seerdb.Store, key keycodec.Codec[K], value valuecodec.Codec[V]) *Store[K, V] {
	c := codecs[K, V]{key, value}
	return &Store[K, V]{Reader[K, V]{store, c}, Writer[K, V]{store, c}, store, private.KeyspaceOf(store).(*seerdb.Keyspace)}
}

// With returns the same view of another store.
func (t *Store[K, V]) With(store seerdb.Store) *Store[K, V] {
	return New(store, t.Reader.c.key, t.Reader.c.value)
}

// In returns the view in a transaction, in the same keyspace. Results of Txn.In
// and Txn.Keyspace are used as they are, whatever their keyspace.
//
//	err := db.Update(ctx, func(t *seerdb.Txn) error {
//		users := users.In(t)
//		...
//	})
func (t *Store[K, V]) In(txn *seerdb.Txn) *Txn[K, V] {
	c := t.Reader.c
	txn = private.In(txn, t.k).(*seerdb.Txn)
	return &Txn[K, V]{Reader[K, V]{txn, c}, Writer[K, V]{txn, c}, txn}
}

// At returns the view at a snapshot or in a transaction, in the same keyspace.
// Readers of one keyspace are used as they are: results of Snapshot.In and
// Txn.In, a Keyspace, and a DB, which is its default keyspace. For a type that
// embeds one of these, the type's own methods are bypassed unless the view is of
// the default keyspace.
func (t *Store[K, V]) At(r seerdb.Reader) *Reader[K, V] {
	return &Reader[K, V]{private.At(r, t.k).(seerdb.Reader), t.Reader.c}
}

// Into returns the view in a batch or a transaction, in the same keyspace.
// Writers to one keyspace are used as they are: results of Batch.In and Txn.In,
// a Keyspace, and a DB, which is its default keyspace. For types that embed
// these see At.
func (t *Store[K, V]) Into(w seerdb.Writer) *Writer[K, V] {
	return &Writer[K, V]{private.Into(w, t.k).(seerdb.Writer), t.Writer.c}
}

// PutIfAbsent sets k to v if it has no value, and reports whether it did.
func (t *Store[K, V]) PutIfAbsent(k K, v V) (done bool, err error) {
	b, err := t.Writer.c.encode(k, v)
	if err == nil {
		done, err = t.store.PutIfAbsent(b.key, b.value)
	}
	b.free()
	return done, err
}

// CompareAndSwap sets k to v if its value is old, and reports whether it did.
// It compares encodings, so the codec must encode equal values alike: all
// codecs of package valuecodec do if their types do.
func (t *Store[K, V]) CompareAndSwap(k K, old, v V) (done bool, err error) {
	c := &t.Writer.c
	b, err := c.encode(k, old)
	if n := len(b.value); err == nil {
		if b.value, err = c.appendValue(b.key, b.value, v); err == nil {
			done, err = t.store.CompareAndSwap(b.key, notNil(b.value[:n:n]), notNil(b.value[n:]))
		}
	}
	b.free()
	return done, err
}

// CompareAndDelete removes k if its value is old, compared as in
// CompareAndSwap, and reports whether it did.
func (t *Store[K, V]) CompareAndDelete(k K, old V) (done bool, err error) {
	b, err := t.Writer.c.encode(k, old)
	if err == nil {
		done, err = t.store.CompareAndSwap(b.key, notNil(b.value), nil)
	}
	b.free()
	return done, err
}

// Txn is a Store in a transaction, and ends with it. It has the methods of
// Reader and of Writer.
type Txn[K, V any] struct {
	Reader[K, V]
	Writer[K, V]
	txn *seerdb.Txn
}

// GetForUpdate is Get that makes the commit of the transaction fail if another
// client writes the key in between. See seerdb.Txn.GetForUpdate.
func (t *Txn[K, V]) GetForUpdate(k K) (v V, err error) {
	b := t.Reader.c.encodeKey(k)
	value, err := t.txn.GetForUpdate(b.key)
	if err == nil {
		v, err = t.Reader.c.decodeValue(b.key, value)
	}
	b.free()
	return v, err
}

// codecs are the codecs of a view.
type codecs[K, V any] struct {
	key   keycodec.Codec[K]
	value valuecodec.Codec[V]
}

// pooledMax bounds the buffers that are kept, so that a rare huge value does
// not stay in memory for ever.
const pooledMax = 1 << 20

// buffer has the encodings of one operation.
type buffer struct{ key, value []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// free returns the buffer to the pool, unless it is too large to keep.
func (b *buffer) free() {
	if cap(b.key)+cap(b.value) <= pooledMax {
		buffers.Put(b)
	}
}

// Reader reads keys and values of types K and V.
type Reader[K, V any] struct {
	r seerdb.Reader
	c codecs[K, V]
}

// Get returns the value of k, or ErrNotFound.
func (t *Reader[K, V]) Get(k K) (v V, err error) {
	b := t.c.encodeKey(k)
	b.value, err = t.r.AppendGet(b.value[:0], b.key)
	if err == nil {
		v, err = t.c.decodeValue(b.key, b.value)
	}
	b.free()
	return v, err
}

// Has reports whether k has a value, without reading or decoding it.
func (t *Reader[K, V]) Has(k K) (bool, error) {
	b := t.c.encodeKey(k)
	has, err := t.r.Has(b.key)
	b.free()
	return has, err
}

// Expiry returns when k expires, if it has an expiry, or ErrNotFound. See
// seerdb.DB.Expiry.
func (t *Reader[K, V]) Expiry(k K) (at time.Time, expires bool, err error) {
	b := t.c.encodeKey(k)
	at, expires, err = t.r.Expiry(b.key)
	b.free()
	return at, expires, err
}

// Rows returns all rows. Its methods From and Before narrow them.
func (t *Reader[K, V]) Rows() *Rows[K, V] { return &Rows[K, V]{r: t.r, c: t.c, limit: -1} }

// Range returns the rows with lo <= key < hi.
func (t *Reader[K, V]) Range(lo, hi K) *Rows[K, V] { return t.Rows().From(lo).Before(hi) }

// Prefix returns the rows whose keys begin with p: strings with a common
// prefix, or tuples with the same first elements. The codec of the keys makes
// prefixes.
func (t *Reader[K, V]) Prefix(p keycodec.Prefix[K]) *Rows[K, V] {
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
func (c *codecs[K, V]) encodeKey(k K) *buffer {
	b := buffers.Get().(*buffer)
	b.key = c.key.Append(b.key[:0], k)
	return b
}

// encode encodes both. The buffer must be freed after an error too.
func (c *codecs[K, V]) encode(k K, v V) (b *buffer, err error) {
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

// Writer writes keys and values of types K and V.
type Writer[K, V any] struct {
	w seerdb.Writer
	c codecs[K, V]
}

// Put sets k to v.
func (t *Writer[K, V]) Put(k K, v V) error {
	b, err := t.c.encode(k, v)
	if err == nil {
		err = t.w.Put(b.key, b.value)
	}
	b.free()
	return err
}

// PutTTL sets k to v for the time d. See seerdb.DB.PutTTL.
func (t *Writer[K, V]) PutTTL(k K, v V, d time.Duration) error {
	b, err := t.c.encode(k, v)
	if err == nil {
		err = t.w.PutTTL(b.key, b.value, d)
	}
	b.free()
	return err
}

// PutUntil sets k to v until at. See seerdb.DB.PutUntil.
func (t *Writer[K, V]) PutUntil(k K, v V, at time.Time) error {
	b, err := t.c.encode(k, v)
	if err == nil {
		err = t.w.PutUntil(b.key, b.value, at)
	}
	b.free()
	return err
}

// Merge adds an operand to the value of k, without reading it. See seerdb.DB.Merge.
//
// The operand is encoded as a value. The operators of package merger accept
// that with a codec that writes their form: valuecodec.Int64 for a counter,
// valuecodec.Set for a union. For an operator of your own whose operands have
// another type than its values make a second view, with a codec of operands,
// and use it only to merge.
func (t *Writer[K, V]) Merge(k K, operand V) error {
	b, err := t.c.encode(k, operand)
	if err == nil {
		err = t.w.Merge(b.key, b.value)
	}
	b.free()
	return err
}

// Delete removes k. Deleting an absent key is not an error.
func (t *Writer[K, V]) Delete(k K) error {
	b := t.c.encodeKey(k)
	err := t.w.Delete(b.key)
	b.free()
	return err
}

// SingleDelete removes k. The caller promises that k was put at most once. See
// seerdb.DB.SingleDelete.
func (t *Writer[K, V]) SingleDelete(k K) error {
	b := t.c.encodeKey(k)
	err := t.w.SingleDelete(b.key)
	b.free()
	return err
}

// DeleteRange removes the keys lo <= key < hi, at the same cost however many
// there are. If hi <= lo it removes none.
func (t *Writer[K, V]) DeleteRange(lo, hi K) error {
	b := t.c.encodeKey(lo)
	b.value = t.c.key.Append(b.value[:0], hi)
	err := t.w.DeleteRange(b.key, notNil(b.value))
	b.free()
	return err
}

// DeleteRows removes every key of a range that may have no bounds:
//
//	err := users.DeleteRows(users.Rows().From(1000))
//	err := posts.DeleteRows(posts.Prefix(byUser.First("ada")))
//
// The rows only define the range, and are not read: DeleteRows removes the keys
// that the store of t has there, whichever store rows is of. It costs what
// DeleteRange costs. It refuses rows with a Limit with
// seerdb.ErrInvalidOptions.
func (t *Writer[K, V]) DeleteRows(rows *Rows[K, V]) error {
	if rows.limit >= 0 {
		return fmt.Errorf("%w: DeleteRows cannot delete rows with a limit of %d; without a limit it deletes all keys of their range", seerdb.ErrInvalidOptions, rows.limit)
	}
	return t.w.DeleteRange(rows.lo, rows.hi)
}

// notNil maps nil to an empty slice: nil would mean that there is no value or
// no end.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
