package retry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

// TestDoEnds: Do returns any result of try but a conflict, the error of its context, or the
// conflict after enough tries.
func TestDoEnds(t *testing.T) {
	conflict, other := fmt.Errorf("a try: %w", base.ErrConflict), errors.New("other")
	for name, c := range map[string]struct {
		try   func(n int, cancel func()) error
		err   error
		tries int
	}{
		"success":  {func(int, func()) error { return nil }, nil, 1},
		"error":    {func(int, func()) error { return other }, other, 1},
		"conflict": {func(n int, _ func()) error { return []error{conflict, conflict, nil}[n] }, nil, 3},
		"for ever": {func(int, func()) error { return conflict }, conflict, maxTries},
		"canceled": {func(_ int, cancel func()) error { cancel(); return conflict }, context.Canceled, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			tries := 0
			err := NewLanes().Do(ctx, func() (uint64, error) { tries++; return 1, c.try(tries-1, cancel) })
			if err != c.err || tries != c.tries {
				t.Errorf("%s: %v after %d tries; want %v after %d", name, err, tries, c.err, c.tries)
			}
		})
	}
}

// TestDoTakesTurns: tries that lost over the same key run again in the order in which they
// lost, beside others; a turn ends with a panic.
func TestDoTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLanes()
		var mu sync.Mutex
		var order []string // guarded by mu
		note := func(name string) {
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
		}
		enter := func(name string, over uint64) {
			tries := 0
			_ = l.Do(context.Background(), func() (uint64, error) {
				if tries++; tries == 1 {
					return over, base.ErrConflict
				}
				note(name)
				time.Sleep(time.Second)
				note(name)
				return 0, nil
			})
		}
		func() {
			defer func() { _ = recover() }()
			tries := 0
			_ = l.Do(context.Background(), func() (uint64, error) {
				if tries++; tries > 1 {
					panic("in its turn")
				}
				return 1, base.ErrConflict
			})
		}()
		for i, name := range []string{"a", "b", "of another lane"} {
			go enter(name, uint64(1+i/2))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		want := []string{"a", "of another lane", "a", "b", "of another lane", "b"}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(order, want) {
			t.Errorf("they ran in the order %q, want %q", order, want)
		}
	})
}

// TestDoLosesPatience: a turn that lasts too long holds no other try up for ever.
func TestDoLosesPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, tries := NewLanes(), 0
		inside := false
		try := func(f func()) func() (uint64, error) {
			n := 0
			return func() (uint64, error) {
				if n++; n == 1 {
					return 7, base.ErrConflict
				}
				f()
				return 0, nil
			}
		}
		_ = l.Do(context.Background(), try(func() {
			began := time.Now()
			_ = l.Do(context.Background(), try(func() { inside = true }))
			if d := time.Since(began); d != patience {
				t.Errorf("the inner one waited %v", d)
			}
			tries++
		}))
		if !inside || tries != 1 {
			t.Error(inside, tries)
		}
	})
}
