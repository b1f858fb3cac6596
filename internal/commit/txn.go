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

// This file checks transactions for conflicts with commits.

// BeginTxn returns the point at which the transaction x reads; commits after it can conflict
// with x. x is zero before the call.
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

// validate returns nil if a transaction may take its place in the log now. If the
// check must wait or read the tree, validate releases mu for that time and reports again,
// and the caller starts over. The caller holds mu.
//
// A conflict with a commit in the queue counts only once that commit is visible: it
// may still fail. A program that then retries sees at once the write it conflicted with.
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

// outcome waits until the commit with sequence seq is visible or passed over.
// The caller holds mu, which outcome releases while it waits.
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

// mayCommit returns nil if a transaction that needs the keyspaces in others may commit. The
// caller holds mu, which mayCommit releases while the check waits or reads the tree.
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

// MayCommit returns nil if a transaction that needs the keyspaces in others could commit now.
// Callers call it before TakePlace holds commits back, because the check may read the tree.
func (p *Pipeline) MayCommit(ctx context.Context, x *txn.Txn, others []uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mayCommit(ctx, x, others)
}

// EndTxn forgets a transaction. A commit has forgotten its transaction already.
func (p *Pipeline) EndTxn(x *txn.Txn) {
	p.mu.Lock()
	p.tracker.End(x)
	p.mu.Unlock()
}

// OldestTxn returns the sequence at which the oldest open transaction reads, among those
// that may write, and whether there is one.
func (p *Pipeline) OldestTxn() (seq base.SeqNum, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tracker.Oldest()
}

// Drop hides a keyspace from later commits and reads, once the edit that drops it is
// durable. It returns the sequence of the newest commit to the keyspace, and whether an open
// transaction is older than that commit and may need its keys. The versions are locked.
func (p *Pipeline) Drop(k *keyspace.Keyspace) (newest base.SeqNum, asked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env.Keyspaces.Remove(k)
	oldest, open := p.tracker.Oldest()
	return k.Newest(), open && oldest < k.Newest()
}

// Add makes a keyspace known; the ingestion that created it ends at seq. The versions are
// locked.
func (p *Pipeline) Add(k *keyspace.Keyspace, seq base.SeqNum) {
	p.mu.Lock()
	k.Wrote(seq)
	p.mu.Unlock()
	p.env.Keyspaces.Add(k)
}
