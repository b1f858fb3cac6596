package engine

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/work"
)

// Engine is an open database.
type Engine struct {
	// Immutable after Open.
	opts      Options
	fs        *filecache.FS    // the directory that is locked, whatever its path leads to by now; over io
	io        *vfs.CountingFS  // counts what is read and written
	files     *filecache.Cache // the open tables and value files
	name      string           // of the directory as the user gave it, for messages
	dirRoot   vfs.Root         // under io
	dirHandle vfs.Dir
	dirLock   io.Closer
	cache     *cache.Cache
	opened    time.Time
	root      *Keyspace // the default one
	store     *readstate.Store
	versions  *versions.Set
	keyspaces *keyspace.Set
	report    *report.Reporter
	work      *work.Group
	latch     poison.Latch

	// Atomics. A reader touches only these.
	nextJob   atomic.Int64
	folded    dbiter.Folded
	iters     dbiter.Env
	outputs   outputs.Env  // immutable after Open
	collapsed atomic.Int64 // when a key's operands were last compacted, ns since opened

	clock      clock.Clock
	commit     *commit.Pipeline
	room       reserve.Reserve
	pace       *pace.Pace
	background *background
	dropped    droppedSpaces
	open       pins.List // iterators, snapshots and transactions
	stats      stats

	observed compaction.Workload // guarded by mu; what jobs learned about the writes
	manual   chan struct{}       // of one place: the caller that compacts by hand
	byHand   *byHand             // guarded by mu; what that caller has yet to do
	flushMu  sync.Mutex

	mu   sync.Mutex
	busy compaction.Busy // guarded by mu; the inputs of running jobs

	closeOnce sync.Once
	closeErr  error // immutable after closeOnce
}

// Commit applies a batch atomically and returns its last sequence: see commit.Pipeline.Commit.
func (e *Engine) Commit(b *batch.Batch, d Durability) (base.SeqNum, error) {
	return e.commit.Commit(context.Background(), b, d, nil)
}

// CommitContext is Commit, and gives up with the error of ctx, definitely, if
// that ends before the commit has its place in the log: while writers are slowed
// or stopped.
func (e *Engine) CommitContext(ctx context.Context, b *batch.Batch, d Durability) (base.SeqNum, error) {
	return e.commit.Commit(ctx, b, d, nil)
}

// Durability is that of commits which do not ask for more.
func (e *Engine) Durability() Durability { return e.opts.Durability }

// SyncLog makes every commit acknowledged so far durable.
func (e *Engine) SyncLog() error { return e.commit.Sync() }

// DurableSeq is the newest sequence promised to survive a power cut.
func (e *Engine) DurableSeq() base.SeqNum { return e.commit.DurableSeq() }

// VisibleSeq is the newest sequence that readers see.
func (e *Engine) VisibleSeq() base.SeqNum { return e.store.Visible() }

// Now is the time by which values expire, in Unix milliseconds.
func (e *Engine) Now() uint64 { return e.clock.Now() }

// poison makes the engine read-only for good, also while Open goes on.
func (e *Engine) poison(cause error) { e.commit.Poison(cause) }
