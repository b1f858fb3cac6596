package engine

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// How the active generation is replaced. That needs the disk: the old log is
// written out, the new one is made, and its name synced. One goroutine, the
// turner, does all of it, and holds no lock while it does, so that the commit
// lock never waits for a disk. While it works on a replacement commits wait, as
// they must, for the old log must end somewhere; all else goes on. The next log
// is made ahead, when the memtable is half full, so that commits seldom wait for
// the sync of a directory.

// turning is the state of the turner.
type turning struct {
	kick chan struct{} // of one place; wakes the turner. Immutable
	seg  *wal.Segment  // made ahead, or nil; owned by the turner
	made atomic.Int64  // 1 while there is one, for Metrics

	// Guarded by commit.mu.

	wanted   *generation.Generation // to be replaced, or nil
	need     int64                  // what its successor must hold
	halfFull *generation.Generation // for which the next log was asked
	large    []int64                // what each batch needs that waits and is large for a memtable
	ahead    bool                   // the next log is to be made ahead
	running  bool                   // a replacement is being made: commits wait
	begun    uint64                 // attempts that began
	failedAt uint64                 // the last attempt that failed, from 1
	failure  error                  // of that attempt
}

// turn replaces the active generation, if it is still g, by one that can hold
// need bytes, and waits for it. The error is that of an attempt that began after
// the call, of the context, or why commits are refused. The caller holds
// commit.mu, which is released during the wait, and sees to it that commit.changed is
// signalled when the context ends.
func (e *Engine) turn(ctx context.Context, g *generation.Generation, need int64) error {
	p := &e.commit
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
		e.wantTurn(need)
		p.changed.Wait()
	}
	return nil
}

// wantTurn asks for the active generation to be replaced. The caller holds
// commit.mu.
func (e *Engine) wantTurn(need int64) {
	t := &e.commit.turning
	if t.wanted != e.commit.gen {
		t.wanted, t.need = e.commit.gen, 0
	}
	t.need = max(t.need, need)
	t.wake()
}

// lookAhead asks for the next log once the active memtable is half full. The
// caller holds commit.mu.
func (e *Engine) lookAhead() {
	g := e.commit.gen
	if g.Mem.Bytes() > g.Charge/2 {
		e.commit.turning.halfFull, e.commit.turning.ahead = g, true
		e.commit.turning.wake()
	}
}

func (t *turning) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// turner is the goroutine.
func (b *background) turner() {
	e := b.e
	t := &e.commit.turning
	defer func() {
		if t.seg != nil {
			t.seg.Discard() // nothing was ever written to it
			t.seg = nil
			t.made.Store(0)
		}
	}()
	for {
		select {
		case <-b.e.work.Done():
			return
		case <-t.kick:
		}
		e.turnOnce()
		e.commit.mu.Lock()
		ahead := t.ahead
		t.ahead = false
		e.commit.mu.Unlock()
		if ahead && t.seg == nil {
			// A failure costs nothing but that: the turn makes the log itself.
			if seg, err := e.makeLog(); err == nil {
				t.seg = seg
				t.made.Store(1)
			}
		}
	}
}

// turnOnce makes one attempt, if one is wanted.
func (e *Engine) turnOnce() {
	p := &e.commit
	t := &p.turning
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.gen
	if t.wanted != old || p.refused != nil {
		return
	}
	size, queue := e.nextMemtables()
	capacity := e.roomFor(t.need, int64(size))
	p.maxQueue.Store(int32(queue))
	t.wanted, t.need, t.running = nil, 0, true
	t.begun++
	p.mu.Unlock()
	err := e.writeOut(old)
	var g *generation.Generation
	if err == nil {
		g, err = e.successor(old, capacity)
	}
	p.mu.Lock()
	t.running = false
	if err != nil {
		t.failedAt, t.failure = t.begun, err
	} else {
		e.switchTo(g)
	}
	p.changed.Broadcast()
}

// roomFor returns the capacity of the next memtable, of that size at least, for a
// batch that needs so many bytes, for the large ones that wait, and for the commits
// that come before they do. All go on at once when there is a new memtable. One made
// for the first caller that asked, or that the others had filled when its batch
// comes, would not be the last.
func (e *Engine) roomFor(need, size int64) int64 {
	for _, n := range e.commit.turning.large {
		need = max(need, n)
	}
	return min(max(size, need+size/2), memtable.MaxCapacity)
}

// noteLarge notes a batch that waits for a memtable, if it is large for one, until
// forget is called. The caller of both holds commit.mu.
func (e *Engine) noteLarge(need int64) (forget func()) {
	if size, _ := e.nextMemtables(); need <= int64(size)/2 {
		return func() {}
	}
	t := &e.commit.turning
	t.large = append(t.large, need)
	return func() {
		i := slices.Index(t.large, need)
		t.large = slices.Delete(t.large, i, i+1)
	}
}

// turnNow replaces the active generation when there are neither commits nor a
// turner any more. No record will follow, so the old log need not be whole.
func (e *Engine) turnNow(capacity int64) error {
	g, err := e.successor(e.commit.gen, capacity)
	if err != nil {
		return err
	}
	e.commit.mu.Lock()
	defer e.commit.mu.Unlock()
	e.switchTo(g)
	return nil
}

