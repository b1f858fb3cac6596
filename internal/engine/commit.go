package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/txn"
)

// The commit pipeline. A commit passes five stages:
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
type pipeline struct {
	mu          sync.Mutex
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
	asks   bool         // guarded by pipeline.mu; its transaction asked for keys
	done   bool         // guarded by pipeline.mu
	parked bool         // guarded by pipeline.mu; its committer waits on wake
	wake   chan struct{}
	passed chan struct{} // guarded by pipeline.mu; nil until a transaction waits for its outcome
}

var commitPool = sync.Pool{New: func() any { return &commit{wake: make(chan struct{}, 1)} }}

// Commit applies a batch atomically and returns its last sequence. The batch
// may be reused afterwards. The error is definite (nothing was or will be
// applied) unless errors.Is(err, base.ErrCommitUnknown).
func (e *Engine) Commit(b *batch.Batch, d Durability) (base.SeqNum, error) {
	return e.commitBatch(context.Background(), b, d, nil)
}

// CommitContext is Commit, and gives up with the error of ctx, definitely, if
// that ends before the commit has its place in the log: while writers are slowed
// or stopped.
func (e *Engine) CommitContext(ctx context.Context, b *batch.Batch, d Durability) (base.SeqNum, error) {
	return e.commitBatch(ctx, b, d, nil)
}

// commitBatch is Commit, for a transaction if x is not nil: then the error may
// be base.ErrConflict.
func (e *Engine) commitBatch(ctx context.Context, b *batch.Batch, d Durability, x *txn.Txn) (base.SeqNum, error) {
	seq, err := e.commitOnce(ctx, b, d, x)
	if err != nil && errors.Is(err, base.ErrNoSpace) && b.Err() == nil {
		return e.commitFreeing(ctx, b, d, x, err)
	}
	return seq, err
}

// commitOnce is one attempt at commitBatch.
func (e *Engine) commitOnce(ctx context.Context, b *batch.Batch, d Durability, x *txn.Txn) (base.SeqNum, error) {
	if err := b.Err(); err != nil {
		return 0, err
	}
	if b.Count() == 0 {
		if e.store.Closed() {
			return 0, base.ErrClosed
		}
		return e.store.Visible(), nil
	}
	d, err := e.durability(d)
	if err != nil {
		return 0, err
	}
	if err := checkBatch(b, e.keyspaces.Get); err != nil {
		return 0, err
	}
	if err := e.keyspaces.Settle(b.Keyspaces()); err != nil {
		return 0, err
	}
	if b.Expires() {
		e.clock.Use() // before any read can see it
	}
	begin := e.stats.commits.Begin()
	e.pace.Wait(ctx, b)
	c := commitPool.Get().(*commit)
	if ctx.Done() != nil {
		var cancel func()
		ctx, cancel = context.WithCancel(ctx) // ours is asked under locks
		defer cancel()
		defer context.AfterFunc(ctx, e.commitChanged)() // those that wait for room look again
	}
	if err := e.enqueue(ctx, c, b, d, x); err != nil {
		commitPool.Put(c)
		return 0, err
	}
	err = e.persist(c, d)
	if err == nil {
		e.apply(c, b)
	}
	c.gen.Mem.EndWrite()
	c.failed = err != nil && !errors.Is(err, base.ErrCommitUnknown)
	end := c.end
	e.publish(c)
	if err != nil {
		return 0, err
	}
	e.clearTrouble()
	e.stats.commit(begin, b)
	return end, nil
}

// Durability is that of commits which do not ask for more.
func (e *Engine) Durability() Durability { return e.opts.Durability }

// durability resolves what a commit asks for: more than the database gives,
// never less.
func (e *Engine) durability(d Durability) (Durability, error) {
	own := e.opts.Durability
	switch {
	case d == DefaultDurability || d == own:
		return own, nil
	case d > Sync:
		return 0, fmt.Errorf("%w: unknown durability %d", base.ErrInvalidOptions, d)
	case own == NoWAL:
		return 0, fmt.Errorf("%w: the database was opened with NoWAL; a commit cannot ask for %v", base.ErrInvalidOptions, d)
	case d < own:
		return 0, fmt.Errorf("%w: a commit may ask for more durability than the database's %v, not for less (%v)", base.ErrInvalidOptions, own, d)
	}
	return d, nil
}

