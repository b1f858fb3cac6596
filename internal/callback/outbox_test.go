package callback

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// TestOutbox: calls come in the order in which they were added, each once, by
// one goroutine at a time, also after calls that panicked or ended their
// goroutine; add never waits for them, and what is too much is counted where it
// is missing.
func TestOutbox(t *testing.T) {
	var got []int // changed by deliveries only
	var panics []*base.PanicError
	o := NewOutbox(func(n int) { got = append(got, -n) }, func(p *base.PanicError) { panics = append(panics, p) })
	o.max = 4
	release, begun := make(chan struct{}), make(chan struct{})
	o.add("first", func() { close(begun); <-release })
	<-begun
	mine := errors.New("mine")
	for i := range 10 {
		o.add("numbers", func() {
			got = append(got, i)
			switch i {
			case 1:
				panic(mine)
			case 2:
				runtime.Goexit()
			}
		})
	}
	close(release)
	o.Drain()
	o.add("numbers", func() { got = append(got, 10); o.Drain() }) // does not wait for itself
	o.Drain()
	if want := []int{0, 1, 2, 3, -6, 10}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
	if len(panics) != 1 || panics[0].Code != "numbers" || !errors.Is(panics[0], mine) || len(panics[0].Stack) == 0 {
		t.Errorf("panics: %v", panics)
	}
	o.max = 1 << 20
	got = nil
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				o.add("numbers", func() { got = append(got, i) })
			}
		})
	}
	wg.Wait()
	o.Drain()
	if len(got) != 800 {
		t.Errorf("%d of 800 calls were made", len(got))
	}
}
