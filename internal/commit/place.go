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

// An ingestion is a commit whose data is in tables from the beginning and bypasses the
// log (I1, I2): a bulk load, or a transaction that creates or drops keyspaces. It takes
// these steps, during which no other goroutine flushes:
//
//	1 TakePlace holds commits back, makes a new generation active, and gives the
//	  ingestion the next sequences and a place in the queue
//	2 the caller flushes the older generations, so that the ingestion is nearer the
//	  memtable than everything older (I6), and becomes durable only after it
//	3 the caller installs the tables (I4)
//	4 EndPlace publishes the ingestion behind all commits before it, and lets
//	  commits go on
//
// No commit gets a sequence between 1 and 4, so no log holds a commit that follows an
// ingestion which a crash undoes. A reader that pins a state between 1 and 3 has
// the new generation but not the tables; readstate.Store.HoldReads keeps it from
// seeing later commits.

// Ingestion describes an ingestion.
type Ingestion struct {
	// Batch stands for the ingestion in the conflict checks of transactions: its
	// operations have the sequences of the ingestion.
	Batch *batch.Batch
	// First is the first table of the ingestion. Readers of a state that has the table
	// may read past the sequences of the ingestion. If First is 0, all readers may, once
	// the ingestion has ended.
	First base.FileNum
	// Txn is the transaction of the ingestion, or nil. It commits only if the keyspaces
	// in Others exist.
	Txn    *txn.Txn
	Others []uint32
}

// Place is an ingestion between TakePlace and EndPlace.
type Place struct {
	Seq, End base.SeqNum // first and last sequence
	c        *commit
}

// TakePlace is step 1. Callers ensure that one ingestion at a time has a place, and that
// no other goroutine flushes before EndPlace. ctx can end a slow conflict check of the
// transaction.
func (p *Pipeline) TakePlace(ctx context.Context, in *Ingestion) (*Place, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != nil {
		return nil, p.refused
	}
	p.commitsHeld = true // before turn releases the lock
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
	// The queue of generations may get one longer than its limit here: the flusher,
	// which makes room, waits for the end of the ingestion.
	return pl, p.turn(context.Background(), p.gen, 0)
}

// numbersLeft refuses a batch that needs more sequences than are left. The caller
// holds mu.
func (p *Pipeline) numbersLeft(b *batch.Batch) error {
	if writeset.FirstSeq-p.nextSeq < base.SeqNum(b.Count()) {
		return fmt.Errorf("%w: the sequence numbers of this database are used up; copy it into a new one", base.ErrReadOnly)
	}
	return nil
}

// EndPlace is step 4; err is the outcome of the steps before it. Even if they failed, it lets
// reads past the sequences of the ingestion. EndPlace calls seen, if it is not nil, once
// readers see the ingestion and before commits go on.
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
