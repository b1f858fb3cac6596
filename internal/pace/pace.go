// Package pace slows and stops the writers of keyspaces whose compactions are
// behind. No keyspace slows or stops the writers of another.
package pace

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
)

// Options say when a tree is behind, and give access to the trees.
type Options struct {
	// L0Slowdown is the number of runs in L0 from which writers are slowed; at
	// L0Stop they are stopped.
	L0Slowdown, L0Stop int
	BaseLevelBytes     int64 // size of L0 when it is merged down
	// Trees calls fn for each keyspace with tables, with the number of its runs
	// in L0.
	Trees func(fn func(keyspace uint32, runs int))
	// Done is closed when the database closes: writers then stop waiting.
	Done <-chan struct{}
}

// Pace sets the speed of writers. It is safe for concurrent use.
type Pace struct {
	o     Options   // immutable
	began time.Time // immutable

	rate     atomic.Int64             // bytes a second; 0 = unlimited
	due      atomic.Int64             // nanoseconds since began at which the next byte is due
	absorbed atomic.Int64             // bytes a second that flushes and compactions recently moved
	debt     atomic.Pointer[debt]     // nil: none
	pressure atomic.Pointer[Pressure] // nil: no keyspace is slowed or stopped; stored under mu
	waits    atomic.Int64             // slowed commits
	waited   atomic.Int64             // their delays in ns

	mu sync.Mutex // held while a new pressure is computed and stored
}

// debt is the number of bytes by which trees and value files exceed their
// limits.
type debt struct {
	trees  map[uint32]uint64
	values uint64
}

// firstRate is the assumed speed of flushes and compactions, in bytes a second,
// before any was measured.
const firstRate = 32 << 20

// New returns a pace that slows no writer.
func New(o Options) *Pace {
	p := &Pace{o: o, began: time.Now()}
	p.absorbed.Store(firstRate)
	return p
}

// grain is the shortest sleep worth its wake-up. Shorter delays carry over.
const grain = 500 * time.Microsecond

// nap is the longest sleep before a writer checks whether it must still wait:
// the tree may have caught up, or the database may be closing.
const nap = 20 * time.Millisecond

// Wait delays the caller by the cost of a batch at the current rate.
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

// Rate returns how many bytes a second the slowed writers may write, or 0 if
// none is slowed.
func (p *Pace) Rate() int64 { return p.rate.Load() }

// Waits returns the number of delayed commits and the sum of their delays.
func (p *Pace) Waits() (n int64, d time.Duration) {
	return p.waits.Load(), time.Duration(p.waited.Load())
}

// setRate changes the rate. Delays due at an earlier rate do not carry over.
func (p *Pace) setRate(rate int64) {
	if p.rate.Swap(rate) != 0 && rate == 0 {
		p.due.Store(0)
	}
}

// Moved records that a job moved n bytes in time d. The moving average of these
// is the scale of the writers' rate.
func (p *Pace) Moved(n int64, d time.Duration) {
	if n < 1<<20 || d <= 0 {
		return
	}
	rate := int64(float64(n) / d.Seconds())
	p.absorbed.Store((3*p.absorbed.Load() + rate) / 4)
}

// SetDebt records by how many bytes trees and value files exceed their limits.
func (p *Pace) SetDebt(trees map[uint32]uint64, values uint64) { p.debt.Store(&debt{trees, values}) }

// Pressure returns the keyspaces that are behind, or nil if none is.
func (p *Pace) Pressure() *Pressure { return p.pressure.Load() }

// Pressure is the set of keyspaces that are behind. It is immutable.
type Pressure struct {
	slowed  map[uint32]bool
	stopped map[uint32]int // with their runs in L0
}

// slows reports whether a batch writes to a slowed keyspace.
func (p *Pressure) slows(b *batch.Batch) bool {
	return p != nil && b.Any(func(id uint32) bool { return p.slowed[id] })
}

// Stops returns why a batch must wait for a compaction, or "".
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

// StopsKeyspace returns why writers of a keyspace must wait for a compaction,
// or "".
func (p *Pressure) StopsKeyspace(id uint32) string {
	if p == nil || p.stopped[id] == 0 {
		return ""
	}
	return fmt.Sprintf("%d runs in L0 wait for compaction", p.stopped[id])
}

// debtFactor is how many times BaseLevelBytes a tree may be behind before
// writers are slowed; at twice that they crawl.
const debtFactor = 4

// Update sets the rate of writers by the keyspace that is furthest behind. A
// keyspace is unlimited below L0Slowdown runs in L0; beyond, its rate falls
// with the square of the distance to L0Stop. The bytes by which it exceeds its
// limits count in the same way, which bounds its space under overload. The
// scale is the recent speed of compactions.
func (p *Pace) Update() {
	p.mu.Lock() // so that a decision from an older state does not overwrite a newer one
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

// left returns how far a keyspace is from a standstill: 1 if it is not behind,
// 0 if it is stopped.
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
