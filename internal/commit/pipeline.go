// Package commit is the commit pipeline: it makes batches of operations durable and visible in
// sequence order, and makes them wait for room.
//
// A commit passes five stages:
//
//	1 enqueue  under mu: room in the active generation, sequences, the record
//	           copied to the log's memory, a place in the queue
//	2 persist  the log written or synced, as its durability demands; commits that
//	           arrive during a write or sync share the next one
//	3 apply    its operations into the memtable, concurrently with others
//	4 publish  the visible sequence moves over applied commits in queue order
//	5 wake     the committers of commits that another commit published
//
// A commit that fails at stage 2 is passed over unapplied: its sequences stay
// empty for ever. In Sync mode nothing is visible before it is durable.
package commit

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/clock"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/wal"
	"github.com/seerdb-go/seerdb/internal/work"
)

// Env is what a pipeline works on and with.
type Env struct {
	// From the options of the database.
	Durability   Durability
	SyncInterval time.Duration // how often Buffered commits are made durable; 0: never
	MemoryBudget int64
	MemtableSize int
	Partitions   int // of a memtable

	FS        vfs.FS  // of the directory; files created in it may take the reserve
	Dir       vfs.Dir // the directory, for syncs
	Store     *readstate.Store
	Versions  *versions.Set
	Keyspaces *keyspace.Set
	Pins      *pins.List // the open iterators, which keep memtables
	Clock     *clock.Clock
	Room      *reserve.Reserve
	Pace      *pace.Pace
	Report    *report.Reporter
	Work      *work.Group
	Latch     *poison.Latch
	Tree      txn.Tree // the stored versions, for conflict checks

	// Kick makes the jobs look for work. Blocking returns the error, if any, that keeps
	// writers stopped for ever. Both may be called with the lock of commits held.
	Kick     func()
	Blocking func(Stop) error
}

// Stop is a reason why writers are stopped.
type Stop uint8

// The stops.
const (
	StopMemtables Stop = iota // writers wait for a flush
	StopL0                    // writers wait for a compaction of L0
)

// Pipeline is the commit pipeline of a database. Its methods are safe for concurrent use,
// except those that say that the caller is alone: Open is, and so is Close once commits and
// workers have ended.
type Pipeline struct {
	env   Env // immutable
	Stats Stats

	durable sequence              // commits up to it survive a power cut
	trouble atomic.Pointer[error] // the last commit failed with it, by fault of the database; nil once commits succeed
	seals   chan *generation.Generation

	mu          sync.Mutex             // the lock of commits
	nextSeq     base.SeqNum            // guarded by mu
	gen         *generation.Generation // guarded by mu; the active generation, as in the state
	head        *commit                // guarded by mu; oldest commit not yet published
	tail        *commit                // guarded by mu
	refused     error                  // guarded by mu; why commits are refused, or nil; set by refuse
	refusal     atomic.Pointer[error]  // a copy of refused, readable without mu
	changed     sync.Cond              // on mu; signals that room or refused changed
	maxQueue    atomic.Int32           // full generations that may wait for their flush
	waiting     int                    // guarded by mu; stopped writers
	tracker     *txn.Tracker           // its methods are called under mu
	commitsHeld bool                   // guarded by mu; an ingestion takes its place, and commits wait
	heldSeqs    base.SeqNum            // guarded by mu; unpublished sequences of the ingestion
	turning     turning
	keeping     keeping
	closing     bool // guarded by mu; Close waits for the queue to empty
}

// commit is one batch on its way through the pipeline.
type commit struct {
	gen    *generation.Generation
	lsn    int64
	end    base.SeqNum // its last sequence
	next   *commit
	batch  *batch.Batch // until it is published
	buf    []byte       // owned by the committer: a key after its keyspace's number
	failed bool         // definitely: it is never applied; the committer sets it before publish
	asks   bool         // guarded by Pipeline.mu; its transaction depends on keys it read
	done   bool         // guarded by Pipeline.mu
	parked bool         // guarded by Pipeline.mu; its committer waits on wake
	wake   chan struct{}
	passed chan struct{} // guarded by Pipeline.mu; nil until a transaction waits for its outcome
}

var commitPool = sync.Pool{New: func() any { return &commit{wake: make(chan struct{}, 1)} }}

// turning is the state of the turner.
type turning struct {
	kick chan struct{} // capacity 1; wakes the turner. Immutable
	seg  *wal.Segment  // the next log, made ahead, or nil; owned by the turner
	made atomic.Int64  // 1 if seg is not nil, for Metrics

	// Guarded by Pipeline.mu.

	wanted   *generation.Generation // the generation to be replaced, or nil
	need     int64                  // bytes that its successor must hold
	halfFull *generation.Generation // the last generation whose successor's log was requested ahead
	large    []int64                // bytes needed by each waiting batch that is large for a memtable
	ahead    bool                   // the next log is to be made ahead
	running  bool                   // the turner makes a replacement, and commits wait
	begun    uint64                 // attempts begun
	failedAt uint64                 // number of the last attempt that failed, from 1
	failure  error                  // error of that attempt
}

func (t *turning) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// keeping says when the keeper is due. All fields are guarded by Pipeline.mu.
type keeping struct {
	// Bytes of the active memtable: past topUp commits wake the keeper, past limit
	// they wait for it.
	topUp, limit int64
	need         int64 // bytes needed by the largest commit that waits
}

// begin resets the bounds for a new active memtable. The caller holds Pipeline.mu,
// or is alone.
func (k *keeping) begin() { k.topUp, k.limit, k.need = reserve.Min/2, reserve.Min, 0 }

// The tracker's records of writes beside open transactions may take one trackerShare-th
// of the budget. The reads of one transaction may take one TxnShare-th, and so may its
// writes.
const (
	trackerShare = 32
	TxnShare     = 4
)

// share returns one of n equal parts of a budget, at most what an int can hold.
func share(budget, n int64) int { return int(min(budget/n, math.MaxInt)) }

// Changed makes writers that wait for room look again.
func (p *Pipeline) Changed() {
	p.env.Pace.Update()
	p.mu.Lock()
	p.changed.Broadcast()
	p.mu.Unlock()
}

// Refused returns why commits are refused, or nil.
func (p *Pipeline) Refused() error {
	if err := p.refusal.Load(); err != nil {
		return *err
	}
	return nil
}

// DurableSeq returns the newest sequence promised to survive a power cut.
func (p *Pipeline) DurableSeq() base.SeqNum { return p.durable.load() }

// RaiseDurable notes that everything up to a sequence is in synced tables.
func (p *Pipeline) RaiseDurable(seq base.SeqNum) { p.durable.raise(seq) }

// LastSeq returns the newest sequence handed out.
func (p *Pipeline) LastSeq() base.SeqNum {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nextSeq - 1
}

// refuse refuses all later commits with err. The caller holds mu, or is alone.
func (p *Pipeline) refuse(err error) {
	p.refused = err
	p.refusal.Store(&err)
	p.changed.Broadcast()
}
