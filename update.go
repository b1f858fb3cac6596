package seerdb

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
)

const (
	// updateTries is how often Update runs a transaction before it gives up. Every
	// try that fails lost to a commit, so no contention of a sensible program comes
	// near it: it ends a function that conflicts with itself.
	updateTries = 10_000
	// soonTries is after how many of them Update begins to pause.
	soonTries = 16
)

// Update runs fn in a serializable transaction and commits it. After a conflict
// it does so again, in a new transaction, which sees what the one before lost to;
// so fn may run several times and should have no other effects. Those that lose
// over the same key try again one after the other, in the order in which they
// lost. Update gives up with the error of ctx when that ends, and with ErrConflict
// after 10,000 tries. An error of fn rolls back and is returned as it is, unless
// it is ErrConflict. fn must not end the transaction itself.
func (db *DB) Update(ctx context.Context, fn func(*Txn) error) error {
	return db.UpdateWith(ctx, nil, fn)
}

// UpdateWith is Update with options for the transactions.
func (db *DB) UpdateWith(ctx context.Context, o *TxnOptions, fn func(*Txn) error) error {
	if o == nil {
		o = &TxnOptions{}
	}
	site := engine.Caller(0, 2)
	var place lanePlace
	defer place.leave() // fn may panic
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		over, err := db.once(ctx, o, site, fn)
		if !errors.Is(err, ErrConflict) || try == updateTries {
			return err
		}
		if err := place.enter(ctx, db.lanes, over); err != nil {
			return err
		}
		if try > soonTries {
			if err := sleep(ctx, rand.N(time.Millisecond)); err != nil {
				return err
			}
		}
	}
}

// once runs fn in one transaction. After a conflict it also returns a number for
// what the conflict was over.
func (db *DB) once(ctx context.Context, o *TxnOptions, site engine.CallSite, fn func(*Txn) error) (over uint64, err error) {
	t, err := db.begin(o, site)
	if err != nil {
		return 0, err
	}
	defer t.Rollback() // fn may panic
	if err := fn(t); err != nil {
		return 0, err
	}
	err = t.CommitContext(ctx)
	return t.t.Over(), err
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

// lanes are where updates that had conflicts try again one at a time: over a hot
// key all but one would lose anyway. Each is a lock, of which the runtime serves
// those that wait in the order in which they came.
type lanes [64]chan struct{}

func newLanes() *lanes {
	l := new(lanes)
	for i := range l {
		l[i] = make(chan struct{}, 1)
	}
	return l
}

// lanePatience is for how long an update waits for its turn. A lane keeps order
// and is not needed for anything else, and a function that waits for another
// update may hold it, so the wait has an end.
const lanePatience = 2 * time.Second

// lanePlace is what an update holds of a lane.
type lanePlace struct {
	lane chan struct{} // nil: none
}

// enter waits for the turn to try again over something. A caller that has the
// turn keeps it.
func (p *lanePlace) enter(ctx context.Context, l *lanes, over uint64) error {
	lane := l[over%uint64(len(l))]
	if lane == p.lane {
		return nil
	}
	p.leave()
	timer := time.NewTimer(lanePatience)
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
func (p *lanePlace) leave() {
	if p.lane != nil {
		<-p.lane
		p.lane = nil
	}
}
