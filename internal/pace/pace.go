// Package pace slows and stops the writers of keyspaces whose compactions are behind.
// Writers of other keyspaces are let through: no keyspace slows or stops another one.
package pace

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
)

// Options say when a tree is behind, and how to look at it.
type Options struct {
	// Writers are slowed from so many runs in L0 on, and stopped at L0Stop.
	L0Slowdown, L0Stop int
	BaseLevelBytes     int64 // what L0 holds when it is merged down
	// Trees calls fn for each keyspace that has tables, with its runs in L0.
	Trees func(fn func(keyspace uint32, runs int))
	// Done is closed when the database is closing: writers wait no more.
	Done <-chan struct{}
}

// Pace decides how fast writers go. It is safe for concurrent use.
type Pace struct {
	o     Options   // immutable
	began time.Time // immutable

	rate     atomic.Int64             // bytes a second; 0 = unlimited
	due      atomic.Int64             // nanoseconds since began at which the next byte is due
	absorbed atomic.Int64             // bytes a second that flushes and compactions lately moved
	debt     atomic.Pointer[debt]     // nil: none
	pressure atomic.Pointer[Pressure] // nil: no keyspace is slowed or stopped; stored under mu
	waits    atomic.Int64             // of writers that were slowed
	waited   atomic.Int64             // ns

	mu sync.Mutex // makes one step of looking at the trees and deciding
}

// debt is the bytes by which trees, and value files, are past their limits.
type debt struct {
	trees  map[uint32]uint64
	values uint64
}

// firstRate is what flushes and compactions are taken to move before any was seen, in
// bytes a second.
const firstRate = 32 << 20

// New makes a pace at which nothing is slowed.
func New(o Options) *Pace {
	p := &Pace{o: o, began: time.Now()}
	p.absorbed.Store(firstRate)
	return p
}

// grain is the shortest sleep worth its wake-up. Debts below it carry over.
const grain = 500 * time.Microsecond

// nap is the longest sleep before looking again whether it is still due:
// the tree may have caught up, or the database be closing.
const nap = 20 * time.Millisecond

// Wait delays the caller by what a batch costs at the current rate.
func (p *Pace) Wait(ctx context.Context, b *batch.Batch) {
	rate := p.rate.Load()
	if rate == 0 || !p.Pressure().slows(b) {
		return
	}
	begin := int64(time.Since(p.began))
	cost := int64(float64(b.Len()) / float64(rate) * float64(time.Second))
	var due int64
	for {
		next := p.due.Load()
		due = max(next, begin) + cost
		if p.due.CompareAndSwap(next, due) {
			break
		}
	}
	now := begin
	for time.Duration(due-now) > grain && p.rate.Load() != 0 && !p.closing() && ctx.Err() == nil {
		time.Sleep(min(time.Duration(due-now), nap))
		now = int64(time.Since(p.began))
	}
	if now > begin {
		p.waits.Add(1)
		p.waited.Add(now - begin)
	}
}

func (p *Pace) closing() bool {
	select {
	case <-p.o.Done:
		return true
	default:
		return false
	}
}

// Rate returns how many bytes a second the writers that are slowed may bring,
// or 0 if none is.
func (p *Pace) Rate() int64 { return p.rate.Load() }

// Waits returns how many commits were delayed, and for how long in all.
func (p *Pace) Waits() (n int64, d time.Duration) {
	return p.waits.Load(), time.Duration(p.waited.Load())
}

// setRate changes the rate. Debts of another time do not count against a new one.
func (p *Pace) setRate(rate int64) {
	if p.rate.Swap(rate) != 0 && rate == 0 {
		p.due.Store(0)
	}
}

// Moved notes that a job moved n bytes in a time: a moving average of that is the
// scale of what writers may bring.
func (p *Pace) Moved(n int64, d time.Duration) {
	if n < 1<<20 || d <= 0 {
		return
	}
	rate := int64(float64(n) / d.Seconds())
	p.absorbed.Store((3*p.absorbed.Load() + rate) / 4)
}

// SetDebt notes the bytes by which trees, and value files, are past their limits.
func (p *Pace) SetDebt(trees map[uint32]uint64, values uint64) { p.debt.Store(&debt{trees, values}) }

// Pressure returns which keyspaces are behind, or nil if none is.
func (p *Pace) Pressure() *Pressure { return p.pressure.Load() }

// Pressure says which keyspaces are behind. It is immutable.
type Pressure struct {
	slowed  map[uint32]bool
	stopped map[uint32]int // with the runs in L0
}

// slows reports whether a batch writes to a keyspace that is slowed.
func (p *Pressure) slows(b *batch.Batch) bool {
	return p != nil && b.Any(func(id uint32) bool { return p.slowed[id] })
}

// Stops returns why a batch has to wait for a compaction, or "".
func (p *Pressure) Stops(b *batch.Batch) (reason string) {
	if p == nil || len(p.stopped) == 0 {
		return ""
	}
	b.Any(func(id uint32) bool {
		reason = p.StopsKeyspace(id)
		return reason != ""
	})
	return reason
}

// StopsKeyspace returns why writers of a keyspace have to wait for a compaction, or "".
func (p *Pressure) StopsKeyspace(id uint32) string {
	if p == nil || p.stopped[id] == 0 {
		return ""
	}
	return fmt.Sprintf("%d runs in L0 wait for compaction", p.stopped[id])
}

// debtFactor is how many times what L0 holds when it is merged down a tree may
// be behind before writers are slowed; at twice that they crawl.
const debtFactor = 4

// Update sets the rate of writers from the worst of the keyspaces. Each
// counts by its runs in L0, unlimited below L0Slowdown, then falling with the
// square of what is left until L0Stop, and in the same way by the bytes by which
// it is past its limits, which bounds the space it takes under overload. The
// scale is what compaction was lately seen to absorb.
func (p *Pace) Update() {
	p.mu.Lock() // what an older state says must not stay
	defer p.mu.Unlock()
	d := p.debt.Load()
	if d == nil {
		d = &debt{}
	}
	var now Pressure
	worst := 1.0
	p.o.Trees(func(id uint32, runs int) {
		left := p.left(runs, d.trees[id]+d.values)
		if left < 1 {
			if now.slowed == nil {
				now.slowed = map[uint32]bool{}
			}
			now.slowed[id] = true
			worst = min(worst, left)
		}
		if runs >= p.o.L0Stop {
			if now.stopped == nil {
				now.stopped = map[uint32]int{}
			}
			now.stopped[id] = runs
		}
	})
	if now.slowed == nil && now.stopped == nil {
		p.pressure.Store(nil)
		p.setRate(0)
		return
	}
	p.pressure.Store(&now)
	worst = max(worst, 0.05)
	p.setRate(max(1<<16, int64(float64(p.absorbed.Load())*2*worst*worst)))
}

// left returns how much of the way to a standstill is left for a keyspace: 1
// when it is not behind.
func (p *Pace) left(runs int, debt uint64) float64 {
	slow, stop := p.o.L0Slowdown, p.o.L0Stop
	left := 1.0
	if runs >= slow && stop > slow {
		left = float64(stop-runs) / float64(stop-slow)
	}
	if over := float64(debt) / float64(debtFactor*p.o.BaseLevelBytes); over > 1 {
		left = min(left, 2-over)
	}
	return left
}
