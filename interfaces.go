package seerdb

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/private"
)

// The interfaces below are what a function takes that works on whatever reads or
// writes one tree of keys. Each method does what that of the type behind it says.
//
// They are there to be called. A type of your own implements one by embedding it, or
// one of the types behind it, and in no other way: so package typed can tell which
// keyspace it is about, and later versions may add methods.
type (
	// Reader reads one tree of keys. These are Readers: a DB, which is its default
	// keyspace, a Keyspace, a Snapshot, a Txn, and what Snapshot.In and Txn.In give.
	//
	// A DB and a Keyspace read what is newest at each call, the others one moment,
	// a Txn with its own writes on top. All are safe for concurrent use but those of
	// a transaction, which one goroutine uses. Iterators must be closed; a loop over
	// Rows closes its own.
	Reader interface {
		// Get returns a copy of the value of key, or ErrNotFound.
		Get(key []byte) ([]byte, error)
		// AppendGet appends the value of key to dst and returns the result, or dst
		// and ErrNotFound.
		AppendGet(dst, key []byte) ([]byte, error)
		// GetFunc calls fn with the value of key, which is valid during the call and
		// must not be modified, and returns what fn returns, or ErrNotFound.
		GetFunc(key []byte, fn func(value []byte) error) error
		// Has reports whether key has a value.
		Has(key []byte) (bool, error)
		// Expiry tells when key is gone, if it has an expiry, or ErrNotFound.
		Expiry(key []byte) (at time.Time, expires bool, err error)
		// ValueLen is the length of the value of key, or ErrNotFound.
		ValueLen(key []byte) (int, error)
		// NewIter opens an iterator, which must be closed.
		NewIter(o *IterOptions) (*Iter, error)
		// Range is the keys lo <= key < hi; nil means unbounded.
		Range(lo, hi []byte) *Rows
		// Prefix is the keys that begin with p.
		Prefix(p []byte) *Rows

		// at is what reads k there; nil if this is about one keyspace only.
		at(k *Keyspace) Reader
	}

	// Writer writes to one tree of keys. These are Writers: a DB, which is its default
	// keyspace, a Keyspace, a Batch, a Txn, and what Batch.In and Txn.In give.
	//
	// Each write of a DB or a Keyspace is a commit of its own, and they are safe for
	// concurrent use. The others collect writes until DB.Apply or Txn.Commit, and one
	// goroutine uses them. All copy what they are given.
	Writer interface {
		// Put sets key to value.
		Put(key, value []byte) error
		// PutTTL sets key to value for the time d.
		PutTTL(key, value []byte, d time.Duration) error
		// PutUntil sets key to value up to a moment; the zero time is no expiry.
		PutUntil(key, value []byte, at time.Time) error
		// Merge adds an operand to the value of key, without reading it.
		Merge(key, operand []byte) error
		// Delete removes key. Deleting a key that is not there is no error.
		Delete(key []byte) error
		// SingleDelete removes a key that was put at most once: see DB.SingleDelete
		// for what the caller promises.
		SingleDelete(key []byte) error
		// DeleteRange removes the keys lo <= key < hi; a nil hi means no end.
		DeleteRange(lo, hi []byte) error

		into(k *Keyspace) Writer // as at
	}

	// Store is a tree of keys that is read and written: a DB, which is its default
	// keyspace, a Keyspace, or a type that embeds one of them or a Store.
	Store interface {
		Reader
		Writer
		// PutIfAbsent sets key to value if it has none, and reports whether it did.
		PutIfAbsent(key, value []byte) (bool, error)
		// CompareAndSwap sets key to value if its value is old, and reports whether
		// it did. A nil old means that there is no value, a nil value removes the key.
		CompareAndSwap(key, old, value []byte) (bool, error)

		keyspace() *Keyspace // nil: the default one
	}

	// StoreTxn is a tree of keys in a transaction: a Txn, which is the default
	// keyspace, or what Txn.In gives. One goroutine uses it.
	StoreTxn interface {
		Reader
		Writer
		// GetForUpdate is Get, and the transaction will not commit if another client
		// writes the key in between.
		GetForUpdate(key []byte) ([]byte, error)

		in(k *Keyspace) StoreTxn // as at
	}
)

// What implements what.
var (
	_ Store    = (*DB)(nil)
	_ Store    = (*Keyspace)(nil)
	_ StoreTxn = (*Txn)(nil)
	_ StoreTxn = (*TxnIn)(nil)
	_ Reader   = (*DB)(nil)
	_ Reader   = (*Keyspace)(nil)
	_ Reader   = (*Snapshot)(nil)
	_ Reader   = (*SnapshotIn)(nil)
	_ Reader   = (*Txn)(nil)
	_ Reader   = (*TxnIn)(nil)
	_ Writer   = (*DB)(nil)
	_ Writer   = (*Keyspace)(nil)
	_ Writer   = (*Batch)(nil)
	_ Writer   = BatchIn{}
	_ Writer   = (*Txn)(nil)
	_ Writer   = (*TxnIn)(nil)
)

// keyspace is none, for the default one.
func (db *DB) keyspace() *Keyspace { return nil }

// keyspace is k, also of what embeds it. A nil one would pass for the default keyspace.
func (k *Keyspace) keyspace() *Keyspace {
	if k == nil {
		panic("seerdb: a nil *Keyspace; what did DB.Keyspace return with it?")
	}
	return k
}

// What spans keyspaces has a part for each.

func (s *Snapshot) at(k *Keyspace) Reader { return s.In(k) }
func (b *Batch) into(k *Keyspace) Writer  { return b.In(k) }
func (t *Txn) at(k *Keyspace) Reader      { return t.In(k) }
func (t *Txn) into(k *Keyspace) Writer    { return t.In(k) }
func (t *Txn) in(k *Keyspace) StoreTxn    { return t.In(k) }

// What is about one keyspace stays there; a DB is its default one.

func (db *DB) at(*Keyspace) Reader        { return nil }
func (db *DB) into(*Keyspace) Writer      { return nil }
func (k *Keyspace) at(*Keyspace) Reader   { return nil }
func (k *Keyspace) into(*Keyspace) Writer { return nil }
func (s *SnapshotIn) at(*Keyspace) Reader { return nil }
func (b BatchIn) into(*Keyspace) Writer   { return nil }
func (t *TxnIn) at(*Keyspace) Reader      { return nil }
func (t *TxnIn) into(*Keyspace) Writer    { return nil }
func (t *TxnIn) in(*Keyspace) StoreTxn    { return nil }

func init() {
	private.KeyspaceOf = func(store any) any { return store.(Store).keyspace() }
	private.At = func(r, k any) any { return part(r.(Reader), k, Reader.at) }
	private.Into = func(w, k any) any { return part(w.(Writer), k, Writer.into) }
	private.In = func(t, k any) any { return part(t.(StoreTxn), k, StoreTxn.in) }
}

// part is the part of x for a keyspace, or x itself: where it has none, and for the
// default keyspace, which is what it works on by itself.
func part[T any](x T, keyspace any, of func(T, *Keyspace) T) T {
	k := keyspace.(*Keyspace)
	if k == nil {
		return x
	}
	if p := of(x, k); any(p) != nil {
		return p
	}
	return x
}
