package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// How a commit takes its place whose data is in tables from the beginning, past
// the log (I1, I2): that of a bulk load, or of a transaction that creates or drops
// keyspaces. Order of things, with flushMu held so that no other goroutine flushes:
//
//	1 under commit.mu: commits are held back, a new generation is made active,
//	  the ingestion gets the next sequences and a place in the queue
//	2 the generations before it are flushed, so that it is nearer the memtable
//	  than everything older (I6), and durable only after it
//	3 the tables are installed (I4)
//	4 it is published behind all commits before it, and commits go on
//
// No commit gets a sequence between 1 and 4, so no log holds one that follows an
// ingestion which a crash undoes. A read that pinned a state between 1 and 3 has
// the new generation in it and not the tables; state.limit keeps it from seeing
// what follows.
type ingestion struct {
	x     *txn.Txn // of a transaction, or nil
	first base.FileNum
	// ready returns what the conflict checks of transactions know of the ingestion:
	// a batch whose operations have its sequences. It is called with commit.mu held
	// and commits held back, and may release the lock.
	ready func() (*batch.Batch, error)
	// enter is step 3. leave, if set, is called behind step 4.
	enter func(at *loading) error
	leave func()
}

// loading is an ingestion between its place and its end.
type loading struct {
	seq, end base.SeqNum     // its sequences
	first    base.FileNum    // of its tables; 0: readers are let past seq at its end
	job      *compaction.Job // stands for it before the picker, once its level is chosen
}

// ingest takes an ingestion through, and returns its last sequence. The error is
// definite unless errors.Is(err, base.ErrCommitUnknown).
func (e *Engine) ingest(in *ingestion) (base.SeqNum, error) {
	e.flushMu.Lock()
	defer e.flushMu.Unlock()
	c, at, err := e.takePlace(in)
	if err != nil {
		return 0, err
	}
	// A panic leaves no commit waiting.
	err = errPanicked
	defer func() { e.endIngestion(in, c, at, err) }()
	// From here it is a matter of a few syncs; no context is asked.
	if _, ferr := e.flushBefore(context.Background(), at.seq-1); ferr != nil {
		err = ferr
		return 0, err
	}
	err = in.enter(at)
	return at.end, err
}

// errPanicked is the outcome of an ingestion of which a step panicked.
var errPanicked = errors.New("engine: an ingestion panicked")

// endIngestion is step 4.
func (e *Engine) endIngestion(in *ingestion, c *commit, at *loading, err error) {
	e.endLoading()
	if err == nil {
		e.durable.raise(at.end)
	}
	c.failed = err != nil && !errors.Is(err, base.ErrCommitUnknown)
	e.publish(c)
	if in.leave != nil {
		in.leave()
	}
	e.letCommits()
	e.background.kick() // the tables were in the way of jobs, or make some
}

// takePlace is step 1. The caller holds flushMu.
func (e *Engine) takePlace(in *ingestion) (*commit, *loading, error) {
	p := &e.commit
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != nil {
		return nil, nil, p.refused
	}
	p.commitsHeld = true // from here on, for the lock is let go in turn
	at, b, err := e.reservePlace(in)
	if err != nil {
		p.commitsHeld = false
		p.changed.Broadcast()
		e.endLoading()
		return nil, nil, err
	}
	c := commitPool.Get().(*commit)
	e.queueCommit(c, b, in.x)
	p.heldSeqs = at.end - at.seq + 1
	return c, at, nil
}

// reservePlace gives an ingestion its sequences and makes a new generation active.
// The caller holds commit.mu, and commits are held back.
func (e *Engine) reservePlace(in *ingestion) (*loading, *batch.Batch, error) {
	p := &e.commit
	b, err := in.ready()
	if err != nil {
		return nil, nil, err
	}
	if err := p.numbersLeft(b); err != nil {
		return nil, nil, err
	}
	at := &loading{seq: p.nextSeq, end: p.nextSeq + base.SeqNum(b.Count()) - 1, first: in.first}
	b.SetSeq(at.seq)
	e.mu.Lock()
	e.loading = at
	e.mu.Unlock()
	e.store.HoldReads(at.seq, at.end, at.first)
	// The queue of generations may get one too long here: the goroutine that would
	// make room waits for flushMu.
	return at, b, e.turn(context.Background(), p.gen, 0)
}

// numbersLeft refuses a batch for which there are no sequences left. The caller
// holds mu.
func (p *pipeline) numbersLeft(b *batch.Batch) error {
	if writeset.FirstSeq-p.nextSeq < base.SeqNum(b.Count()) {
		return fmt.Errorf("%w: the sequence numbers of this database are used up; copy it into a new one", base.ErrReadOnly)
	}
	return nil
}

// waitUnstopped waits as long as stops gives a reason why writers are stopped. It
// ends with the error of ctx when that ends.
func (e *Engine) waitUnstopped(ctx context.Context, stops func(*pace.Pressure) string) error {
	p := &e.commit
	defer context.AfterFunc(ctx, e.commitChanged)()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.refused != nil {
			return p.refused
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		reason := stops(e.pace.Pressure())
		if reason == "" {
			return nil
		}
		if err := e.waitFor(stopL0, reason); err != nil {
			return err
		}
	}
}

// endLoading ends the loading. Where the tables did not come, reads must be let
// past its sequences all the same.
func (e *Engine) endLoading() {
	e.mu.Lock()
	if l := e.loading; l != nil && l.job != nil {
		e.unmarkInputs(l.job)
	}
	e.loading = nil
	e.mu.Unlock()
	e.store.LetReads()
}

// letCommits ends the holding back.
func (e *Engine) letCommits() {
	p := &e.commit
	p.mu.Lock()
	p.commitsHeld, p.heldSeqs = false, 0
	p.changed.Broadcast()
	p.mu.Unlock()
}
