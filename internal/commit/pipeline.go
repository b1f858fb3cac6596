// Package commit is the commit pipeline: how a batch of operations becomes durable and visible,
// in what order, and what it waits for.
//
// A commit passes five stages:
//
//	1 enqueue  under mu: room in the active generation, sequences, the record
//	           copied to the log's memory, a place in the queue
//	2 persist  what its durability asks of the log; commits that arrive while
//	           one writes or syncs share the next write or sync
//	3 apply    its operations into the memtable, concurrently with others
//	4 publish  in queue order the visible sequence moves over applied commits
//	5 wake     those that another commit's publish passed over
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
	// Of the options of the database.
	Durability   Durability
	SyncInterval time.Duration // how often Buffered commits are made durable; 0: never
	MemoryBudget int64
	MemtableSize int
	Partitions   int // of a memtable

	FS        vfs.FS  // the directory, where files are made that may take the reserve
	Dir       vfs.Dir // the same, to be synced
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
	Tree      txn.Tree // what transactions ask the stored versions

	// Kick makes the jobs look for work. Blocking is the error, if any, that keeps what
	// writers wait for from ever coming. Both may be called with the lock of commits held.
	Kick     func()
	Blocking func(Stop) error
}

// Stop is what writers wait for.
type Stop uint8

// The stops.
const (
	StopMemtables Stop = iota // writers wait for a flush
	StopL0                    // writers wait for a compaction of L0
)

// Pipeline is the commits of a database. Its methods are safe for concurrent use, but for
// those that say that the caller is alone: Open is, and Close once there are neither commits
// nor workers any more.
type Pipeline struct {
	env   Env // immutable
	Stats Stats

	durable sequence              // what is promised to survive a power cut
	trouble atomic.Pointer[error] // why the last commit was refused that was not at fault; nil when it goes on
	seals   chan *generation.Generation

	mu          sync.Mutex             // the lock of commits
	nextSeq     base.SeqNum            // guarded by mu
	gen         *generation.Generation // guarded by mu; the active generation, as in the state
	head        *commit                // guarded by mu; oldest commit not yet published
	tail        *commit                // guarded by mu
	refused     error                  // guarded by mu; why commits are refused, nil when not; set by refuse
	refusal     atomic.Pointer[error]  // the same, for callers that do not wait for mu
	changed     sync.Cond              // on mu; room or refusal changed
	maxQueue    atomic.Int32           // full generations that may wait for their flush
	waiting     int                    // guarded by mu; writers in a stop
	tracker     *txn.Tracker           // its methods are called under mu
	commitsHeld bool                   // guarded by mu; an ingestion takes its place, commits wait
	heldSeqs    base.SeqNum            // guarded by mu; how many sequences it took that are not published
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
	failed bool         // for good: it is never applied; the committer sets it before publish
	asks   bool         // guarded by Pipeline.mu; its transaction asked for keys
	done   bool         // guarded by Pipeline.mu
	parked bool         // guarded by Pipeline.mu; its committer waits on wake
	wake   chan struct{}
	passed chan struct{} // guarded by Pipeline.mu; nil until a transaction waits for its outcome
}

var commitPool = sync.Pool{New: func() any { return &commit{wake: make(chan struct{}, 1)} }}

// turning is the state of the turner.
type turning struct {
	kick chan struct{} // of one place; wakes the turner. Immutable
	seg  *wal.Segment  // made ahead, or nil; owned by the turner
	made atomic.Int64  // 1 while there is one, for Metrics

	// Guarded by Pipeline.mu.

	wanted   *generation.Generation // to be replaced, or nil
	need     int64                  // what its successor must hold
	halfFull *generation.Generation // for which the next log was asked
	large    []int64                // what each batch needs that waits and is large for a memtable
	ahead    bool                   // the next log is to be made ahead
	running  bool                   // a replacement is being made: commits wait
	begun    uint64                 // attempts that began
	failedAt uint64                 // the last attempt that failed, from 1
	failure  error                  // of that attempt
}

func (t *turning) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// keeping is when the keeper is due. All is guarded by Pipeline.mu.
type keeping struct {
	// Bytes of the active memtable: at topUp the keeper is woken, past limit
	// commits wait for it.
	topUp, limit int64
	need         int64 // of the largest commit that waits
}

// begin begins to count for a new active memtable. The caller holds Pipeline.mu,
// or is alone.
func (k *keeping) begin() { k.topUp, k.limit, k.need = reserve.Min/2, reserve.Min, 0 }

// trackerShare is which part of the budget the records of what was written while
// transactions are open may take, and TxnShare the part that one transaction may: its reads,
// and its writes.
const (
	trackerShare = 32
	TxnShare     = 4
)

// share is one of n parts of a budget, of which what counts with int uses no more
// than an int can hold.
func share(budget, n int64) int { return int(min(budget/n, math.MaxInt)) }

// Changed makes writers that wait for room look again.
func (p *Pipeline) Changed() {
	p.env.Pace.Update()
	p.mu.Lock()
	p.changed.Broadcast()
	p.mu.Unlock()
}

// Refused is why commits are refused, or nil.
func (p *Pipeline) Refused() error {
	if err := p.refusal.Load(); err != nil {
		return *err
	}
	return nil
}

// DurableSeq is the newest sequence promised to survive a power cut.
func (p *Pipeline) DurableSeq() base.SeqNum { return p.durable.load() }

// RaiseDurable notes that everything up to a sequence is in synced tables.
func (p *Pipeline) RaiseDurable(seq base.SeqNum) { p.durable.raise(seq) }

// LastSeq is the newest sequence handed out.
func (p *Pipeline) LastSeq() base.SeqNum {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nextSeq - 1
}

// refuse lets no commit in from now on. The caller holds mu, or is alone.
func (p *Pipeline) refuse(err error) {
	p.refused = err
	p.refusal.Store(&err)
	p.changed.Broadcast()
}
