package cache

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestSingleFlight: of many who want one cold page at once, exactly one fills.
func TestSingleFlight(t *testing.T) {
	const readers = 32
	c := newTest(t, 4<<20)
	for round := range uint64(50) {
		k := Key{NewFileID(), round}
		var fills atomic.Int32
		var wg sync.WaitGroup
		for range readers {
			wg.Go(func() {
				h, s := c.Acquire(k, 4096, false)
				if s == Fill {
					fills.Add(1)
					runtime.Gosched()
					fillPage(h.Bytes(), k)
					h.Publish()
				}
				if !checkPage(h.Bytes(), k) {
					t.Error("a waiter got something else")
				}
				h.Release()
			})
		}
		wg.Wait()
		if n := fills.Load(); n != 1 {
			t.Fatalf("%d fills", n)
		}
	}
	if s := c.Stats(); s.Hits != 50*(readers-1) || s.Misses != 50 {
		t.Fatalf("%+v", s)
	}
	c.check(t)
}

// TestWait: a reader that comes during a fill sleeps until it ends.
func TestWait(t *testing.T) {
	c := newTest(t, 1<<20)
	k := Key{File: NewFileID()}
	h, _ := c.Acquire(k, 4096, false)
	var published atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			h, s := c.Acquire(k, 4096, false)
			if s != Hit || !published.Load() {
				t.Errorf("state %v, published %v", s, published.Load())
			}
			h.Release()
		})
	}
	for c.Stats().Waits < 3 {
		runtime.Gosched()
	}
	published.Store(true)
	h.Publish()
	wg.Wait()
	h.Release()
	if s := c.Stats(); s.Waits != 3 || s.Hits != 3 || s.Misses != 1 {
		t.Fatalf("%+v", s)
	}
}

// TestAbortedFill: waiters of an aborted fill take turns, one at a time, and
// none is left behind.
func TestAbortedFill(t *testing.T) {
	const readers = 16
	c := newTest(t, 4<<20)
	k := Key{File: NewFileID()}
	var filling, aborts atomic.Int32
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			h, s := c.Acquire(k, 4096, false)
			if s == Hit {
				t.Error("hit of a page that was never filled")
			}
			if filling.Add(1) != 1 {
				t.Error("two fill at once")
			}
			runtime.Gosched()
			filling.Add(-1)
			if aborts.Add(1)%2 == 0 {
				h.Abort()
			} else {
				h.Release()
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); aborts.Load() != readers || s.Frames != 0 || s.Evictions != 0 {
		t.Fatalf("%d aborts, %+v", aborts.Load(), s)
	}
	c.check(t)
}

// TestConcurrent: readers that hold several pages at a time in a cache that is
// far too small, while files are dropped, fills fail and the budget shrinks
// and grows. Every page must be what its key says for as long as it is held.
func TestConcurrent(t *testing.T) {
	steps := 8000
	if testing.Short() || raceEnabled {
		steps = 1500
	}
	c := newTest(t, 1<<20)
	files := [4]uint64{NewFileID(), NewFileID(), NewFileID(), NewFileID()}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			type pinned struct {
				h Handle
				k Key
			}
			var held []pinned
			for range steps {
				k := Key{files[rng.IntN(4)], rng.Uint64N(100)}
				h, s := c.Acquire(k, 500+int(k.Off*77%5000), rng.IntN(3) == 0)
				if s == Fill {
					if rng.IntN(20) == 0 {
						h.Abort()
						continue
					}
					fillPage(h.Bytes(), k)
					h.Publish()
				}
				held = append(held, pinned{h, k})
				for len(held) > rng.IntN(8) {
					p := held[0]
					held = held[1:]
					if !checkPage(p.h.Bytes(), p.k) {
						t.Errorf("page %v holds something else", p.k)
					}
					p.h.Release()
				}
			}
			for _, p := range held {
				p.h.Release()
			}
		})
	}
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(99, 1))
		for range steps / 20 {
			c.Drop(files[rng.IntN(4)])
			n := rng.Int64N(1 << 20)
			c.Charge(Memtables, n)
			runtime.Gosched()
			_ = c.Stats()
			c.Charge(Memtables, -n)
		}
	})
	wg.Wait()
	c.check(t)
	s := c.Stats()
	if s.PrivateBytes != 0 || s.Inserts+s.Privates != s.Misses || s.Hits == 0 || s.Evictions == 0 {
		t.Fatalf("%+v", s)
	}
	c.Charge(Memtables, 1<<20)
	if s := c.Stats(); s.Frames != 0 {
		t.Fatalf("a pin was lost: %+v", s)
	}
}

// TestHitCount crosses the limit of the count in a frame many times, from
// several sides.
func TestHitCount(t *testing.T) {
	c := newTest(t, 1<<20)
	k := Key{File: NewFileID()}
	read(t, c, k, 512, false)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5000 {
				h, _ := c.Acquire(k, 512, false)
				h.Release()
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Hits != 20_000 {
		t.Fatalf("%d hits, want 20000", s.Hits)
	}
	c.Drop(k.File)
	if s := c.Stats(); s.Hits != 20_000 || s.Frames != 0 {
		t.Fatalf("after eviction: %+v", s)
	}
}

// TestPinLimit: a page with as many pins as a frame can count is served from a
// private buffer instead.
func TestPinLimit(t *testing.T) {
	c := newTest(t, 1<<20)
	k := Key{File: NewFileID()}
	read(t, c, k, 512, false)
	f := c.find(k, k.hash())
	f.state.Add(pinMax - 1)
	h, s := c.Acquire(k, 512, false)
	if s != Hit {
		t.Fatal("the last pin was refused")
	}
	if p, s := c.Acquire(k, 512, false); s != Fill || p.f != nil {
		t.Fatal("one pin too many")
	}
	h.Release()
	f.state.Add(^(pinMax - 1) + 1)
	c.check(t)
}
