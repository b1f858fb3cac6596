package seerdb

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
)

// Keyspace is a tree of keys of its own within a database: what RocksDB calls
// a column family and bbolt a bucket. The methods of the database itself work
// on the default keyspace, which has no name.
//
// Keyspaces share the log, so one batch may write to several of them
// atomically, and memory and workers; a snapshot covers all. They differ in
// their options. An idle one costs next to nothing. All methods are safe for
// concurrent use; those of a keyspace that was dropped return ErrNoKeyspace.
type Keyspace struct{ store }

// KeyspaceOptions configure one keyspace. The first call of DB.Keyspace for it
// after Open decides. In later calls a field that is zero asks for nothing, and
// one that is not must say what holds already: another value is refused with
// ErrInvalidOptions.
type KeyspaceOptions struct {
	// ValueThreshold is Options.ValueThreshold for this keyspace. Default: what
	// the database has.
	ValueThreshold int
	// Compression is Options.Compression for this keyspace. Default: what the
	// database has.
	Compression Compression
	// TTL makes every Put and conditional put in this keyspace a PutTTL with
	// this time, unless it is 0, and holds for the rows of a BulkLoad as
	// BulkOptions.Expires says. PutTTL, PutUntil and Merge go by what they are given.
	// It is not stored: what was written keeps its expiry, and later writes go by the
	// options of their time.
	TTL time.Duration
	// Merger combines the operands of Merge in this keyspace. Its name is
	// stored: a keyspace that was written with one cannot be opened with
	// another, or none. Default: none, whatever the database has. A later call
	// may give one where there is none.
	Merger Merger
	// CompactionFilter is called for values of this keyspace when they are compacted.
	// Default: none, whatever the database has. Functions cannot be compared:
	// where a later call gives one too, the first stays.
	CompactionFilter CompactionFilter
	// ErrorIfMissing fails with ErrNoKeyspace rather than create the keyspace.
	ErrorIfMissing bool
}

// Keyspace opens the keyspace of that name, and creates it if it is missing,
// durably. The name is any string but the empty one, of at most 1024 bytes. A
// nil o is a good default, and takes a keyspace that is open already as it is.
func (db *DB) Keyspace(name string, o *KeyspaceOptions) (*Keyspace, error) {
	choice, create := o.engine()
	k, err := db.e.Keyspace(name, choice, create)
	if err != nil {
		return nil, err
	}
	return &Keyspace{newStore(db.e, k)}, nil
}

// Keyspaces lists the names of all keyspaces but the default one, sorted.
func (db *DB) Keyspaces() ([]string, error) { return db.e.Keyspaces() }

// DropKeyspace removes a keyspace and all that is in it, durably. Reads that
// begin afterwards do not find it; iterators that are open go on. It costs the
// same whatever the keyspace holds. A new keyspace of that name is empty.
func (db *DB) DropKeyspace(name string) error { return db.e.DropKeyspace(name) }

// Name returns the keyspace's name.
func (k *Keyspace) Name() string { return k.reader.k.Name() }

// TTL returns the KeyspaceOptions.TTL that holds, 0 for none.
func (k *Keyspace) TTL() time.Duration { return k.reader.k.TTL() }

// engine translates to what the engine takes.
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
