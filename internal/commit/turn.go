package commit

import (
	"context"
	"slices"

	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/memtable"
)

// How the active generation is replaced. That needs the disk: the old log is
// written out, the new one is made, and its name synced. One goroutine, the
// turner, does all of it, and holds no lock while it does, so that the commit
// lock never waits for a disk. While it works on a replacement commits wait, as
// they must, for the old log must end somewhere; all else goes on. The next log
// is made ahead, when the memtable is half full, so that commits seldom wait for
// the sync of a directory.

// turn replaces the active generation, if it is still g, by one that can hold
// need bytes, and waits for it. The error is that of an attempt that began after
// the call, of the context, or why commits are refused. The caller holds
// mu, which is released during the wait, and sees to it that changed is
// signalled when the context ends.
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

// wantTurn asks for the active generation to be replaced. The caller holds
// mu.
func (p *Pipeline) wantTurn(need int64) {
	t := &p.turning
	if t.wanted != p.gen {
		t.wanted, t.need = p.gen, 0
	}
	t.need = max(t.need, need)
	t.wake()
}

// lookAhead asks for the next log once the active memtable is half full. The
// caller holds mu.
func (p *Pipeline) lookAhead() {
	g := p.gen
	if g.Mem.Bytes() > g.Charge/2 {
		p.turning.halfFull, p.turning.ahead = g, true
		p.turning.wake()
	}
}

// turner is the goroutine.
func (p *Pipeline) turner() {
	t := &p.turning
	defer func() {
		if t.seg != nil {
			t.seg.Discard() // nothing was ever written to it
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
			// A failure costs nothing but that: the turn makes the log itself.
			if seg, err := p.MakeLog(); err == nil {
				t.seg = seg
				t.made.Store(1)
			}
		}
	}
}

// turnOnce makes one attempt, if one is wanted.
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

// roomFor returns the capacity of the next memtable, of that size at least, for a
// batch that needs so many bytes, for the large ones that wait, and for the commits
// that come before they do. All go on at once when there is a new memtable. One made
// for the first caller that asked, or that the others had filled when its batch
// comes, would not be the last.
func (p *Pipeline) roomFor(need, size int64) int64 {
	for _, n := range p.turning.large {
		need = max(need, n)
	}
	return min(max(size, need+size/2), memtable.MaxCapacity)
}

// noteLarge notes a batch that waits for a memtable, if it is large for one, until
// forget is called. The caller of both holds mu.
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

// turnNow replaces the active generation when there are neither commits nor a
// turner any more. No record will follow, so the old log need not be whole.
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
// later records survive in the next one. Commits wait, so it gets no more records.
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

// successor makes the generation that will follow old.
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

// switchTo makes g the active generation at this sequence boundary: one pointer
// store switches every partition, and the log with them: were they switched one
// by one, batches and reads would meet both sides. The caller holds mu, and
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
