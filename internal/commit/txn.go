package commit

import (
	"context"
	"iter"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/txn"
)

// This file holds what commits and transactions know of each other.

// BeginTxn takes the moment at which a transaction reads, and from which conflicts with it
// count; x is zero.
func (p *Pipeline) BeginTxn(x *txn.Txn, h *readstate.Hold) readstate.Point {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.env.Store.Snapshots.Take(h)
	var pending iter.Seq[*batch.Batch]
	if p.head != nil {
		pending = p.pending
	}
	p.tracker.Begin(x, at.Seq, share(p.env.MemoryBudget, TxnShare), pending)
	return at
}

// pending yields the batches of the commits that are not visible yet. The
// caller holds mu.
func (p *Pipeline) pending(yield func(*batch.Batch) bool) {
	for c := p.head; c != nil; c = c.next {
		if !yield(c.batch) {
			return
		}
	}
}

// validate asks whether a transaction may take its place in the log now. When
// the tree has to be asked first the lock is let go for that time, and the answer
// is to try again. The caller holds mu.
//
// A conflict with a commit that is on its way is none until that is visible: it
// may fail yet. A program that tries again then sees at once what it lost to.
func (p *Pipeline) validate(ctx context.Context, x *txn.Txn) (again bool, err error) {
	a := p.tracker.Validate(x, p.nextSeq-1)
	switch {
	case a.Verdict == txn.Valid:
		return false, nil
	case a.Verdict == txn.Conflict && a.Upto <= p.env.Store.Visible():
		p.tracker.End(x)
		return false, base.ErrConflict
	}
	if err := p.outcome(ctx, a.Upto); err != nil || a.Verdict == txn.Conflict {
		return true, err
	}
	p.mu.Unlock()
	newer, err := x.CheckTree(p.env.Tree)
	p.mu.Lock()
	switch {
	case err != nil:
		return false, err
	case newer:
		p.tracker.End(x)
		return false, base.ErrConflict
	}
	return true, nil
}

// outcome waits until the commit that has a sequence is visible, or passed over.
// The caller holds mu, which is released during the wait.
func (p *Pipeline) outcome(ctx context.Context, seq base.SeqNum) error {
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

// mayCommit asks whether a transaction may commit that needs the keyspaces in others. The
// caller holds mu, which is let go where the answer takes time.
func (p *Pipeline) mayCommit(ctx context.Context, x *txn.Txn, others []uint32) error {
	for {
		if p.refused != nil {
			return p.refused
		}
		if err := p.env.Keyspaces.Check(others); err != nil {
			return err
		}
		again, err := p.validate(ctx, x)
		if err != nil {
			return err
		}
		if !again {
			return nil
		}
	}
}

// MayCommit asks whether a transaction could commit now that needs the keyspaces in others.
// An ingestion asks once before others are held back: the answer may have to ask the tree.
func (p *Pipeline) MayCommit(ctx context.Context, x *txn.Txn, others []uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mayCommit(ctx, x, others)
}

// EndTxn forgets a transaction. One that has committed is forgotten already.
func (p *Pipeline) EndTxn(x *txn.Txn) {
	p.mu.Lock()
	p.tracker.End(x)
	p.mu.Unlock()
}

// OldestTxn is where the oldest open transaction reads, if there is one that writes.
func (p *Pipeline) OldestTxn() (seq base.SeqNum, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tracker.Oldest()
}

// Drop takes a keyspace away from commits and from reads to come, once the edit that drops it
// is durable. It returns the sequence of the newest commit to it, and whether transactions
// are open that may ask what that was. The versions are locked.
func (p *Pipeline) Drop(k *keyspace.Keyspace) (newest base.SeqNum, asked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env.Keyspaces.Remove(k)
	oldest, open := p.tracker.Oldest()
	return k.Newest(), open && oldest < k.Newest()
}

// Add makes a keyspace known, to which the ingestion wrote that ends at seq. The versions are
// locked.
func (p *Pipeline) Add(k *keyspace.Keyspace, seq base.SeqNum) {
	p.mu.Lock()
	k.Wrote(seq)
	p.mu.Unlock()
	p.env.Keyspaces.Add(k)
}
