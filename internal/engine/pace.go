package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// pacer slows writers smoothly: commits are let through at a byte rate that
// falls as the debt of the tree grows, long before they must be stopped.
type pacer struct {
	rate atomic.Int64 // bytes a second; 0 = unlimited
	next atomic.Int64 // nanoseconds since start at which the next byte is due
	e    *Engine
}

// paceGrain is the shortest sleep worth its wake-up. Debts below it carry over.
const paceGrain = 500 * time.Microsecond

// paceNap is the longest sleep before looking again whether it is still due:
// the tree may have caught up, or the database be closing.
const paceNap = 20 * time.Millisecond

// wait delays the caller by what a batch costs at the current rate.
func (p *pacer) wait(ctx context.Context, b *batch.Batch) {
	rate := p.rate.Load()
	if rate == 0 || !p.e.writePressure.Load().slows(b) {
		return
	}
	n := int64(b.Len())
	begin := int64(time.Since(p.e.opened))
	cost := int64(float64(n) / float64(rate) * float64(time.Second))
	var due int64
	for {
		next := p.next.Load()
		due = max(next, begin) + cost
		if p.next.CompareAndSwap(next, due) {
			break
		}
	}
	now := begin
	for time.Duration(due-now) > paceGrain && p.rate.Load() != 0 && p.e.background.ctx.Err() == nil && ctx.Err() == nil {
		time.Sleep(min(time.Duration(due-now), paceNap))
		now = int64(time.Since(p.e.opened))
	}
	if now > begin {
		p.e.stats.slowdowns.Add(1)
		p.e.stats.slowdownTime.Add(now - begin)
	}
}

// set changes the rate. Debts of another time do not count against a new one.
func (p *pacer) set(rate int64) {
	if p.rate.Swap(rate) != 0 && rate == 0 {
		p.next.Store(0)
	}
}

// compactionDebt are the bytes by which trees, and value files, are past their limits.
type compactionDebt struct {
	trees  map[uint32]uint64
	values uint64
}

// writePressure says which keyspaces are behind. Writers of others are let through:
// no keyspace slows or stops another one.
type writePressure struct {
	slowed  map[uint32]bool
	stopped map[uint32]int // with the runs in L0
}

// slows reports whether a batch writes to a keyspace that is slowed.
func (p *writePressure) slows(b *batch.Batch) bool {
	return p != nil && b.Any(func(id uint32) bool { return p.slowed[id] })
}

// stops returns why a batch has to wait for a compaction, or "".
func (p *writePressure) stops(b *batch.Batch) (reason string) {
	if p == nil || len(p.stopped) == 0 {
		return ""
	}
	b.Any(func(id uint32) bool {
		if n := p.stopped[id]; n > 0 {
			reason = fmt.Sprintf("%d runs in L0 wait for compaction", n)
		}
		return reason != ""
	})
	return reason
}

// debtFactor is how many times what L0 holds when it is merged down a tree may
// be behind before writers are slowed; at twice that they crawl.
const debtFactor = 4

// updatePace sets the rate of writers from the worst of the keyspaces. Each
// counts by its runs in L0, unlimited below L0Slowdown, then falling with the
// square of what is left until L0Stop, and in the same way by the bytes by which
// it is past its limits, which bounds the space it takes under overload. The
// scale is what compaction was lately seen to absorb.
func (e *Engine) updatePace() {
	e.paceMu.Lock() // what an older state says must not stay
	defer e.paceMu.Unlock()
	s := e.store.Current()
	if s == nil {
		return
	}
	d := e.compactionDebt.Load()
	if d == nil {
		d = &compactionDebt{}
	}
	var p writePressure
	worst := 1.0
	look := func(id uint32, ls *readstate.Levels) {
		left := e.paceLeft(len(ls[0]), d.trees[id]+d.values)
		if left < 1 {
			if p.slowed == nil {
				p.slowed = map[uint32]bool{}
			}
			p.slowed[id] = true
			worst = min(worst, left)
		}
		if n := len(ls[0]); n >= e.opts.L0Stop {
			if p.stopped == nil {
				p.stopped = map[uint32]int{}
			}
			p.stopped[id] = n
		}
	}
	s.EachTree(look)
	if p.slowed == nil && p.stopped == nil {
		e.writePressure.Store(nil)
		e.pacer.set(0)
		return
	}
	e.writePressure.Store(&p)
	worst = max(worst, 0.05)
	e.pacer.set(max(1<<16, int64(float64(e.compactionRate.Load())*2*worst*worst)))
}

// paceLeft is how much of the way to a standstill is left for a keyspace: 1
// when it is not behind.
func (e *Engine) paceLeft(runs int, debt uint64) float64 {
	slow, stop := e.opts.L0Slowdown, e.opts.L0Stop
	left := 1.0
	if runs >= slow && stop > slow {
		left = float64(stop-runs) / float64(stop-slow)
	}
	if over := float64(debt) / float64(debtFactor*e.opts.BaseLevelBytes); over > 1 {
		left = min(left, 2-over)
	}
	return left
}

// seqCell is a sequence that only grows.
type seqCell struct{ v atomic.Uint64 }

func (c *seqCell) load() base.SeqNum { return base.SeqNum(c.v.Load()) }

func (c *seqCell) raise(s base.SeqNum) {
	for {
		old := c.v.Load()
		if uint64(s) <= old || c.v.CompareAndSwap(old, uint64(s)) {
			return
		}
	}
}
