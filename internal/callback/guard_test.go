package callback

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
)

// codeMerger is a merge operator made of funcs.
type codeMerger struct {
	full    func(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error)
	partial func(dst, key, older, newer []byte) ([]byte, bool, error)
}

func (codeMerger) Name() string { return "of the test" }
func (m codeMerger) Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	return m.full(dst, key, existing, exists, operands)
}
func (m codeMerger) Partial(dst, key, older, newer []byte) ([]byte, bool, error) {
	return m.partial(dst, key, older, newer)
}

// TestGuardPassesOn: the guard passes arguments and results on unchanged; an error is no
// panic.
func TestGuardPassesOn(t *testing.T) {
	refused := errors.New("refused")
	g := NewGuard("it", codeMerger{
		full: func(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
			return fmt.Appendf(dst, "%s %s %v %s", key, existing, exists, operands), refused
		},
		partial: func(dst, key, older, newer []byte) ([]byte, bool, error) {
			return fmt.Appendf(dst, "%s %s %s", key, older, newer), true, refused
		},
	}, func(key, value []byte) (compaction.FilterVerdict, []byte, error) {
		return compaction.FilterChange, fmt.Appendf(nil, "%s %s", key, value), refused
	})
	if g.Name() != "of the test" {
		t.Errorf("Name: %q", g.Name())
	}
	b := func(s string) []byte { return []byte(s) }
	if v, err := g.Full(b("dst:"), b("k"), b("old"), true, [][]byte{b("a"), b("b")}); string(v) != "dst:k old true [a b]" || err != refused {
		t.Errorf("Full: %q, %v", v, err)
	}
	if v, ok, err := g.Partial(b("dst:"), b("k"), b("a"), b("b")); string(v) != "dst:k a b" || !ok || err != refused {
		t.Errorf("Partial: %q, %v, %v", v, ok, err)
	}
	if verdict, v, err := g.Ask(b("k"), b("v")); verdict != compaction.FilterChange || string(v) != "k v" || err != refused {
		t.Errorf("Ask: %v, %q, %v", verdict, v, err)
	}
	if g.Panicked() != nil {
		t.Errorf("it panicked: %v", g.Panicked())
	}
}

// TestGuardMakesErrors: a panic becomes an error that has the code, the key, the value and
// the stack of the panic; the first one is kept.
func TestGuardMakesErrors(t *testing.T) {
	mine := errors.New("mine")
	with := any(mine)
	g := NewGuard("keyspace 7", codeMerger{
		full:    func([]byte, []byte, []byte, bool, [][]byte) ([]byte, error) { panic(with) },
		partial: func(_, _, _, _ []byte) ([]byte, bool, error) { panic(with) },
	}, func(_, _ []byte) (compaction.FilterVerdict, []byte, error) { panic(with) })
	key := []byte("key")
	var first *base.PanicError
	for i, c := range []struct {
		code string
		ask  func() error
	}{
		{"the compaction filter of keyspace 7", func() error { _, _, err := g.Ask(key, nil); return err }},
		{"the merge operator of keyspace 7", func() error { _, err := g.Full(nil, key, nil, false, nil); return err }},
		{"the merge operator of keyspace 7", func() error { _, ok, err := g.Partial(nil, key, nil, nil); _ = ok; return err }},
	} {
		copy(key, "key")
		err := c.ask()
		copy(key, "xxx") // a buffer that is used again
		var p *base.PanicError
		if !errors.As(err, &p) || !errors.Is(err, mine) {
			t.Fatalf("%s: %v", c.code, err)
		}
		if p.Code != c.code || string(p.Key) != "key" || !strings.Contains(string(p.Stack), "guard_test.go") {
			t.Errorf("%s: %v from\n%s", c.code, p, p.Stack)
		}
		if i == 0 {
			first = p
		}
		if g.Panicked() != first {
			t.Errorf("%s: the first is %v", c.code, g.Panicked())
		}
	}
	with = nil
	if _, _, err := g.Ask(key, nil); err == nil {
		t.Error("a panic with nil passes for an answer")
	}
	var oops *int
	g = NewGuard("it", nil, func(_, _ []byte) (compaction.FilterVerdict, []byte, error) { return 0, nil, fmt.Errorf("%d", *oops) })
	var fault runtime.Error
	if _, _, err := g.Ask(nil, nil); !errors.As(err, &fault) || g.Panicked() == nil {
		t.Errorf("a nil pointer: %v", err)
	}
}

// TestCallers: a call is refused to a goroutine in a callback that the call would wait for,
// and to no other goroutine.
func TestCallers(t *testing.T) {
	var c Callers
	state := func(want ...bool) {
		t.Helper()
		for i, least := range []calling{CallingRows, CallingJob} {
			err := c.Refuse("Flush", least)
			if (err != nil) != want[i] {
				t.Errorf("what would wait for %d: %v", least, err)
			}
			if err != nil && (!errors.Is(err, base.ErrInCallback) || !strings.Contains(err.Error(), "Flush")) {
				t.Errorf("refused with %v", err)
			}
		}
	}
	state(false, false)
	leaveRows := c.Enter(CallingRows)
	state(true, false)
	leaveJob := c.Enter(CallingJob)
	state(true, true)
	leaveAgain := c.Enter(CallingRows) // rows that are asked for in a job
	state(true, false)
	leaveAgain()
	state(true, true)
	var wg sync.WaitGroup
	wg.Go(func() { state(false, false) })
	wg.Wait()
	leaveJob()
	state(true, false)
	leaveRows()
	state(false, false)
	n := 0
	c.m.Range(func(any, any) bool { n++; return true })
	if n != 0 {
		t.Errorf("%d goroutines are remembered", n)
	}
}

// TestCallersBesideEachOther: each goroutine has an entry of its own.
func TestCallersBesideEachOther(t *testing.T) {
	var c Callers
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			why := calling(1 + i%2)
			for range 200 {
				leave := c.Enter(why)
				runtime.Gosched()
				if c.Refuse("a call", why) == nil || (c.Refuse("a call", CallingJob) != nil) != (why == CallingJob) {
					t.Errorf("a goroutine at %d is taken for another", why)
				}
				leave()
				if err := c.Refuse("a call", CallingRows); err != nil {
					t.Errorf("after it left: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// TestGoroutineNumber: it is the number that a stack trace begins with.
func TestGoroutineNumber(t *testing.T) {
	var wg sync.WaitGroup
	seen := make(chan uint64, 3)
	for range cap(seen) {
		wg.Go(func() {
			buf := make([]byte, 1<<10)
			trace := string(buf[:runtime.Stack(buf, false)])
			if n := goroutine(); n == 0 || !strings.HasPrefix(trace, fmt.Sprintf("goroutine %d [", n)) {
				t.Errorf("%d of a trace that begins with %.40s", n, trace)
			}
			seen <- goroutine()
		})
	}
	wg.Wait()
	if a, b, c := <-seen, <-seen, <-seen; a == b || b == c || a == c {
		t.Errorf("goroutines %d, %d and %d", a, b, c)
	}
}
