package commit

import (
	"context"
	"errors"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// How a commit takes its place whose data is in tables from the beginning, past
// the log (I1, I2): that of a bulk load, or of a transaction that creates or drops
// keyspaces. Order of things, where no other goroutine flushes:
//
//	1 TakePlace: commits are held back, a new generation is made active,
//	  the ingestion gets the next sequences and a place in the queue
//	2 the generations before it are flushed, so that it is nearer the memtable
//	  than everything older (I6), and durable only after it
//	3 the tables are installed (I4)
//	4 EndPlace: it is published behind all commits before it, and commits go on
//
// No commit gets a sequence between 1 and 4, so no log holds one that follows an
// ingestion which a crash undoes. A read that pinned a state between 1 and 3 has
// the new generation in it and not the tables; readstate.Store.HoldReads keeps it from
// seeing what follows.

// Ingestion is such a commit.
type Ingestion struct {
	// Batch is what the conflict checks of transactions know of it: its operations have
	// the sequences of the ingestion.
	Batch *batch.Batch
	// First is the first of its tables: readers that have it are let past the sequences.
	// 0: all are, at its end.
	First base.FileNum
	// Txn is its transaction, or nil, and Others the keyspaces that must be there for it
	// to commit.
	Txn    *txn.Txn
	Others []uint32
}

// Place is an ingestion between its place and its end.
type Place struct {
	Seq, End base.SeqNum // its sequences
	c        *commit
}

// TakePlace is step 1. Callers see to it that one ingestion at a time has a place, and that
// no other goroutine flushes before EndPlace. The context is asked where the conflict check
// of the transaction takes time.
func (p *Pipeline) TakePlace(ctx context.Context, in *Ingestion) (*Place, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != nil {
		return nil, p.refused
	}
	p.commitsHeld = true // from here on, for the lock is let go in turn
	pl, err := p.reservePlace(ctx, in)
	if err != nil {
		p.commitsHeld = false
		p.changed.Broadcast()
		p.env.Store.LetReads()
		return nil, err
	}
	pl.c = commitPool.Get().(*commit)
	p.queueCommit(pl.c, in.Batch, in.Txn)
	p.heldSeqs = pl.End - pl.Seq + 1
	return pl, nil
}

// reservePlace gives an ingestion its sequences and makes a new generation active.
// The caller holds mu, and commits are held back.
func (p *Pipeline) reservePlace(ctx context.Context, in *Ingestion) (*Place, error) {
	if in.Txn != nil {
		if err := p.mayCommit(ctx, in.Txn, in.Others); err != nil {
			return nil, err
		}
		p.tracker.End(in.Txn)
	}
	b := in.Batch
	if err := p.numbersLeft(b); err != nil {
		return nil, err
	}
	pl := &Place{Seq: p.nextSeq, End: p.nextSeq + base.SeqNum(b.Count()) - 1}
	b.SetSeq(pl.Seq)
	p.env.Store.HoldReads(pl.Seq, pl.End, in.First)
	// The queue of generations may get one too long here: the goroutine that would
	// make room waits until the ingestion has ended.
	return pl, p.turn(context.Background(), p.gen, 0)
}

// numbersLeft refuses a batch for which there are no sequences left. The caller
// holds mu.
func (p *Pipeline) numbersLeft(b *batch.Batch) error {
	if writeset.FirstSeq-p.nextSeq < base.SeqNum(b.Count()) {
		return fmt.Errorf("%w: the sequence numbers of this database are used up; copy it into a new one", base.ErrReadOnly)
	}
	return nil
}

// EndPlace is step 4, with the outcome of the steps before it. Where the tables did not
// come, reads are let past its sequences all the same. seen, if it is not nil, is called when
// readers see the ingestion, before commits go on.
func (p *Pipeline) EndPlace(pl *Place, err error, seen func()) {
	p.env.Store.LetReads()
	if err == nil {
		p.durable.raise(pl.End)
	}
	pl.c.failed = err != nil && !errors.Is(err, base.ErrCommitUnknown)
	p.publish(pl.c)
	if seen != nil {
		seen()
	}
	p.mu.Lock()
	p.commitsHeld, p.heldSeqs = false, 0
	p.changed.Broadcast()
	p.mu.Unlock()
}