// batchMemoryMax is how much of a memtable one batch may take in a commit, and
// replayMemoryMax in recovery, where another system may have written the log.
// Where an int has 32 bits the caller's batch, the log's copy and the memtable
// must fit into the 4 GiB of one process together. Only tests change them.
var (
	batchMemoryMax  = min(memtable.MaxCapacity, int64(math.MaxInt)/4)
	replayMemoryMax = int64(memtable.MaxCapacity)
)

// checkBatch refuses a batch that can never be committed. space finds keyspaces.
func checkBatch(b *batch.Batch, space func(uint32) *keyspace.Keyspace) error {
	if err := b.Err(); err != nil {
		return err
	}
	if err := checkSize(b); err != nil {
		return err
	}
	return keyspace.CheckMergers(b, space)
}

// checkSize refuses a batch that no memtable can hold.
func checkSize(b *batch.Batch) error {
	if n := memtable.BatchBound(b); n > batchMemoryMax {
		return fmt.Errorf("%w: its %d operations take %d bytes in memory, and %d is the most; commit it in parts",
			base.ErrBatchTooLarge, b.Count(), n, batchMemoryMax)
	}
	return nil
}

// enqueue is stage 1.
func (e *Engine) enqueue(ctx context.Context, c *commit, b *batch.Batch, d Durability, x *txn.Txn) error {
	need := memtable.BatchBound(b)
	p := &e.commit
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := e.admit(ctx, need, b, x); err != nil {
		return err
	}
	if len(b.Keyspaces()) > 0 {
		if err := p.gen.Mem.Share(); err != nil {
			return err
		}
	}
	if x != nil {
		p.tracker.End(x)
	}
	if err := p.numbersLeft(b); err != nil {
		return err
	}
	b.SetSeq(p.nextSeq)
	if p.gen.Log != nil {
		lsn, err := p.append(b.Data, d)
		if err != nil {
			return e.logFailed(p.gen, err)
		}
		c.lsn = lsn
	}
	e.queueCommit(c, b, x)
	p.gen.Mem.BeginWrite() // never refused: only generations that left this place are sealed
	return nil
}

// queueCommit gives the commit of a batch, which has the next sequences, its place
// in the queue; x is its transaction, or nil. The caller holds commit.mu.
func (e *Engine) queueCommit(c *commit, b *batch.Batch, x *txn.Txn) {
	p := &e.commit
	p.nextSeq += base.SeqNum(b.Count())
	p.tracker.Record(b)
	p.take(c, p.nextSeq-1, b)
	for _, id := range b.Keyspaces() {
		if k := e.keyspaces.Get(id); k != nil {
			k.Wrote(c.end)
		}
	}
	if x != nil && x.Asks() {
		c.asks = true
		p.tracker.Asking(&x.ReadSet, c.end)
	}
}

