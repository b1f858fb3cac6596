package commit

import (
	"context"
	"slices"

	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/memtable"
)

// The turner is the goroutine that replaces the active generation: it writes the old
// log out, creates the new one, and syncs its name. It holds no lock during this I/O,
// so the commit lock never waits for a disk. Commits wait while the turner makes a
// replacement, because the old log must get no more records; reads and jobs go on.
// The turner makes the next log ahead, when the memtable is half full, so that commits
// seldom wait for the sync of a directory.

// turn replaces the active generation, if it is still g, by one that can hold
// need bytes, and waits for that. It returns the error of an attempt that began after
// the call, the error of ctx, or why commits are refused. The caller holds
// mu, which turn releases while it waits, and ensures that changed is
// signalled when ctx ends.
func (p *Pipeline) turn(ctx context.Context, g *generation.Generation, need int64) error {
	begun := p.turning.begun
	for p.gen == g {
		switch {
		case p.refused != nil:
			return p.refused
		case ctx.Err() != nil:
			return ctx.Err()
		case p.turning.failedAt > begun:
			return p.turning.failure
		}
		p.wantTurn(need)
		p.changed.Wait()
	}
	return nil
}

// wantTurn requests that the active generation be replaced by one that can hold need
// bytes. The caller holds mu.
func (p *Pipeline) wantTurn(need int64) {
	t := &p.turning
	if t.wanted != p.gen {
		t.wanted, t.need = p.gen, 0
	}
	t.need = max(t.need, need)
	t.wake()
}

// lookAhead requests the next log if the active memtable is more than half full. The
// caller holds mu.
func (p *Pipeline) lookAhead() {
	g := p.gen
	if g.Mem.Bytes() > g.Charge/2 {
		p.turning.halfFull, p.turning.ahead = g, true
		p.turning.wake()
	}
}

// turner replaces active generations until the workers stop.
func (p *Pipeline) turner() {
	t := &p.turning
	defer func() {
		if t.seg != nil {
			t.seg.Discard() // no record was written to it
			t.seg = nil
			t.made.Store(0)
		}
	}()
	for {
		select {
		case <-p.env.Work.Done():
			return
		case <-t.kick:
		}
		p.turnOnce()
		p.mu.Lock()
		ahead := t.ahead
		t.ahead = false
		p.mu.Unlock()
		if ahead && t.seg == nil {
			// On failure the next turn makes the log itself.
			if seg, err := p.MakeLog(); err == nil {
				t.seg = seg
				t.made.Store(1)
			}
		}
	}
}

// turnOnce makes one attempt to replace the active generation, if that is wanted.
func (p *Pipeline) turnOnce() {
	t := &p.turning
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.gen
	if t.wanted != old || p.refused != nil {
		return
	}
	size, queue := p.nextMemtables()
	capacity := p.roomFor(t.need, int64(size))
	p.maxQueue.Store(int32(queue))
	t.wanted, t.need, t.running = nil, 0, true
	t.begun++
	p.mu.Unlock()
	err := p.writeOut(old)
	var g *generation.Generation
	if err == nil {
		g, err = p.successor(old, capacity)
	}
	p.mu.Lock()
	t.running = false
	if err != nil {
		t.failedAt, t.failure = t.begun, err
	} else {
		p.switchTo(g)
	}
	p.changed.Broadcast()
}

// roomFor returns the capacity of the next memtable: at least size, and enough for a
// batch that needs need bytes, for each large batch that waits, and for commits that
// get in before them. All waiting commits go on at once when the memtable is replaced.
// A memtable sized for one caller alone, or filled by others before the large batch gets
// in, would have to be replaced again.
func (p *Pipeline) roomFor(need, size int64) int64 {
	for _, n := range p.turning.large {
		need = max(need, n)
	}
	return min(max(size, need+size/2), memtable.MaxCapacity)
}

// noteLarge notes a waiting batch of need bytes, if it is large for a memtable, until
// forget is called. The callers of both hold mu.
func (p *Pipeline) noteLarge(need int64) (forget func()) {
	if size, _ := p.nextMemtables(); need <= int64(size)/2 {
		return func() {}
	}
	t := &p.turning
	t.large = append(t.large, need)
	return func() {
		i := slices.Index(t.large, need)
		t.large = slices.Delete(t.large, i, i+1)
	}
}

// turnNow replaces the active generation after commits and the turner have ended.
// No record will follow, so the old log need not be written out.
func (p *Pipeline) turnNow(capacity int64) error {
	g, err := p.successor(p.gen, capacity)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.switchTo(g)
	return nil
}

// writeOut hands all of a log to the system: a kill must not lose its tail while
// later records survive in the next log. Commits wait, so the log gets no more records.
func (p *Pipeline) writeOut(g *generation.Generation) error {
	if g.Log == nil {
		return nil
	}
	err := g.Log.FlushAll()
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		err = p.logFailed(g, err)
	}
	return err
}

// successor makes the generation that follows old.
func (p *Pipeline) successor(old *generation.Generation, capacity int64) (*generation.Generation, error) {
	seg := p.turning.seg
	p.turning.seg = nil
	p.turning.made.Store(0)
	if seg == nil {
		var err error
		if seg, err = p.MakeLog(); err != nil {
			return nil, err
		}
	}
	return p.newGeneration(capacity, old, seg)
}

// switchTo makes g the active generation at this sequence boundary. One pointer
// store switches all partitions and the log: if they were switched one by one,
// batches and reads would meet both generations. The caller holds mu, and
// no commit is between its reservation and its place in the queue.
func (p *Pipeline) switchTo(g *generation.Generation) {
	old := p.gen
	old.LastSeq = p.nextSeq - 1
	g.After = old.LastSeq
	p.env.Store.Rotate(g)
	p.gen = g
	p.keeping.begin()
	_ = failpoint.Hit(failpoint.LogAfterRotate)
	p.ClearTrouble()
	p.sealLater(old)
	p.env.Kick()
	p.env.Pace.Update()
}
