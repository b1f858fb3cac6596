package seerdb

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
)

// Keyspace is a separate tree of keys within a database, as is a column family of RocksDB
// or a bucket of bbolt. The methods of DB use the default keyspace, which has no name.
//
// Keyspaces share the log, so one batch may write to several of them atomically. They share
// memory and workers, and a snapshot covers all of them. Each has its own options. An idle
// keyspace costs next to nothing. All methods are safe for concurrent use; after the
// keyspace was dropped they return ErrNoKeyspace.
type Keyspace struct{ store }

// KeyspaceOptions configure one keyspace. The first call of DB.Keyspace for it after Open
// sets them. In later calls each field must be zero or have the value that is set already;
// any other value fails with ErrInvalidOptions.
type KeyspaceOptions struct {
	// ValueThreshold is Options.ValueThreshold for this keyspace. Default: that of the
	// database.
	ValueThreshold int
	// Compression is Options.Compression for this keyspace. Default: that of the database.
	Compression Compression
	// TTL, unless it is 0, makes every Put and conditional put in this keyspace a PutTTL
	// with this duration. It also applies to the rows of a BulkLoad without
	// BulkOptions.Expires. PutTTL, PutUntil and Merge ignore it. TTL is not stored: written
	// values keep their expiry, and later writes use the TTL that is set when they are
	// made.
	TTL time.Duration
	// Merger combines the operands of Merge in this keyspace. The database stores its name:
	// a keyspace that was written with one merge operator cannot be opened with another, or
	// without one. Default: none, whatever the database has. A later call may set one if
	// there is none.
	Merger Merger
	// CompactionFilter is called for values of this keyspace when they are compacted.
	// Default: none, whatever the database has. Functions cannot be compared: if a later
	// call sets one too, the first stays.
	CompactionFilter CompactionFilter
	// ErrorIfMissing makes the call fail with ErrNoKeyspace instead of creating the
	// keyspace.
	ErrorIfMissing bool
}

// Keyspace opens the keyspace with that name, and creates it if it is missing. The name is any
// non-empty string of at most 1024 bytes. A nil o means defaults, or the options that an
// open keyspace has already.
//
// In a database that was opened with Sync a new keyspace is durable when Keyspace returns.
// In the other modes it is durable no later than the first row in it, and after the next
// Sync, Flush or Close.
func (db *DB) Keyspace(name string, o *KeyspaceOptions) (*Keyspace, error) {
	choice, create := o.engine()
	k, err := db.e.Keyspace(name, choice, create)
	if err != nil {
		return nil, err
	}
	return &Keyspace{newStore(db.e, k)}, nil
}

// Keyspaces returns the names of all keyspaces but the default one, sorted.
func (db *DB) Keyspaces() ([]string, error) { return db.e.Keyspaces() }

// DropKeyspace durably removes a keyspace and all its keys. Reads that begin afterwards do
// not find it; open iterators continue. The cost does not depend on what the keyspace
// holds. A new keyspace of that name is empty.
func (db *DB) DropKeyspace(name string) error { return db.e.DropKeyspace(name) }

// Name returns the keyspace's name.
func (k *Keyspace) Name() string { return k.reader.k.Name() }

// TTL returns the KeyspaceOptions.TTL that is set, 0 for none.
func (k *Keyspace) TTL() time.Duration { return k.reader.k.TTL() }

// engine converts the options for the engine.
func (o *KeyspaceOptions) engine() (c engine.KeyspaceChoice, create bool) {
	if o == nil {
		return c, true
	}
	c = engine.KeyspaceChoice{TTL: o.TTL, Merger: o.Merger, Filter: o.CompactionFilter.filter()}
	if o.ValueThreshold != 0 {
		threshold := max(o.ValueThreshold, 0)
		c.ValueThreshold = &threshold
	}
	if o.Compression != DefaultCompression {
		codec := o.Compression.codec()
		c.Codec = &codec
	}
	return c, !o.ErrorIfMissing
}
