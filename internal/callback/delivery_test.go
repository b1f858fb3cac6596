package callback

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// held adds a call that blocks, and returns once the call runs. Later entries wait behind
// it until release is called.
func held(o *Outbox) (release func()) {
	begun, free := make(chan struct{}), make(chan struct{})
	o.add("held", func() { close(begun); <-free })
	<-begun
	return func() { close(free) }
}

// TestLossIsCountedInItsPlace: the newest entries beyond the limit are dropped, and the
// listener receives their number in their place between the other entries.
func TestLossIsCountedInItsPlace(t *testing.T) {
	var got []int
	o := NewOutbox(func(n int) { got = append(got, -n) }, func(p *base.PanicError) { t.Error(p) })
	entry := func(i int) { o.add("numbers", func() { got = append(got, i) }) }
	release := held(o)
	for i := range outboxMax {
		entry(i)
	}
	release()
	o.Drain()
	if len(got) != outboxMax || got[0] != 0 || got[outboxMax-1] != outboxMax-1 {
		t.Fatalf("%d of %d entries that may wait were delivered", len(got), outboxMax)
	}

	// Lost at the end: nothing follows that could say so.
	got, o.max = nil, 3
	release = held(o)
	for i := range 5 {
		entry(i)
	}
	release()
	o.Drain()
	if want := []int{0, 1, 2, -2}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}

	// Lost twice, with room between.
	got = nil
	inside, free := make(chan struct{}), make(chan struct{})
	release = held(o)
	o.add("numbers", func() { got = append(got, 0); close(inside); <-free })
	for i := range 4 {
		entry(1 + i)
	}
	release()
	<-inside // so one entry has room, and what was lost before it is said first
	entry(5)
	entry(6)
	close(free)
	o.Drain()
	if want := []int{0, 1, 2, -2, 5, -1}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
}

// TestLossWithoutAListener: without a lost function, dropped entries are not reported.
func TestLossWithoutAListener(t *testing.T) {
	o := NewOutbox(nil, func(p *base.PanicError) { t.Error(p) })
	o.max = 1
	n := 0
	release := held(o)
	for range 3 {
		o.add("numbers", func() { n++ })
	}
	release()
	o.Drain()
	o.add("numbers", func() { n++ })
	o.Drain()
	if n != 2 {
		t.Errorf("%d calls", n)
	}
}

// TestPanicsAndEndsOfGoroutines: a call that panics, or ends its goroutine, costs no other
// call, wherever it is among them; the panic is reported with whose code it was.
func TestPanicsAndEndsOfGoroutines(t *testing.T) {
	mine := errors.New("mine")
	for _, bad := range [][]int{{0}, {9}, {3, 4, 5}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}} {
		for name, end := range map[string]func(){
			"panic": func() { panic(mine) }, "Goexit": runtime.Goexit, "both": func() { defer runtime.Goexit(); panic(mine) },
		} {
			var got []int
			var panics []*base.PanicError
			o := NewOutbox(nil, func(p *base.PanicError) { panics = append(panics, p) })
			release := held(o)
			for i := range 10 {
				o.add("numbers", func() {
					got = append(got, i)
					if slices.Contains(bad, i) {
						end()
					}
				})
			}
			release()
			o.Drain()
			if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(got, want) {
				t.Errorf("%s in %v: delivered %v", name, bad, got)
			}
			if want := map[string]int{"panic": len(bad)}[name]; name != "both" && len(panics) != want {
				t.Errorf("%s in %v: %d panics", name, bad, len(panics))
			}
			for _, p := range panics {
				if p.Code != "numbers" || !errors.Is(p, mine) || !strings.Contains(string(p.Stack), "delivery_test.go") {
					t.Errorf("reported: %v from\n%s", p, p.Stack)
				}
			}
		}
	}
}

// TestPanicOfTheReport: a panic in the report of a loss counts as the listener's; a panic
// in the report of a panic is not reported again.
func TestPanicOfTheReport(t *testing.T) {
	var codes []string
	var o *Outbox
	o = NewOutbox(func(int) { panic("in the count") }, func(p *base.PanicError) {
		codes = append(codes, p.Code)
		o.report(p.Code == ListenerCode, func() { panic("again") })
	})
	o.max = 1
	release := held(o)
	for range 2 {
		o.add("numbers", func() {})
	}
	release()
	o.Drain()
	if want := []string{ListenerCode}; !slices.Equal(codes, want) {
		t.Errorf("reported of %q, want %q", codes, want)
	}
	codes = nil
	o.add("numbers", func() { panic("of the program") })
	o.Drain()
	// The report of that panics, which is reported once.
	if want := []string{"numbers", ListenerCode}; !slices.Equal(codes, want) {
		t.Errorf("reported of %q, want %q", codes, want)
	}
}

// TestAddUnderLocks: add does not wait for deliveries, not even for one that needs a lock
// that the caller of add holds.
func TestAddUnderLocks(t *testing.T) {
	o := NewOutbox(nil, func(p *base.PanicError) { t.Error(p) })
	var mu sync.Mutex
	n := 0 // guarded by mu
	for range 100 {
		mu.Lock()
		for range 10 {
			o.add("numbers", func() { mu.Lock(); n++; mu.Unlock() })
		}
		mu.Unlock()
	}
	o.Drain()
	if mu.Lock(); n != 1000 {
		t.Errorf("%d calls", n)
	}
	mu.Unlock()
}

// TestDrain: Drain waits for all entries added before, by other goroutines and by
// deliveries too. A delivery does not wait for itself, not even one after the end of a
// goroutine.
func TestDrain(t *testing.T) {
	o := NewOutbox(nil, func(p *base.PanicError) { t.Error(p) })
	o.Drain() // nothing was ever added
	var depth atomic.Int64
	var more func()
	more = func() {
		o.Drain()
		if depth.Add(1) < 50 {
			o.add("deeper", more)
			if depth.Load()%7 == 0 {
				runtime.Goexit()
			}
		}
	}
	o.add("deeper", more)
	o.Drain()
	if depth.Load() != 50 {
		t.Errorf("Drain returned after %d of 50", depth.Load())
	}
	// Another goroutine waits, though a delivery goes on that would not.
	release := held(o)
	drained := make(chan struct{})
	go func() { o.Drain(); close(drained) }()
	for range 100 {
		runtime.Gosched()
	}
	select {
	case <-drained:
		t.Error("Drain did not wait")
	default:
	}
	release()
	<-drained
}

// TestOneAtATime: whatever goroutines add, calls do not overlap, and those of each
// goroutine come in its order, while others drain.
func TestOneAtATime(t *testing.T) {
	const adders, calls = 4, 500
	o := NewOutbox(nil, func(p *base.PanicError) { t.Error(p) })
	var at atomic.Int64
	var last [adders]int // changed by deliveries only
	var wg sync.WaitGroup
	for a := range adders {
		wg.Go(func() {
			for i := range calls {
				o.add("numbers", func() {
					if at.Add(1) != 1 {
						t.Error("two calls at a time")
					}
					if last[a] != i {
						t.Errorf("call %d of adder %d comes in place of %d", i, a, last[a])
					}
					last[a]++
					if i%50 == 0 {
						runtime.Gosched()
					}
					at.Add(-1)
				})
				if i%100 == 0 {
					o.Drain()
				}
			}
		})
	}
	wg.Wait()
	o.Drain()
	if last != [adders]int{calls, calls, calls, calls} {
		t.Errorf("calls: %v", last)
	}
}
