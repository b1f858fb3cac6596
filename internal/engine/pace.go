package engine

import (
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
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

// wait delays the caller by what n bytes cost at the current rate.
func (p *pacer) wait(n int64) {
	rate := p.rate.Load()
	if rate == 0 {
		return
	}
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
	for time.Duration(due-now) > paceGrain && p.rate.Load() != 0 && p.e.background.ctx.Err() == nil {
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

// debtFactor is how many times what L0 holds when it is merged down the tree
// may be behind before writers are slowed; at twice that they crawl.
const debtFactor = 4

// updatePace sets the rate from the runs in L0, unlimited below L0Slowdown,
// then falling with the square of what is left until L0Stop, and in the same
// way from the bytes by which the tree is past its limits, which bounds the
// space it takes under overload. The scale is what compaction was lately seen
// to absorb.
func (e *Engine) updatePace() {
	s := e.state.Load()
	if s == nil {
		return
	}
	runs, slow, stop := len(s.v.root[0]), e.opts.L0Slowdown, e.opts.L0Stop
	left := 1.0
	if runs >= slow && stop > slow {
		left = float64(stop-runs) / float64(stop-slow)
	}
	if debt := float64(e.debt.Load()) / float64(debtFactor*e.opts.BaseLevelBytes); debt > 1 {
		left = min(left, 2-debt)
	}
	if left >= 1 {
		e.pacer.set(0)
		return
	}
	left = max(left, 0.05)
	e.pacer.set(max(1<<16, int64(float64(e.absorb.Load())*2*left*left)))
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