// admit waits until a commit may take its place, and reserves need bytes for it
// in the active generation; or says why it may not. The caller holds commit.mu.
func (e *Engine) admit(ctx context.Context, need int64, b *batch.Batch, x *txn.Txn) error {
	p := &e.commit
	var forget func()
	defer func() {
		if forget != nil {
			forget()
		}
	}()
	for {
		if p.refused != nil {
			return p.refused
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.commitsHeld {
			if err := e.report.Callers.Refuse("a commit while a load, or a transaction with keyspaces, takes its place", callback.CallingJob); err != nil {
				return err
			}
			p.changed.Wait()
			continue
		}
		if err := e.keyspaces.Check(b.Keyspaces()); err != nil {
			return err // perhaps it was dropped during a wait: by a transaction that is visible by now
		}
		if err := e.room.Refused(b); err != nil {
			return err
		}
		if p.turning.running {
			p.changed.Wait()
			continue
		}
		if reason := e.pace.Pressure().Stops(b); reason != "" && (e.room.Lacking() == nil || !reserve.Frees(b)) {
			if err := e.waitFor(stopL0, reason); err != nil {
				e.trouble.Store(&err)
				return err
			}
			continue
		}
		if x != nil {
			again, err := e.validate(ctx, x)
			if err != nil {
				return err
			}
			if again {
				continue // the lock was let go
			}
		}
		if !e.keptRoom(need, b) {
			p.changed.Wait()
			continue
		}
		if ok, err := e.reserveRoom(ctx, need, &forget); ok || err != nil {
			return err
		}
	}
}

// reserveRoom takes need bytes of the active generation, and else waits for what
// is missing; then the caller looks again at everything. In forget it leaves what
// is to be called once the commit waits no more. The caller holds commit.mu.
func (e *Engine) reserveRoom(ctx context.Context, need int64, forget *func()) (ok bool, err error) {
	g := e.commit.gen
	if g.Log != nil && g.Log.Crowded() {
		return false, e.waitForLog(g)
	}
	if g.Mem.Reserve(need) {
		if e.commit.turning.halfFull != g {
			e.lookAhead()
		}
		return true, nil
	}
	if *forget == nil {
		*forget = e.noteLarge(need)
	}
	if err = e.makeRoom(ctx, need); err != nil {
		cause := err // err itself would be on the heap for every commit
		e.trouble.Store(&cause)
	}
	return false, err
}

// waitForLog waits, without the lock, until the log takes records without a
// write. The caller holds commit.mu.
func (e *Engine) waitForLog(g *generation.Generation) error {
	e.commit.mu.Unlock()
	err := g.Log.MakeRoom()
	e.commit.mu.Lock()
	if err == nil || errors.Is(err, base.ErrClosed) {
		return nil // the generation has been replaced, or the caller sees that the database is closed
	}
	return e.logFailed(g, err)
}

// refuse lets no commit in from now on. The caller holds mu, or is alone.
func (p *pipeline) refuse(err error) {
	p.refused = err
	p.refusal.Store(&err)
	p.changed.Broadcast()
}

// take gives a commit its place at the end of the queue. The caller holds mu.
func (p *pipeline) take(c *commit, end base.SeqNum, b *batch.Batch) {
	c.gen, c.end, c.batch = p.gen, end, b
	c.next, c.failed, c.asks, c.done, c.parked = nil, false, false, false, false
	if p.head == nil {
		p.head = c
	} else {
		p.tail.next = c
	}
	p.tail = c
}

// append hands a record to the log. One that is acknowledged from the log's
// memory must not be dropped by a full disk. The caller holds mu.
func (p *pipeline) append(record []byte, d Durability) (lsn int64, err error) {
	if d <= Relaxed {
		return p.gen.Log.AppendRelaxed(record)
	}
	return p.gen.Log.Append(record)
}

// persist is stage 2.
func (e *Engine) persist(c *commit, d Durability) error {
	var err error
	switch {
	case c.gen.Log == nil || d <= Relaxed:
		return nil
	case d == Buffered:
		err = c.gen.Log.Flush(c.lsn)
	default:
		if err = c.gen.Sync(c.lsn); err == nil {
			e.durable.raise(c.end)
			err = failpoint.Hit(failpoint.LogAfterSync)
		}
	}
	if err != nil {
		e.commit.mu.Lock()
		err = e.logFailed(c.gen, err)
		e.commit.mu.Unlock()
	}
	return err
}

// apply is stage 3.
func (e *Engine) apply(c *commit, b *batch.Batch) {
	_ = failpoint.Hit(failpoint.CommitBeforeApply)
	seq := b.Seq()
	var stripes []base.SeqNum
	if b.RangeDeletes() > 0 {
		stripes = e.store.Snapshots.Stripes()
		if stripes[len(stripes)-1] == seq-1 {
			// No read can come to stand inside the batch.
			stripes = append(stripes, c.end)
		}
	}
	var a memtable.Applier
	a.Init(c.gen.Mem, stripes, c.buf, b.RangeDeletes())
	for r := b.Reader(); ; seq++ {
		op, ok, err := r.Next()
		if err != nil {
			panic(fmt.Sprintf("engine: a batch that was just encoded does not decode: %v", err))
		}
		if !ok {
			break
		}
		a.Add(&op, seq)
	}
	c.buf = a.Flush()
}

// publish is stages 4 and 5: it returns once the commit is visible (or, when
// it failed, passed over).
func (e *Engine) publish(c *commit) {
	_ = failpoint.Hit(failpoint.CommitBeforePublish)
	p := &e.commit
	p.mu.Lock()
	c.done = true
	if c.failed {
		p.tracker.Retract(c.end)
		c.batch = nil
	}
	for p.head != nil && p.head.done {
		h := p.head
		p.head, h.batch = h.next, nil
		e.store.Publish(h.end)
		p.settle(h)
		if h.parked {
			h.wake <- struct{}{}
		}
		if h == c {
			c = nil // passed: no other goroutine will touch it
			commitPool.Put(h)
		}
	}
	if p.head == nil && p.closing {
		p.changed.Broadcast()
	}
	if c == nil {
		p.mu.Unlock()
		return
	}
	c.parked = true
	p.mu.Unlock()
	<-c.wake
	commitPool.Put(c)
}

// settle lets transactions know the outcome of a commit. The caller holds mu.
func (p *pipeline) settle(c *commit) {
	if c.asks {
		p.tracker.Asked(!c.failed)
	}
	if c.passed != nil {
		close(c.passed)
		c.passed = nil
	}
}

// outcome waits until the commit that has a sequence is visible, or passed over.
// The caller holds mu, which is released during the wait.
func (p *pipeline) outcome(ctx context.Context, seq base.SeqNum) error {
	c := p.head
	for c != nil && c.end < seq {
		c = c.next
	}
	if c == nil {
		return nil
	}
	if c.passed == nil {
		c.passed = make(chan struct{})
	}
	passed := c.passed
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// logFailed turns an error of the log into what a committer gets, and into
// the state of the engine. A full disk is a definite failure of this commit
// only: the log was cut back, and the next commit tries again, which is how
// writing resumes by itself. The caller holds commit.mu.
func (e *Engine) logFailed(g *generation.Generation, err error) error {
	if errors.Is(err, base.ErrNoSpace) {
		e.trouble.Store(&err)
		return err
	}
	if errors.Is(err, base.ErrClosed) {
		return err
	}
	e.poisonLocked(g.LogError(err))
	if errors.Is(err, base.ErrCommitUnknown) || errors.Is(err, base.ErrReadOnly) {
		return err
	}
	return fmt.Errorf("%w: %w", base.ErrCommitUnknown, err)
}

// clearTrouble notes that commits go on.
func (e *Engine) clearTrouble() {
	if e.trouble.Load() != nil {
		e.trouble.Store(nil)
	}
}

// poison makes the engine read-only for good (I9): reads go on, writes meet
// the first cause.
func (e *Engine) poison(cause error) {
	e.commit.mu.Lock()
	defer e.commit.mu.Unlock()
	e.poisonLocked(cause)
}

func (e *Engine) poisonLocked(cause error) {
	if e.latch.Set(cause) {
		if !e.commit.closing {
			e.commit.refuse(e.latch.Refusal())
		}
		e.report.Poisoned(e.latch.Cause())
		e.work.Stop()
	}
	e.commit.changed.Broadcast()
}

// SyncLog makes every commit acknowledged so far durable.
func (e *Engine) SyncLog() error {
	e.commit.mu.Lock()
	if err := e.commit.refused; err != nil {
		e.commit.mu.Unlock()
		return err
	}
	g, end := e.commit.gen, e.commit.nextSeq-1
	end -= e.commit.heldSeqs // those of an ingestion, which no log holds
	e.commit.mu.Unlock()
	if g.Log == nil {
		return fmt.Errorf("%w: there is no log to sync with NoWAL; use Flush", base.ErrInvalidOptions)
	}
	if err := e.versions.SyncKeyspaces(); err != nil {
		return err
	}
	if err := g.SyncAll(); err != nil {
		if errors.Is(err, base.ErrClosed) && e.durable.load() >= end {
			return nil // it was flushed since, and the log given up
		}
		e.commit.mu.Lock()
		defer e.commit.mu.Unlock()
		return e.logFailed(g, err)
	}
	e.durable.raise(end)
	return nil
}

// DurableSeq is the newest sequence promised to survive a power cut.
func (e *Engine) DurableSeq() base.SeqNum { return e.durable.load() }

// VisibleSeq is the newest sequence that readers see.
func (e *Engine) VisibleSeq() base.SeqNum { return e.store.Visible() }

// Now is the time by which values expire, in Unix milliseconds.
func (e *Engine) Now() uint64 { return e.clock.Now() }
