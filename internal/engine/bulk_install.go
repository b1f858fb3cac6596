package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// How a load takes its place. It is a commit of one sequence (I1, I2), whose
// data is in tables from the beginning. Order of things, with flushMu held so
// that no other goroutine flushes:
//
//	1 under commit.mu: commits are held back, a new generation is made active,
//	  the load gets the next sequence and a place in the queue
//	2 the generations before it are flushed, so that the load is nearer the
//	  memtable than everything older (I6), and durable only after it
//	3 the tables are installed (I4), as deep as nothing overlaps them
//	4 the load is published behind all commits before it, and commits go on
//
// No commit gets a sequence between 1 and 4, so no log holds one that follows a
// load which a crash undoes. A read that pinned a state between 1 and 3 has the
// new generation in it and not the tables; state.limit keeps it from seeing what
// follows the load.

// loading is a load between its place and its end.
type loading struct {
	seq   base.SeqNum
	first base.FileNum    // of its tables
	job   *compaction.Job // stands for it before the picker, once its level is chosen
}

// install makes tables visible, all at once. If it fails they are not part of
// the database, unless errors.Is(err, base.ErrCommitUnknown).
func (l *load) install(res compaction.Result) error {
	e := l.e
	if err := e.room.short.Load(); err != nil {
		return *err // the tables took what deletes will need
	}
	// Most of what is in memory goes to tables while commits go on.
	if err := e.Flush(l.ctx); err != nil {
		return err
	}
	if err := l.waitForRoom(); err != nil {
		return err
	}
	e.flushMu.Lock()
	defer e.flushMu.Unlock()
	c, at, err := l.takePlace(res.Tables)
	if err != nil {
		return err
	}
	// From here it is a matter of a few syncs; the context is not asked.
	_, err = e.flushBefore(context.Background(), at.seq-1)
	if err == nil {
		err = l.enter(at, res)
	}
	e.endLoading()
	if err == nil {
		e.durable.raise(at.seq)
		l.stats.Seq = uint64(at.seq)
	}
	c.failed = err != nil && !errors.Is(err, base.ErrCommitUnknown)
	e.publish(c)
	e.letCommits()
	e.background.kick() // the tables were in the way of jobs, or make some
	return err
}

// waitForRoom waits as long as writers to the keyspace are stopped.
func (l *load) waitForRoom() error {
	e := l.e
	p := &e.commit
	defer context.AfterFunc(l.ctx, e.commitChanged)()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.refused != nil {
			return p.refused
		}
		if err := l.ctx.Err(); err != nil {
			return err
		}
		n := e.pressure.Load().runs(l.k.id)
		if n == 0 {
			return nil
		}
		if err := e.waitFor(stopL0, fmt.Sprintf("%d runs in L0 wait for compaction", n)); err != nil {
			return err
		}
	}
}

// runs is how many runs in L0 stop writers to a keyspace; 0 if they are not
// stopped.
func (p *pressure) runs(id uint32) int {
	if p == nil {
		return 0
	}
	return p.stopped[id]
}

// takePlace is step 1. The caller holds flushMu.
func (l *load) takePlace(tables []*manifest.FileMeta) (*commit, *loading, error) {
	e := l.e
	p := &e.commit
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != nil {
		return nil, nil, p.refused
	}
	if p.nextSeq >= ownSeq {
		return nil, nil, fmt.Errorf("%w: the sequence numbers of this database are used up; copy it into a new one", base.ErrReadOnly)
	}
	at := &loading{seq: p.nextSeq, first: tables[0].Num}
	e.mu.Lock()
	e.loading = at
	e.mu.Unlock()
	p.held = true // from here on, for the lock is let go in turn
	// The queue of generations may get one too long here: who would make room
	// waits for flushMu.
	if err := e.turn(context.Background(), p.gen, 0); err != nil {
		p.held = false
		p.changed.Broadcast()
		e.endLoading()
		return nil, nil, err
	}
	p.nextSeq++
	c := commitPool.Get().(*commit)
	p.take(c, at.seq, p.noteLoad(l.k, tables[0].Smallest, tables[len(tables)-1].Largest, at.seq))
	return c, at, nil
}

