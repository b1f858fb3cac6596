package commit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/txn"
)

// Commit applies a batch atomically and returns its last sequence. The batch
// may be reused afterwards. The error is definite (nothing was or will be
// applied) unless errors.Is(err, base.ErrCommitUnknown).
//
// If ctx ends before the commit has its place in the log, while writers are slowed or
// stopped, Commit returns the error of ctx, which is definite. x is the transaction that
// commits, or nil; with a transaction the error may be base.ErrConflict.
func (p *Pipeline) Commit(ctx context.Context, b *batch.Batch, d Durability, x *txn.Txn) (base.SeqNum, error) {
	seq, err := p.commitOnce(ctx, b, d, x)
	if err != nil && errors.Is(err, base.ErrNoSpace) && b.Err() == nil {
		return p.commitFreeing(ctx, b, d, x, err)
	}
	return seq, err
}

// Resolve returns the durability of a commit that asks for d: a commit may ask for more
// than the database gives, never for less.
func (p *Pipeline) Resolve(d Durability) (Durability, error) { return d.over(p.env.Durability) }

// commitOnce is one attempt at Commit.
func (p *Pipeline) commitOnce(ctx context.Context, b *batch.Batch, d Durability, x *txn.Txn) (base.SeqNum, error) {
	if err := b.Err(); err != nil {
		return 0, err
	}
	if b.Count() == 0 {
		if p.env.Store.Closed() {
			return 0, base.ErrClosed
		}
		return p.env.Store.Visible(), nil
	}
	d, err := p.Resolve(d)
	if err != nil {
		return 0, err
	}
	if err := CheckBatch(b, p.env.Keyspaces.Get); err != nil {
		return 0, err
	}
	if err := p.env.Keyspaces.Settle(b.Keyspaces()); err != nil {
		return 0, err
	}
	if b.Expires() {
		p.env.Clock.Use() // before any read can see it
	}
	begin := p.Stats.Begin()
	p.env.Pace.Wait(ctx, b)
	c := commitPool.Get().(*commit)
	if ctx.Done() != nil {
		var cancel func()
		ctx, cancel = context.WithCancel(ctx) // our own: its methods are called under locks
		defer cancel()
		defer context.AfterFunc(ctx, p.Changed)() // writers that wait for room look again
	}
	if err := p.enqueue(ctx, c, b, d, x); err != nil {
		commitPool.Put(c)
		return 0, err
	}
	err = p.persist(c, d)
	if err == nil {
		p.apply(c, b)
	}
	c.gen.Mem.EndWrite()
	c.failed = err != nil && !errors.Is(err, base.ErrCommitUnknown)
	end := c.end
	p.publish(c)
	if err != nil {
		return 0, err
	}
	p.ClearTrouble()
	p.Stats.End(begin, b)
	return end, nil
}

// batchMemoryMax bounds the bytes of a memtable that one batch may take. With 32-bit
// ints the caller's batch, the log's copy and the memtable together must fit into the
// 4 GiB of the process. Only tests change it.
var batchMemoryMax = min(memtable.MaxCapacity, int64(math.MaxInt)/4)

