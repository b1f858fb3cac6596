package engine

import (
	"context"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/bulk"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/jobs"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/work"
)

// Engine is an open database. It joins the packages below, and implements what needs several
// of them: opening and closing, transactions, snapshots, keyspaces, metrics.
type Engine struct {
	// Immutable after Open.
	opts      Options
	opened    time.Time
	dir       directory
	root      *Keyspace // the default keyspace
	cache     *cache.Cache
	store     *readstate.Store
	versions  *versions.Set
	keyspaces *keyspace.Set
	commit    *commit.Pipeline
	jobs      *jobs.Jobs
	report    *report.Reporter
	work      *work.Group
	iters     dbiter.Env
	loads     bulk.Env

	// Safe for concurrent use.
	latch   poison.Latch
	clock   clock.Clock
	room    reserve.Reserve
	open    pins.List // iterators, snapshots and transactions
	dropped droppedSpaces
	closing closing
}

// Commit applies a batch atomically and returns its last sequence: see commit.Pipeline.Commit.
func (e *Engine) Commit(b *batch.Batch, d Durability) (base.SeqNum, error) {
	return e.commit.Commit(context.Background(), b, d, nil)
}

// CommitContext is Commit with a context. If ctx ends before the commit has its place
// in the log, while writers are slowed or stopped, CommitContext returns the error
// of ctx, which is definite.
func (e *Engine) CommitContext(ctx context.Context, b *batch.Batch, d Durability) (base.SeqNum, error) {
	return e.commit.Commit(ctx, b, d, nil)
}

// Durability returns the durability of commits that do not ask for more.
func (e *Engine) Durability() Durability { return e.opts.Durability }

// SyncLog makes every commit acknowledged so far durable.
func (e *Engine) SyncLog() error { return e.commit.Sync() }

// DurableSeq returns the newest sequence promised to survive a power cut.
func (e *Engine) DurableSeq() base.SeqNum { return e.commit.DurableSeq() }

// VisibleSeq returns the newest sequence that readers see.
func (e *Engine) VisibleSeq() base.SeqNum { return e.store.Visible() }

// Now returns the time by which values expire, in Unix milliseconds.
func (e *Engine) Now() uint64 { return e.clock.Now() }

// Flush returns once everything committed before the call is in tables: see jobs.Jobs.Flush.
func (e *Engine) Flush(ctx context.Context) error { return e.jobs.Flush(ctx) }
