package seerdb

import (
	"cmp"
	"time"

	"github.com/seerdb-go/seerdb/internal/private"
)

// What a function takes that works on whatever reads or writes one tree of keys.
type (
	// Reader reads one tree of keys. These are Readers: a DB, which is its default
	// keyspace, a Keyspace, a Snapshot and a Txn, also those that an In returns. The
	// methods do what those of DB do.
	//
	// A DB and a Keyspace read what is newest at each call, the others one moment,
	// a Txn with its own writes on top. All are safe for concurrent use but those of
	// a transaction, which one goroutine uses.
	//
	// It is there to be called, as are Writer and Store. A type of your own
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

		at(k *Keyspace) any // what reads k there; nil if that is this itself
	}

	// Writer writes to one tree of keys. These are Writers: a DB, which is its default
	// keyspace, a Keyspace, a Batch and a Txn, also those that an In returns. The
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

		into(k *Keyspace) any // as at
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
)

// What implements what.
var (
	_ Store  = (*DB)(nil)
	_ Store  = (*Keyspace)(nil)
	_ Reader = (*Snapshot)(nil)
	_ Reader = (*Txn)(nil)
	_ Writer = (*Txn)(nil)
	_ Writer = (*Batch)(nil)
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

// What In gave, a DB and a Keyspace stay where they are, and so do all for a nil k, which
// is the default keyspace.

func (r *reader) at(k *Keyspace) any {
	if k == nil || r.s == nil && r.t == nil || r.k.ID() != 0 {
		return nil
	}
	return &reader{k: k.reader.k, s: r.s, t: r.t}
}

func (w *writer) into(k *Keyspace) any {
	switch {
	case k == nil || w.k != nil && (w.t == nil || w.k.ID() != 0):
		return nil
	case w.t != nil:
		return &writer{e: w.e, k: k.writer.k, t: w.t}
	}
	return &writer{e: k.e, k: k.writer.k, b: w.operations()}
}

func (t *Txn) in(k *Keyspace) any {
	if k == nil || t.reader.k.ID() != 0 {
		return nil
	}
	return t.In(k)
}

func init() {
	private.KeyspaceOf = func(store any) any { return store.(Store).keyspace() }
	private.At = func(r, k any) any { return cmp.Or(r.(Reader).at(k.(*Keyspace)), r) }
	private.Into = func(w, k any) any { return cmp.Or(w.(Writer).into(k.(*Keyspace)), w) }
	private.In = func(t, k any) any { return cmp.Or(t.(*Txn).in(k.(*Keyspace)), t) }
}
