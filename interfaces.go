package seerdb

import (
	"cmp"
	"time"

	"github.com/seerdb-go/seerdb/internal/private"
)

// The interfaces for functions that work on any tree of keys.
type (
	// Reader reads one tree of keys. These are Readers: a DB, which reads its default
	// keyspace, a Keyspace, a Snapshot and a Txn, also those that an In method returns. DB
	// documents the methods.
	//
	// A DB and a Keyspace read the newest commits at each call. A Snapshot and a Txn read
	// one moment, a Txn with its own writes on top. All are safe for concurrent use except
	// a Txn, which is for one goroutine.
	//
	// Reader, Writer and Store are for callers to use. A type outside this package can
	// implement them only by embedding one of them or one of the types behind them. So
	// package typed can find the keyspace of each, and later versions may add methods.
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

		at(k *Keyspace) any // what reads k at the same moment; nil if the receiver itself does
	}

	// Writer writes to one tree of keys. These are Writers: a DB, which writes to its
	// default keyspace, a Keyspace, a Batch and a Txn, also those that an In method
	// returns. DB documents the methods.
	//
	// A DB and a Keyspace make each write a commit of its own, and are safe for concurrent
	// use. A Batch and a Txn collect writes until DB.Apply or Txn.Commit, and are for one
	// goroutine. All copy their arguments.
	Writer interface {
		Put(key, value []byte) error
		PutTTL(key, value []byte, d time.Duration) error
		PutUntil(key, value []byte, at time.Time) error
		Merge(key, operand []byte) error
		Delete(key []byte) error
		SingleDelete(key []byte) error
		DeleteRange(lo, hi []byte) error

		into(k *Keyspace) any // what writes to k in the same commit; nil if the receiver itself does
	}

	// Store reads and writes one tree of keys: a DB, which uses its default keyspace, a
	// Keyspace, or a type that embeds one of them or a Store.
	Store interface {
		Reader
		Writer
		PutIfAbsent(key, value []byte) (bool, error)
		CompareAndSwap(key, old, value []byte) (bool, error)

		keyspace() *Keyspace // nil: the default one
	}
)

// The compiler checks which types implement which interfaces.
var (
	_ Store  = (*DB)(nil)
	_ Store  = (*Keyspace)(nil)
	_ Reader = (*Snapshot)(nil)
	_ Reader = (*Txn)(nil)
	_ Writer = (*Txn)(nil)
	_ Writer = (*Batch)(nil)
)

// keyspace returns nil, which means the default keyspace.
func (db *DB) keyspace() *Keyspace { return nil }

// keyspace returns k, also when called on a type that embeds k. It panics if k is nil,
// which would pass for the default keyspace.
func (k *Keyspace) keyspace() *Keyspace {
	if k == nil {
		panic("seerdb: nil *Keyspace: check the error of DB.Keyspace")
	}
	return k
}

// The methods at, into and in return nil where the receiver is to be used as it is: for a DB, a
// Keyspace, the result of an In method, and any receiver if k is nil, the default keyspace.

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