// writeOut hands all of a log to the system: a kill must not lose its tail while
// later records survive in the next one. Commits wait, so it gets no more records.
func (e *Engine) writeOut(g *generation.Generation) error {
	if g.Log == nil {
		return nil
	}
	err := g.Log.FlushAll()
	if err != nil {
		e.commit.mu.Lock()
		defer e.commit.mu.Unlock()
		err = e.logFailed(g, err)
	}
	return err
}

// successor makes the generation that will follow old.
func (e *Engine) successor(old *generation.Generation, capacity int64) (*generation.Generation, error) {
	seg := e.commit.turning.seg
	e.commit.turning.seg = nil
	e.commit.turning.made.Store(0)
	if seg == nil {
		var err error
		if seg, err = e.makeLog(); err != nil {
			return nil, err
		}
	}
	return e.newGeneration(capacity, old, seg)
}

// newGeneration makes a generation with the log seg, which is discarded if that
// fails.
func (e *Engine) newGeneration(capacity int64, prev *generation.Generation, seg *wal.Segment) (*generation.Generation, error) {
	g := &generation.Generation{Charge: capacity, Num: seg.Num()}
	mem, err := memtable.New(memtable.Options{Capacity: capacity, Partitions: e.opts.Partitions})
	if err != nil {
		seg.Discard()
		return nil, fmt.Errorf("%w; lower MemtableSize or MemoryBudget", err)
	}
	g.Mem = mem
	if err := e.beginLog(g, prev, seg); err != nil {
		mem.Free()
		return nil, err
	}
	if prev != nil && prev.Log != nil {
		g.Follow(prev)
	}
	e.store.ChargeMemtables(g.Charge)
	return g, nil
}

// makeLog makes the file of a segment and its name durable. A directory that does
// not sync poisons. The caller does not hold commit.mu.
func (e *Engine) makeLog() (*wal.Segment, error) {
	id := e.versions.NewIdentity(base.FileTypeLog)
	if e.store.Current() != nil && !e.versions.Reserved(id.Num) {
		// Recovery takes no log for ours whose number the manifest did not
		// reserve. (While Open goes on, the edit that names the log reserves.)
		if err := e.versions.Reserve(); err != nil {
			return nil, err
		}
	}
	seg, err := wal.NewSegment(e.room.Over(e.fs), vfs.Top, id)
	if err != nil {
		return nil, vfs.Cannot("create the write-ahead log "+id.Name(), err)
	}
	e.versions.Made(id)
	if err := e.dirHandle.Sync(); err != nil {
		seg.Discard()
		e.poison(fmt.Errorf("sync of the directory after creating %s: %w", id.Name(), err))
		return nil, e.latch.Refusal()
	}
	return seg, nil
}

// beginLog gives a generation its log. Without logs the file is there all the
// same, and stays empty: recovery wants the log that the manifest calls the
// oldest one needed, and can so tell that one was lost from that there was none.
func (e *Engine) beginLog(g, prev *generation.Generation, seg *wal.Segment) error {
	if e.opts.Durability == NoWAL {
		return seg.Close()
	}
	o := wal.Options{BufferMax: logBufferMax}
	if e.opts.Durability == Relaxed {
		o.FlushEvery, o.OnFull = relaxedFlushEvery, e.room.Lend
	}
	var link wal.Prev
	if prev != nil && prev.Log != nil {
		link = wal.Prev{Num: prev.Num, Size: prev.Log.Size()} // all of it was handed to the system
	}
	w, err := seg.Begin(link, o)
	if err != nil {
		return vfs.Cannot("begin the write-ahead log "+base.FileName(base.FileTypeLog, g.Num), err)
	}
	g.Log = w
	return nil
}

// switchTo makes g the active generation at this sequence boundary: one pointer
// store switches every partition, and the log with them: were they switched one
// by one, batches and reads would meet both sides. The caller holds commit.mu, and
// no commit is between its reservation and its place in the queue.
func (e *Engine) switchTo(g *generation.Generation) {
	old := e.commit.gen
	old.LastSeq = e.commit.nextSeq - 1
	g.After = old.LastSeq
	e.store.Rotate(g)
	e.commit.gen = g
	e.commit.keeping.begin()
	_ = failpoint.Hit(failpoint.LogAfterRotate)
	e.clearTrouble()
	e.background.sealLater(old)
	e.background.kick()
	e.pace.Update()
}

// makeRoom replaces the active generation by one that can hold need bytes,
// after waiting for the flush when too many are queued. It is called, and
// returns, with commit.mu held, which it lets go; the caller looks again at
// everything. A wait ends with room or with an error, never with time.
func (e *Engine) makeRoom(ctx context.Context, need int64) error {
	// Without a state the engine is closing: refused is set, the caller sees it.
	if s := e.store.Current(); s != nil && e.queueFull(s) {
		return e.waitFor(stopMemtables, fmt.Sprintf("%d full memtables wait for their flush", len(s.Imm)))
	}
	return e.turn(ctx, e.commit.gen, need)
}

// shareActive makes the half of a memtable that the keyspaces share, if g is active: it is
// missing while all of them are idle. It does nothing if a commit is in the way.
func (e *Engine) shareActive(g *generation.Generation) bool {
	p := &e.commit
	if !p.mu.TryLock() {
		return false
	}
	defer p.mu.Unlock()
	return p.gen == g && g.Mem.Share() == nil
}
