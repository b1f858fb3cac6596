// Package retry runs transactions again that lost to others. Those that lose over the
// same thing try again one after the other: over a hot key all but one would lose
// anyway. It knows that a try had a conflict, and not what a transaction is.
package retry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	// maxTries is after how many tries Do gives up. Every try that fails lost to a
	// commit, so no contention of a sensible program comes near it: it ends a
	// function that conflicts with itself.
	maxTries = 10_000
	// soonTries is after how many of them Do begins to pause.
	soonTries = 16
	// patience is for how long Do waits for its turn. A lane keeps order and is not
	// needed for anything else, and a function that waits for another call of Do may
	// hold it, so the wait has an end.
	patience = 2 * time.Second
)

// Lanes order the tries of one database. Each is a lock, of which the runtime serves
// those that wait in the order in which they came.
type Lanes [64]chan struct{}

// NewLanes returns lanes that are free.
func NewLanes() *Lanes {
	l := new(Lanes)
	for i := range l {
		l[i] = make(chan struct{}, 1)
	}
	return l
}

// Do calls try until that returns anything but base.ErrConflict, which comes with a
// number for what the conflict was over. It gives up with the error of ctx when that
// ends, and with the conflict after 10,000 tries.
func (l *Lanes) Do(ctx context.Context, try func() (over uint64, err error)) error {
	var p place
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

// place is what a call of Do holds of a lane.
type place struct {
	lane chan struct{} // nil: none
}

// enter waits for the turn to try again over something. A caller that has the
// turn keeps it.
func (p *place) enter(ctx context.Context, l *Lanes, over uint64) error {
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

// leave lets the next one try.
func (p *place) leave() {
	if p.lane != nil {
		<-p.lane
		p.lane = nil
	}
}
