package retry

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

// inTurn returns a try that loses over each of a few things, and then calls f, which is
// in its turn over the last of them.
func inTurn(f func(), over ...uint64) func() (uint64, error) {
	return func() (uint64, error) {
		if len(over) == 0 {
			f()
			return 0, nil
		}
		o := over[0]
		over = over[1:]
		return o, base.ErrConflict
	}
}

// bubble runs a test with a fake clock, on which Do waits.
func bubble(t *testing.T, f func(t *testing.T, l *Lanes, elapsed func() time.Duration)) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f(t, NewLanes(), func() time.Duration { return time.Since(began) })
	})
}

// TestDoWithAContextThatEnded: nothing is tried.
func TestDoWithAContextThatEnded(t *testing.T) {
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	err := NewLanes().Do(ctx, func() (uint64, error) { t.Error("a try"); return 0, nil })
	if err != context.Canceled {
		t.Error(err)
	}
}

// TestDoEndsWhileItWaits: the end of the context ends the wait for a turn, or a pause,
// immediately; the call that gave up holds no turn.
func TestDoEndsWhileItWaits(t *testing.T) {
	bubble(t, func(t *testing.T, l *Lanes, elapsed func() time.Duration) {
		go l.Do(context.Background(), inTurn(func() { time.Sleep(time.Second) }, 5))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		err := l.Do(ctx, inTurn(func() { t.Error("it came to its turn") }, 5))
		if err != context.DeadlineExceeded || elapsed() != 10*time.Millisecond {
			t.Errorf("%v after %v", err, elapsed())
		}
		err = l.Do(context.Background(), inTurn(func() {}, 5))
		if err != nil || elapsed() != time.Second {
			t.Errorf("the next: %v after %v", err, elapsed())
		}
	})
	bubble(t, func(t *testing.T, l *Lanes, elapsed func() time.Duration) {
		const limit = 5*time.Millisecond + 1
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		tries := 0
		err := l.Do(ctx, func() (uint64, error) { tries++; return 5, base.ErrConflict })
		if err != context.DeadlineExceeded || elapsed() != limit || tries <= soonTries {
			t.Errorf("%v after %v and %d tries", err, elapsed(), tries)
		}
	})
}

// TestDoPauses: the first tries follow immediately, later ones after a pause of less than a
// millisecond.
func TestDoPauses(t *testing.T) {
	for _, conflicts := range []int{1, soonTries, soonTries + 20} {
		bubble(t, func(t *testing.T, l *Lanes, elapsed func() time.Duration) {
			err := l.Do(context.Background(), inTurn(func() {}, make([]uint64, conflicts)...))
			d, pauses := elapsed(), max(conflicts-soonTries, 0)
			if err != nil || d >= time.Duration(pauses+1)*time.Millisecond || (d > 0) != (pauses > 0) {
				t.Errorf("%d conflicts: %v after %v", conflicts, err, d)
			}
		})
	}
}

// TestDoMovesBetweenTurns: one that loses again over the same thing keeps its turn; over
// another, it gives the turn to those behind it; things may share a turn.
func TestDoMovesBetweenTurns(t *testing.T) {
	for name, c := range map[string]struct {
		first []uint64
		over  uint64
		wait  time.Duration
	}{
		"the same again":    {[]uint64{5, 5, 5}, 5, time.Second},
		"another":           {[]uint64{5, 6}, 5, 0},
		"the other":         {[]uint64{5, 6}, 6, time.Second},
		"back":              {[]uint64{5, 6, 5}, 5, time.Second},
		"what shares it":    {[]uint64{5 + 3*64}, 5, time.Second},
		"the largest":       {[]uint64{1<<64 - 1}, 63, time.Second},
		"not the neighbour": {[]uint64{5}, 4, 0},
	} {
		bubble(t, func(t *testing.T, l *Lanes, elapsed func() time.Duration) {
			go l.Do(context.Background(), inTurn(func() { time.Sleep(time.Second) }, c.first...))
			synctest.Wait()
			at := time.Duration(-1)
			if err := l.Do(context.Background(), inTurn(func() { at = elapsed() }, c.over)); err != nil || at != c.wait {
				t.Errorf("%s: %v, in its turn after %v, want %v", name, err, at, c.wait)
			}
			time.Sleep(2 * time.Second)
			for i, lane := range l {
				if len(lane) != 0 {
					t.Errorf("%s: turn %d is held by none", name, i)
				}
			}
		})
	}
}

// TestTurnsEndHoweverTheTryDoes: a turn ends with an error of the try, with a panic, which
// the caller gets, and with the end of the goroutine.
func TestTurnsEndHoweverTheTryDoes(t *testing.T) {
	mine := errors.New("mine")
	var ends []string
	for _, end := range []func() error{
		func() error { return mine },
		func() error { return fmt.Errorf("%w: not %w", mine, base.ErrReadOnly) },
		func() error { panic(mine) },
		func() error { runtime.Goexit(); return nil },
	} {
		bubble(t, func(t *testing.T, l *Lanes, elapsed func() time.Duration) {
			go func() {
				defer func() { ends = append(ends, fmt.Sprint(recover())) }()
				first := true
				err := l.Do(context.Background(), func() (uint64, error) {
					if first {
						first = false
						return 5, base.ErrConflict
					}
					return 0, end()
				})
				ends = append(ends, err.Error())
			}()
			synctest.Wait()
			if err := l.Do(context.Background(), inTurn(func() {}, 5)); err != nil || elapsed() != 0 {
				t.Errorf("the next: %v after %v", err, elapsed())
			}
		})
	}
	want := []string{"mine", "<nil>", "mine: not " + base.ErrReadOnly.Error(), "<nil>", "mine", "<nil>"}
	if !slices.Equal(ends, want) {
		t.Errorf("they ended with %q, want %q", ends, want)
	}
}
