// Package retry runs conflicting transactions again. Transactions that conflict
// over the same key take turns: otherwise, over a hot key, all but one would
// lose each round. The package knows that a try had a conflict, and not what a
// transaction is.
package retry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	// maxTries is how many tries Do makes. Every try that fails lost to a
	// commit, so no sensible program reaches it: it stops a function that
	// conflicts with itself.
	maxTries = 10_000
	// soonTries is how many tries Do makes before it pauses between them.
	soonTries = 16
	// patience is how long Do waits for its turn. A lane only keeps order, and
	// a function that waits for another call of Do may hold one, so the wait
	// must end.
	patience = 2 * time.Second
)

// Lanes order the tries of one database. Each is a lock that the runtime grants
// in the order of waiting.
type Lanes [64]chan struct{}

// NewLanes returns free lanes.
func NewLanes() *Lanes {
	l := new(Lanes)
	for i := range l {
		l[i] = make(chan struct{}, 1)
	}
	return l
}

// Do calls try until it returns anything but base.ErrConflict. With ErrConflict, try
// returns a number for what it lost over. Do gives up with the error of ctx when ctx ends,
// and with the conflict after 10,000 tries.
func (l *Lanes) Do(ctx context.Context, try func() (over uint64, err error)) error {
	var p turn
	defer p.leave() // try may panic
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		over, err := try()
		if !errors.Is(err, base.ErrConflict) || n == maxTries {
			return err
		}
		if err := p.enter(ctx, l, over); err != nil {
			return err
		}
		if n > soonTries {
			if err := sleep(ctx, rand.N(time.Millisecond)); err != nil {
				return err
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// turn is the lane that a call of Do holds.
type turn struct {
	lane chan struct{} // nil if it holds none
}

// enter waits for the turn to try again over something. A caller that has the
// turn keeps it.
func (p *turn) enter(ctx context.Context, l *Lanes, over uint64) error {
	lane := l[over%uint64(len(l))]
	if lane == p.lane {
		return nil
	}
	p.leave()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case lane <- struct{}{}:
		p.lane = lane
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// leave gives up the turn.
func (p *turn) leave() {
	if p.lane != nil {
		<-p.lane
		p.lane = nil
	}
}
