// Package jobs does the work behind commits and reads: flushes, compactions, and taking tables
// into the tree that were made elsewhere.
//
// One flusher keeps memtables going to tables, so that a flush never waits for a compaction,
// and a dispatcher keeps up to MaxCompactions compactions going, L0 first. A failed job is
// retried, into new files, after a pause that doubles.
package jobs

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/work"
)

// Env is what jobs work on and with.
type Env struct {
	// Of the options of the database.
	Config         compaction.Config // what the picker goes by
	TableSize      int64
	MaxCompactions int  // at once; flushes are not counted
	ManualOnly     bool // no compaction but by Compact: of read-only databases, and for tests of what would be compacted away

	// Outputs is what files of jobs look like and where they are made. New sets what has
	// to do with jobs.
	Outputs   outputs.Env
	Root      vfs.Root // the directory, for how much room there is
	Store     *readstate.Store
	Versions  *versions.Set
	Keyspaces *keyspace.Set
	Commit    *commit.Pipeline
	Clock     *clock.Clock
	Room      *reserve.Reserve
	Pace      *pace.Pace
	Report    *report.Reporter
	Work      *work.Group
	Latch     *poison.Latch
	// Remove removes a file that nothing names any more.
	Remove func(t base.FileType, n base.FileNum, size int64)
}

// Jobs is the jobs of a database. Its methods are safe for concurrent use.
type Jobs struct {
	env     Env          // immutable
	outputs *outputs.Env // immutable
	opened  time.Time    // immutable
	stats   stats        // all atomic
	flushes flushRequests

	nextJob   atomic.Int64
	collapsed atomic.Int64 // when a key's operands were last compacted, ns since opened

	wake   chan struct{} // of one place; wakes the flusher. Immutable
	pick   chan struct{} // of one place; wakes the dispatcher. Immutable
	manual chan struct{} // of one place: the caller that compacts by hand. Immutable
	idling idling        // owned by the dispatcher

	flushMu sync.Mutex // one flush at a time; an ingestion that is taking its place
	mu      sync.Mutex
	busy    compaction.Busy     // guarded by mu; the inputs of running jobs
	learned compaction.Workload // guarded by mu; what jobs learned about the writes
	byHand  *byHand             // guarded by mu; what the caller that compacts by hand has yet to do

	failures failures
}

// failures are the jobs that fail now, and those that run.
type failures struct {
	mu         sync.Mutex    // leaf
	flushErr   error         // guarded by mu; the last flush failed with it
	compactErr error         // guarded by mu; the last compaction failed with it
	compacting int           // guarded by mu; compactions running
	ended      chan struct{} // guarded by mu; closed when a compaction ends
}

// idling is what the dispatcher remembers between two looks at a database at rest.
type idling struct {
	seen     base.SeqNum // the newest commit it saw
	quiet    time.Time   // when it saw it
	coverage coverage
	weighed  weighing
}