// noteLoad tells the conflict checks of transactions about a load of keys from
// lo to hi: to them it is a batch that writes that range. The batch is also for
// transactions that begin before the load is visible. The caller holds mu.
func (p *pipeline) noteLoad(k *Keyspace, lo, hi []byte, seq base.SeqNum) *batch.Batch {
	b := new(batch.Batch)
	if err := b.DeleteRange(k.id, lo, rightAfter(hi)); err != nil {
		panic(fmt.Sprintf("engine: the range of a load: %v", err)) // both are keys
	}
	b.SetSeq(seq)
	p.tracker.Record(b)
	k.newest = seq
	return b
}

// rightAfter is an end of ranges that hold key, right after it or, if that were
// too long for a key, at the next that is not; nil is no end.
func rightAfter(key []byte) []byte {
	if len(key) < base.MaxKeySize {
		return append(bytes.Clone(key), 0)
	}
	n := len(key)
	for n > 0 && key[n-1] == 0xff {
		n--
	}
	if n == 0 {
		return nil
	}
	hi := bytes.Clone(key[:n])
	hi[n-1]++
	return hi
}

// enter is step 3.
func (l *load) enter(at *loading, res compaction.Result) error {
	e, k := l.e, l.k
	e.installMu.Lock()
	defer e.installMu.Unlock()
	e.mu.Lock()
	lo, end := res.Tables[0].Smallest, res.Tables[len(res.Tables)-1].End()
	level, run := compaction.Place(e.state.Load().v.version, e.busy, k.id, lo, end, e.pickConfig())
	if level == 0 {
		run = uint64(e.newFileNum())
	}
	edit := &manifest.Edit{AddValues: res.Values}
	for _, m := range res.Tables {
		m.Keyspace, m.Run = k.id, run
		m.OneSeq, m.SmallestSeq, m.LargestSeq = at.seq, at.seq, at.seq
		edit.Add = append(edit.Add, manifest.NewFile{Level: level, Meta: m})
	}
	// Until the tables are in the version the picker has to know of them: a
	// job that it starts now must not write across them.
	at.job = &compaction.Job{
		Keyspace: k.id, OutputLevel: level, OutputRun: run,
		Inputs: []compaction.Input{{Level: level, Run: run, Files: res.Tables}},
	}
	e.markInputs(at.job)
	e.mu.Unlock()
	l.stats.Level = level
	healthy := e.poisoned.Load() == nil
	err := e.installLocked(edit, nil, k, false)
	if err != nil && healthy && e.poisoned.Load() != nil {
		return fmt.Errorf("%w: %w", base.ErrCommitUnknown, *e.poisoned.Load())
	}
	return err
}

// endLoading ends the loading. Where the tables did not come, reads
// must be let past the sequence of the load all the same.
func (e *Engine) endLoading() {
	e.mu.Lock()
	if l := e.loading; l != nil && l.job != nil {
		e.unmarkInputs(l.job)
	}
	e.loading = nil
	retire := func() {}
	if s := e.state.Load(); s != nil && s.limit != base.SeqNumMax {
		retire = e.setState(&state{mem: s.mem, imm: s.imm, v: s.v})
	}
	e.mu.Unlock()
	retire()
}

// readLimit is the newest sequence that reads of the next state may see. The
// caller holds e.mu.
func (e *Engine) readLimit() base.SeqNum {
	if l := e.loading; l != nil && e.tables[l.first] == nil {
		return l.seq - 1
	}
	return base.SeqNumMax
}

// letCommits ends the holding back.
func (e *Engine) letCommits() {
	p := &e.commit
	p.mu.Lock()
	p.held = false
	p.changed.Broadcast()
	p.mu.Unlock()
}
