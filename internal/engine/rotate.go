package engine

import (
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// makeRoom replaces the active generation by one that can hold need bytes,
// after waiting for the flush when too many are queued. It is called, and
// returns, with commit.mu held; the caller looks again at everything. A wait
// ends with room or with an error, never with time.
func (e *Engine) makeRoom(need int) error {
	// Without a state the engine is closing: refused is set, the caller sees it.
	if s := e.state.Load(); s != nil && len(s.imm) >= maxImmutable {
		return e.waitFor(stopMemtables, fmt.Sprintf("%d full memtables wait for their flush", len(s.imm)))
	}
	return e.rotate(need)
}

// stop is what writers wait for.
type stop uint8

const (
	stopMemtables stop = iota // a flush
	stopL0                    // a compaction of L0
)

// waitFor waits for what stops writers, or says why it will not come. The
// caller holds commit.mu.
func (e *Engine) waitFor(s stop, reason string) error {
	if err := e.background.blocking(s); err != nil {
		return err
	}
	if err := e.callers.refuse("a commit while writers are stopped, since "+reason, callingJob); err != nil {
		return err
	}
	e.waitForRoom(reason)
	return nil
}

// waitForRoom parks a writer until something changed. The caller holds
// commit.mu.
func (e *Engine) waitForRoom(reason string) {
	p := &e.commit
	begin := time.Now()
	if p.waiting == 0 {
		e.stats.stopped.Store(&reason)
		e.listener.stallBegin(reason)
		e.opts.Logger.Warn("seerdb: writers are stopped", "reason", reason)
	}
	p.waiting++
	e.background.kick()
	p.changed.Wait()
	p.waiting--
	d := time.Since(begin)
	e.stats.stops.Add(1)
	e.stats.stopTime.Add(int64(d))
	if p.waiting == 0 {
		e.stats.stopped.Store(nil)
		e.listener.stallEnd(reason, d)
	}
}

// rotate makes a new generation the active one at this sequence boundary: one
// pointer store switches every partition, and the log with them (the
// original's S1 to S5). The caller holds commit.mu, so no commit is between
// its reservation and its place in the queue.
func (e *Engine) rotate(need int) error {
	return e.rotateTo(max(e.memtableSize(), need))
}

// rotateTo is rotate to a memtable of so many bytes.
func (e *Engine) rotateTo(capacity int) error {
	old := e.commit.gen
	if old.log != nil {
		// A kill must not lose this log's tail while later records survive
		// in the next one.
		if err := old.log.FlushAll(); err != nil {
			return e.logFailed(old, err)
		}
	}
	g, err := e.newGeneration(capacity, old)
	if err != nil {
		return err
	}
	old.lastSeq = e.commit.nextSeq - 1
	e.mu.Lock()
	cur := e.state.Load()
	imm := make([]*generation, 0, len(cur.imm)+1)
	imm = append(append(imm, old), cur.imm...)
	retire := e.setState(&state{mem: g, imm: imm, v: cur.v})
	e.commit.gen = g
	e.mu.Unlock()
	retire()
	if err := failpoint.Hit(failpoint.LogAfterRotate); err != nil {
		return err
	}
	e.background.sealLater(old)
	e.background.kick()
	e.updatePace()
	return nil
}

// newGeneration makes a generation whose first commit comes next. The caller
// holds commit.mu, or is alone.
func (e *Engine) newGeneration(capacity int, prev *generation) (*generation, error) {
	g := &generation{capacity: int64(capacity), hintFrom: e.commit.nextSeq - 1}
	e.mu.Lock()
	if e.loading != nil {
		g.hintFrom++ // the load gets that sequence, and its tables come to lie below
	}
	e.mu.Unlock()
	mem, err := memtable.New(memtable.Options{Capacity: capacity, Partitions: e.opts.Partitions})
	if err != nil {
		return nil, fmt.Errorf("%w; lower MemtableSize or MemoryBudget", err)
	}
	g.mem = mem
	g.logNum = e.newFileNum()
	if err := e.createLog(g, prev); err != nil {
		mem.Free()
		return nil, err
	}
	if prev != nil && prev.log != nil {
		g.prev.Store(prev)
	}
	e.chargeMemtables(g.capacity)
	return g, nil
}

// createLog makes the segment of a generation and its directory entry durable.
// Without a log the file is made all the same, and stays empty: recovery wants
// the log that the manifest calls the oldest one needed, and can so tell that
// one was lost from that there was none.
func (e *Engine) createLog(g, prev *generation) error {
	o := wal.Options{BufferMax: logBufferMax}
	if e.opts.Durability == Relaxed {
		o.FlushEvery = relaxedFlushEvery
	}
	var link wal.Prev
	if prev != nil && prev.log != nil {
		link = wal.Prev{Num: prev.logNum, Size: prev.log.Size()} // all of it was handed to the system by rotate
	}
	id := base.Identity{DB: e.dbID, Type: base.FileTypeLog, Num: g.logNum, Incarnation: e.incarnation}
	w, err := wal.Create(e.fs, e.dir, id, link, o)
	if err != nil {
		return e.fileError("create the write-ahead log "+id.Name(), err)
	}
	e.noteMade(id)
	if err := e.dirHandle.Sync(); err != nil {
		err = fmt.Errorf("sync of the directory after creating %s: %w", id.Name(), err)
		_ = w.Close(false)
		e.poisonLocked(err)
		return fmt.Errorf("%w: %w", base.ErrReadOnly, err)
	}
	if e.opts.Durability == NoWAL {
		return w.Close(false)
	}
	g.log = w
	return nil
}
