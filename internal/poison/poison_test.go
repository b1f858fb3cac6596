package poison_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/poison"
)

// TestFirstCause: the first cause stays, and every refusal names it; before, a call that
// comes too late finds the database closed.
func TestFirstCause(t *testing.T) {
	var l poison.Latch
	if l.Cause() != nil || l.Refusal() != base.ErrClosed {
		t.Errorf("healthy: %v, %v", l.Cause(), l.Refusal())
	}
	first, second := errors.New("first"), errors.New("second")
	for i, cause := range []error{first, second, first} {
		if l.Set(cause) != (i == 0) {
			t.Errorf("cause %d: it is the first: %v", i, i != 0)
		}
		err := l.Refusal()
		if l.Cause() != first || !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, first) || errors.Is(err, second) || errors.Is(err, base.ErrClosed) {
			t.Errorf("after cause %d: %v, %v", i, l.Cause(), err)
		}
	}
	if got, want := l.Refusal().Error(), "seerdb: database is read-only until it is reopened: first"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLastingCause: one commit has an unknown outcome, or met a full disk; those refused
// from then on have neither. All else about the cause is found.
func TestLastingCause(t *testing.T) {
	damage := base.Corruptf("000001.wal", 7, "a detail")
	for _, passing := range []error{base.ErrCommitUnknown, base.ErrNoSpace} {
		var l poison.Latch
		l.Set(fmt.Errorf("%w: a sync failed: %w", passing, damage))
		for _, err := range []error{l.Cause(), l.Refusal()} {
			var c *base.CorruptionError
			if errors.Is(err, passing) || !errors.Is(err, base.ErrCorruption) || !errors.As(err, &c) || c != damage {
				t.Errorf("%v", err)
			}
		}
	}
}

// TestSetBesideItself: of causes that come at the same time one is the first, and all
// readers see that one.
func TestSetBesideItself(t *testing.T) {
	for range 5000 {
		var l poison.Latch
		var begun, firsts atomic.Int32
		var seen sync.Map
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				mine := fmt.Errorf("cause %d", i)
				for begun.Add(1); begun.Load() < 2; {
					runtime.Gosched()
				}
				if l.Set(mine) {
					firsts.Add(1)
				}
				seen.Store(l.Cause(), true)
			})
		}
		wg.Wait()
		n := 0
		seen.Range(func(cause, _ any) bool { n++; return cause == l.Cause() })
		if firsts.Load() != 1 || n != 1 {
			t.Fatalf("%d are the first; readers saw %d", firsts.Load(), n)
		}
	}
}