// CheckBatch refuses a batch that can never be committed. space returns the keyspace
// with a number, or nil.
func CheckBatch(b *batch.Batch, space func(uint32) *keyspace.Keyspace) error {
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
func (p *Pipeline) enqueue(ctx context.Context, c *commit, b *batch.Batch, d Durability, x *txn.Txn) error {
	need := memtable.BatchBound(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.admit(ctx, need, b, x); err != nil {
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
			return p.logFailed(p.gen, err)
		}
		c.lsn = lsn
	}
	p.queueCommit(c, b, x)
	p.gen.Mem.BeginWrite() // never refused: the active generation is not sealed
	return nil
}

// queueCommit puts the commit of a batch into the queue; the batch has the next
// sequences, and x is its transaction or nil. The caller holds mu.
func (p *Pipeline) queueCommit(c *commit, b *batch.Batch, x *txn.Txn) {
	p.nextSeq += base.SeqNum(b.Count())
	p.tracker.Record(b)
	p.take(c, p.nextSeq-1, b)
	for _, id := range b.Keyspaces() {
		if k := p.env.Keyspaces.Get(id); k != nil {
			k.Wrote(c.end)
		}
	}
	if x != nil && x.Asks() {
		c.asks = true
		p.tracker.Asking(&x.ReadSet, c.end)
	}
}

// take gives a commit its place at the end of the queue. The caller holds mu.
func (p *Pipeline) take(c *commit, end base.SeqNum, b *batch.Batch) {
	c.gen, c.end, c.batch = p.gen, end, b
	c.next, c.failed, c.asks, c.done, c.parked = nil, false, false, false, false
	if p.head == nil {
		p.head = c
	} else {
		p.tail.next = c
	}
	p.tail = c
}

// append hands a record to the log. A record that is acknowledged from the log's
// memory must survive a full disk. The caller holds mu.
func (p *Pipeline) append(record []byte, d Durability) (lsn int64, err error) {
	if d <= Relaxed {
		return p.gen.Log.AppendRelaxed(record)
	}
	return p.gen.Log.Append(record)
}

// persist is stage 2.
func (p *Pipeline) persist(c *commit, d Durability) error {
	var err error
	switch {
	case c.gen.Log == nil || d <= Relaxed:
		return nil
	case d == Buffered:
		err = c.gen.Log.Flush(c.lsn)
	default:
		if err = c.gen.Sync(c.lsn); err == nil {
			p.durable.raise(c.end)
			err = failpoint.Hit(failpoint.LogAfterSync)
		}
	}
	if err != nil {
		p.mu.Lock()
		err = p.logFailed(c.gen, err)
		p.mu.Unlock()
	}
	return err
}

// apply is stage 3.
func (p *Pipeline) apply(c *commit, b *batch.Batch) {
	_ = failpoint.Hit(failpoint.CommitBeforeApply)
	seq := b.Seq()
	var stripes []base.SeqNum
	if b.RangeDeletes() > 0 {
		stripes = p.env.Store.Snapshots.Stripes()
		if stripes[len(stripes)-1] == seq-1 {
			// No read can be at a sequence inside the batch.
			stripes = append(stripes, c.end)
		}
	}
	var a memtable.Applier
	a.Init(c.gen.Mem, stripes, c.buf, b.RangeDeletes())
	for r := b.Reader(); ; seq++ {
		op, ok, err := r.Next()
		if err != nil {
			panic(fmt.Sprintf("commit: a batch that was just encoded does not decode: %v", err))
		}
		if !ok {
			break
		}
		a.Add(&op, seq)
	}
	c.buf = a.Flush()
}

// publish is stages 4 and 5: it returns once the commit is visible or, if it
// failed, passed over.
func (p *Pipeline) publish(c *commit) {
	_ = failpoint.Hit(failpoint.CommitBeforePublish)
	p.mu.Lock()
	c.done = true
	if c.failed {
		p.tracker.Retract(c.end)
		c.batch = nil
	}
	for p.head != nil && p.head.done {
		h := p.head
		p.head, h.batch = h.next, nil
		p.env.Store.Publish(h.end)
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

// settle reports the outcome of a commit to transactions. The caller holds mu.
func (p *Pipeline) settle(c *commit) {
	if c.asks {
		p.tracker.Asked(!c.failed)
	}
	if c.passed != nil {
		close(c.passed)
		c.passed = nil
	}
}

const (
	// deletesWait bounds how long a delete tries to get the rest of the reserve
	// while a flush or a merge has it; deletesPause is the pause between tries.
	deletesWait  = 2 * time.Second
	deletesPause = 5 * time.Millisecond
)

// commitFreeing retries a batch that failed with err because the disk is full. A
// batch that frees space may take the reserve.
func (p *Pipeline) commitFreeing(ctx context.Context, b *batch.Batch, d Durability, x *txn.Txn, err error) (seq base.SeqNum, _ error) {
	if !reserve.Frees(b) {
		return 0, err
	}
	defer p.env.Room.Use()()
	for end := time.Now().Add(deletesWait); errors.Is(err, base.ErrNoSpace); {
		if !p.env.Room.GiveUp(err) {
			if p.env.Room.Lacking() == nil || time.Now().After(end) || ctx.Err() != nil {
				break
			}
			p.env.Work.Rest(deletesPause)
		}
		if x != nil {
			break // the transaction has ended; the caller's next attempt finds room
		}
		seq, err = p.commitOnce(ctx, b, d, x)
	}
	return seq, err
}
