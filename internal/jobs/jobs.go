// Package jobs does the work behind commits and reads: flushes, compactions, and the
// installation of tables that were written elsewhere.
//
// One flusher writes memtables to tables, so that a flush never waits for a compaction, and a
// dispatcher keeps up to MaxCompactions compactions running, L0 first. A failed flush is
// retried, into new files, after a pause that doubles, and a failed compaction after a fixed one.
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
	// From the options of the database.
	Config         compaction.Config // for the picker, and for the sizes of files
	MaxCompactions int               // at once; flushes are not counted
	ManualOnly     bool              // only Compact compacts: for read-only databases and tests

	// Outputs describes the format and the directory of the files that jobs write. New
	// sets the fields that concern jobs, and takes sizes from Config.
	Outputs   outputs.Env
	Root      vfs.Root // the directory, for its free space
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
	// Remove removes a file that no state names.
	Remove func(t base.FileType, n base.FileNum, size int64)
}

// Jobs runs the jobs of a database. Its methods are safe for concurrent use.
type Jobs struct {
	env     Env          // immutable
	outputs *outputs.Env // immutable; that of env
	opened  time.Time    // immutable
	stats   stats        // atomic
	flushes flushRequests

	nextJob   atomic.Int64
	collapsed atomic.Int64 // when a key's operands were last compacted, ns since opened

	wake   chan struct{} // capacity 1; wakes the flusher. Immutable
	pick   chan struct{} // capacity 1; wakes the dispatcher. Immutable
	manual chan struct{} // capacity 1; held by the call of Compact that runs. Immutable
	idling idling        // owned by the dispatcher

	flushMu sync.Mutex // held by a flush, and by an ingestion from its place to its end
	mu      sync.Mutex
	busy    compaction.Busy     // guarded by mu; the inputs of running jobs
	learned compaction.Workload // guarded by mu; what jobs learned about the writes
	byHand  *byHand             // guarded by mu; remaining work of the call of Compact that runs

	failures failures
}

// failures holds the errors of failing jobs, and counts running compactions.
type failures struct {
	mu         sync.Mutex    // leaf
	flushErr   error         // guarded by mu; error of the last flush
	compactErr error         // guarded by mu; error of the last compaction
	compacting int           // guarded by mu; running compactions
	ended      chan struct{} // guarded by mu; closed when a compaction ends
}

// idling is what the dispatcher remembers to detect and use idle time.
type idling struct {
	seen     base.SeqNum // the newest commit that it saw
	quiet    time.Time   // when it first saw that commit
	coverage coverage
	weighed  weighing
}
