package seerdb

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/private"
)

// What a function takes that works on whatever reads or writes one tree of keys.
type (
	// Reader reads one tree of keys. These are Readers: a DB, which is its default
	// keyspace, a Keyspace, a Snapshot, a Txn, and what Snapshot.In and Txn.In give.
	// The methods do what those of DB do.
	//
	// A DB and a Keyspace read what is newest at each call, the others one moment,
	// a Txn with its own writes on top. All are safe for concurrent use but those of
	// a transaction, which one goroutine uses.
	//
	// It is there to be called, as are Writer, Store and StoreTxn. A type of your own
	// implements one of them by embedding it, or one of the types behind it, and in no
	// other way: so package typed can tell which keyspace it is about, and later versions
	// may add methods.
	Reader interface {
		Get(key []byte) ([]byte, error)
		AppendGet(dst, key []byte) ([]byte, error)
		GetFunc(key []byte, fn func(value []byte) error) error
		Has(key []byte) (bool, error)
		Expiry(key []byte) (at time.Time, expires bool, err error)
		ValueLen(key []byte) (int, error)
		NewIter(o *IterOptions) (*Iter, error)
		Range(lo, hi []byte) *Rows
		Prefix(p []byte) *Rows

		at(k *Keyspace) Reader // what reads k there; nil if this is about one keyspace only
	}

	// Writer writes to one tree of keys. These are Writers: a DB, which is its default
	// keyspace, a Keyspace, a Batch, a Txn, and what Batch.In and Txn.In give. The
	// methods do what those of DB do.
	//
	// Each write of a DB or a Keyspace is a commit of its own, and they are safe for
	// concurrent use. The others collect writes until DB.Apply or Txn.Commit, and one
	// goroutine uses them. All copy what they are given.
	Writer interface {
		Put(key, value []byte) error
		PutTTL(key, value []byte, d time.Duration) error
		PutUntil(key, value []byte, at time.Time) error
		Merge(key, operand []byte) error
		Delete(key []byte) error
		SingleDelete(key []byte) error
		DeleteRange(lo, hi []byte) error

		into(k *Keyspace) Writer // as at
	}

	// Store is a tree of keys that is read and written: a DB, which is its default
	// keyspace, a Keyspace, or a type that embeds one of them or a Store.
	Store interface {
		Reader
		Writer
		PutIfAbsent(key, value []byte) (bool, error)
		CompareAndSwap(key, old, value []byte) (bool, error)

		keyspace() *Keyspace // nil: the default one
	}

	// StoreTxn is a tree of keys in a transaction: a Txn, which is the default
	// keyspace, or what Txn.In gives. GetForUpdate does what that of Txn does. One
	// goroutine uses it.
	StoreTxn interface {
		Reader
		Writer
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
	_ Reader   = (*Snapshot)(nil)
	_ Reader   = (*SnapshotIn)(nil)
	_ Writer   = (*Batch)(nil)
	_ Writer   = (*BatchIn)(nil)
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

// What is about one keyspace stays there; a DB is its default one.

func (r *reader) at(*Keyspace) Reader     { return nil }
func (w *writer) into(*Keyspace) Writer   { return nil }
func (t *txnStore) in(*Keyspace) StoreTxn { return nil }

// What spans keyspaces has a part for each.

func (s *Snapshot) at(k *Keyspace) Reader { return s.In(k) }
func (b *Batch) into(k *Keyspace) Writer  { return b.In(k) }
func (t *Txn) at(k *Keyspace) Reader      { return t.In(k) }
func (t *Txn) into(k *Keyspace) Writer    { return t.In(k) }
func (t *Txn) in(k *Keyspace) StoreTxn    { return t.In(k) }

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
