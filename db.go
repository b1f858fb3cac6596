package seerdb

import (
	"context"

	"github.com/seerdb-go/seerdb/internal/engine"
	"github.com/seerdb-go/seerdb/internal/retry"
	"github.com/seerdb-go/seerdb/observe"
)

// DB is an open database. All methods are safe for concurrent use. After Close they return
// ErrClosed.
//
// Its methods on keys use the default keyspace, and each write is a commit of its own with
// the durability of the database. See Keyspace for other keyspaces.
type DB struct {
	store
	lanes *retry.Lanes // of updates that had conflicts; immutable
}

// Open opens the database in the directory dir, creating both if missing. A nil opts means
// defaults. Only one DB at a time can have a directory open; a second Open fails with
// ErrLocked.
//
// Open recovers every acknowledged commit that the durability mode promises to keep. If a
// file is damaged, Open fails with a *CorruptionError that names the file and the offset.
// An incomplete last record of the log, as a crash leaves behind, is not damage.
func Open(dir string, opts *Options) (*DB, error) {
	e, err := engine.Open(dir, opts.engine())
	if err != nil {
		return nil, err
	}
	return &DB{newStore(e, e.Root()), retry.NewLanes()}, nil
}

// Durability returns the mode that the database was opened with. It applies to every commit
// that does not ask for more.
func (db *DB) Durability() Durability { return Durability(db.e.Durability()) }

// Sync makes every commit acknowledged so far durable.
func (db *DB) Sync() error { return db.e.SyncLog() }

// Flush waits until everything committed before the call is in tables and durable. It
// returns early with the error of ctx when ctx ends, or with the error of an attempt that
// began after the call and failed. In both cases no data is lost, and the database
// continues to flush.
func (db *DB) Flush(ctx context.Context) error { return db.e.Flush(ctx) }

// Verify reads every file and checks checksums, order, bounds, levels and references. The
// report lists damage; an error means that the check itself could not be done.
func (db *DB) Verify(ctx context.Context) (*observe.Report, error) { return db.e.Verify(ctx) }

// Metrics returns figures about the current state of the database. It reads no file.
func (db *DB) Metrics() *observe.Metrics { return db.e.Metrics() }

// KeyspaceMetrics describes the tables of every keyspace, the default one first, the others
// sorted by name. It reads no file, but visits the description of each table. After Close
// it returns none.
func (db *DB) KeyspaceMetrics() []observe.KeyspaceMetrics { return db.e.KeyspaceMetrics() }

// IndexMetrics describes the indexes of all tables. It reads the metadata of tables that
// have not been read since Open, for which Metrics has no figures.
func (db *DB) IndexMetrics(ctx context.Context) (observe.IndexMetrics, error) {
	return db.e.IndexMetrics(ctx)
}

// Health reports whether everything works and, if not, why.
func (db *DB) Health() observe.Health { return db.e.Health() }

// VisibleSeq returns the sequence number of the newest commit that readers see.
func (db *DB) VisibleSeq() uint64 { return uint64(db.e.VisibleSeq()) }

// DurableSeq returns a sequence number up to which, itself included, every commit survives
// a power cut.
func (db *DB) DurableSeq() uint64 { return uint64(db.e.DurableSeq()) }

// Close waits for running commits and jobs, makes acknowledged commits durable and releases
// the directory. Running reads return their value or ErrClosed. Iterators, snapshots and
// transactions that are still open return ErrClosed from then on, and Close returns a
// *LeakError that names where they were made. If errors.Is(err, ErrLeaked), Close has done
// everything else. A second Close returns what the first returned.
func (db *DB) Close() error { return db.e.Close() }
