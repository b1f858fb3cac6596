package seerdb

import (
	"context"

	"github.com/seerdb-go/seerdb/internal/engine"
	"github.com/seerdb-go/seerdb/internal/retry"
	"github.com/seerdb-go/seerdb/observe"
)

// DB is an open database. All methods are safe for concurrent use. After
// Close they return ErrClosed.
//
// Its methods on keys work on the default keyspace, each write in a commit of its own
// with the durability of the database; see Keyspace for others.
type DB struct {
	store
	lanes *retry.Lanes // of updates that had conflicts; immutable
}

// Open opens the database in the directory dir, creating both if missing. A
// nil opts is a good default. Only one DB at a time can have a directory; a
// second Open fails with ErrLocked.
//
// Open brings back every acknowledged commit that the durability mode
// promises. It refuses, with a *CorruptionError that names file and offset,
// to open what is damaged; an incomplete last record of the log, which a
// crash leaves behind, is no damage.
func Open(dir string, opts *Options) (*DB, error) {
	e, err := engine.Open(dir, opts.engine())
	if err != nil {
		return nil, err
	}
	return &DB{newStore(e, e.Root()), retry.NewLanes()}, nil
}

// Durability returns the mode that the database was opened with: that of every commit
// that does not ask for more.
func (db *DB) Durability() Durability { return Durability(db.e.Durability()) }

// Sync makes every commit acknowledged so far durable.
func (db *DB) Sync() error { return db.e.SyncLog() }

// Flush returns once everything committed before the call is in tables and
// durable. It returns early when ctx ends, and with its error when an attempt
// fails that began after the call; nothing is lost by that, and flushing goes on
// by itself.
func (db *DB) Flush(ctx context.Context) error { return db.e.Flush(ctx) }

// Verify reads every file and checks checksums, order, bounds, levels and
// references. Damage is in the report; the error says that the check itself
// could not be done.
func (db *DB) Verify(ctx context.Context) (*observe.Report, error) { return db.e.Verify(ctx) }

// Metrics returns a picture of the database now. It reads no file.
func (db *DB) Metrics() *observe.Metrics { return db.e.Metrics() }

// KeyspaceMetrics describes the tables of every keyspace, the default one first, then
// by name. It reads no file; it looks at the description of each table. After Close
// there are none.
func (db *DB) KeyspaceMetrics() []observe.KeyspaceMetrics { return db.e.KeyspaceMetrics() }

// IndexMetrics describes the indexes of all tables. It reads the metadata of
// those that were not read since Open, for which Metrics has no figures.
func (db *DB) IndexMetrics(ctx context.Context) (observe.IndexMetrics, error) {
	return db.e.IndexMetrics(ctx)
}

// Health says whether everything works, and if not, why.
func (db *DB) Health() observe.Health { return db.e.Health() }

// VisibleSeq returns the sequence number of the newest commit that readers see.
func (db *DB) VisibleSeq() uint64 { return uint64(db.e.VisibleSeq()) }

// DurableSeq returns a sequence number such that it and everything before it
// survives a power cut.
func (db *DB) DurableSeq() uint64 { return uint64(db.e.DurableSeq()) }

// Close waits for commits and jobs that run, makes acknowledged commits durable
// and lets the directory go. Reads that run end with their value or ErrClosed.
// Iterators, snapshots and transactions still open answer ErrClosed from then
// on, and Close returns a *LeakError that names where they were made: then, and
// whenever errors.Is(err, ErrLeaked), all the rest was done. A second Close
// returns what the first returned.
func (db *DB) Close() error { return db.e.Close() }
