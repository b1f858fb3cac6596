package engine

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/txn"
)

// The keeper is the goroutine that keeps the reserve as large as it should be.
// It looks whenever the memtable has grown by some, and commits that would take
// more than was reserved for wait for it.

// keeping is when the keeper is due. All is guarded by commit.mu.
type keeping struct {
	// Bytes of the active memtable: at topUp the keeper is woken, past limit
	// commits wait for it.
	topUp, limit int64
	need         int64 // of the largest commit that waits
}

// roomWanted is how large the reserve should be, with room for the memtable to
// grow by more bytes before it is looked at again. It is never less than need.
func (e *Engine) roomWanted(need int64) (want, more int64) {
	s, shard := e.store.Acquire()
	if s == nil {
		return 0, reserve.From
	}
	defer s.Release(shard)
	var logs, unwritten, mem, data int64
	for _, g := range s.Generations() {
		mem += g.Mem.Bytes()
		if g.Log != nil {
			n := g.Log.Appended()
			logs += n
			unwritten += max(0, n-g.Log.Size())
		}
	}
	for level := range base.NumLevels {
		data += int64(s.Version().LevelSize(level))
	}
	data += s.ValueBytes()
	// A table of small entries can be larger than their log, and is never larger
	// than what they were counted with in the memtable.
	flush := mem
	if e.opts.Durability != NoWAL {
		flush = min(mem, 2*logs)
	}
	more = max(reserve.Min, flush/4, need+need/4)
	if flush+data < reserve.From && need < reserve.From {
		return 0, reserve.From
	}
	want = flush + more + min(max(data/reserve.Share, reserve.Min), reserve.Max)
	if e.opts.Durability == Relaxed {
		want += unwritten + more // acknowledged before the log has room for it
	}
	return want, more
}

// keeper is the goroutine.
func (b *background) keeper() {
	e := b.e
	delay := retryMin
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		select {
		case <-b.e.work.Done():
			return
		case <-e.room.Due():
		case <-again.C:
		}
		if e.keepRoom(delay == retryMin) {
			delay = retryMin
			continue
		}
		again.Reset(delay)
		delay = min(2*delay, time.Second)
	}
}

// keepRoom looks once, and reports whether all is well; else the keeper looks again
// soon. first is whether the last look found all well. Without room what is in the
// log goes to tables, and its log goes.
func (e *Engine) keepRoom(first bool) bool {
	p := &e.commit
	p.mu.Lock()
	g, need, taken := p.gen, p.keeping.need, p.gen.Mem.Bytes()
	p.keeping.need = 0
	p.mu.Unlock()
	want, more := e.roomWanted(need)
	was := e.room.Lacking() != nil
	again, err := e.room.Keep(want, 2*want+2*int64(e.opts.MemtableSize))
	if err == nil && was {
		e.clearTrouble()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gen == g {
		p.keeping.topUp, p.keeping.limit = taken+more/2, taken+more
	}
	if s := e.store.Current(); err != nil && (first || p.gen.Mem.Bytes() > reserve.Min) && !p.gen.Mem.Empty() && s != nil && !e.queueFull(s) {
		e.wantTurn(0)
	}
	p.changed.Broadcast()
	return !again
}

// begin begins to count for a new active memtable. The caller holds commit.mu,
// or is alone.
func (k *keeping) begin() { k.topUp, k.limit, k.need = reserve.Min/2, reserve.Min, 0 }

// keptRoom reports whether the reserve allows for need bytes more in the active
// memtable, and wakes the keeper if it is due. The caller holds commit.mu.
func (e *Engine) keptRoom(need int64, b *batch.Batch) bool {
	k := &e.commit.keeping
	taken := e.commit.gen.Mem.Bytes() + need
	switch {
	case taken > k.limit && !reserve.Frees(b):
		k.need = max(k.need, need)
		e.room.Wake()
		return false
	case taken > k.topUp:
		k.topUp = math.MaxInt64 // until the keeper has looked
		e.room.Wake()
	}
	return true
}

const (
	// deletesWait is for how long a delete tries to get what is left of the
	// reserve while a flush or a merge has it, and deletesPause how often.
	deletesWait  = 2 * time.Second
	deletesPause = 5 * time.Millisecond
)

// commitFreeing is commitOnce for a batch which met a full disk with err. If it
// frees space it may take the reserve.
func (e *Engine) commitFreeing(ctx context.Context, b *batch.Batch, d Durability, x *txn.Txn, err error) (seq base.SeqNum, _ error) {
	if !reserve.Frees(b) {
		return 0, err
	}
	defer e.room.Use()()
	for end := time.Now().Add(deletesWait); errors.Is(err, base.ErrNoSpace); {
		if !e.room.GiveUp(err) {
			if e.room.Lacking() == nil || time.Now().After(end) || ctx.Err() != nil {
				break
			}
			e.work.Rest(deletesPause)
		}
		if x != nil {
			break // its place is lost; another attempt finds room
		}
		seq, err = e.commitOnce(ctx, b, d, x)
	}
	return seq, err
}
