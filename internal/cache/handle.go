package cache

import "github.com/seerdb-go/seerdb/internal/invariant"

// Handle is a pinned page. It is a small value and may be copied, but every
// Acquire needs exactly one Release or Abort. The zero Handle has no page;
// releasing it does nothing.
type Handle struct {
	c *Cache
	f *frame // nil when the bytes are private
	b []byte
}

// Bytes returns the page, valid until Release. Only a caller that fills the
// page may write to it.
func (h Handle) Bytes() []byte { return h.b }

// Publish ends a fill: other callers may read the bytes from now on, and so may
// this one until Release.
func (h Handle) Publish() {
	if h.f == nil {
		return
	}
	for {
		s := h.f.state.Load()
		if s&filling == 0 {
			panic("cache: Publish without a fill")
		}
		if h.f.state.CompareAndSwap(s, s&^(filling|waiting)|ready) {
			if s&waiting != 0 {
				h.c.mu.Lock()
				h.c.wake(h.f)
				h.c.mu.Unlock()
			}
			return
		}
	}
}

// Abort releases the handle of a fill that failed. One of the callers that wait
// for the page gets Fill in its turn: failures are not remembered.
func (h Handle) Abort() {
	if h.f == nil {
		h.Release()
		return
	}
	if h.f.state.Load()&filling == 0 {
		panic("cache: Abort without a fill")
	}
	c := h.c
	c.mu.Lock()
	c.wake(h.f)
	h.f.state.Store(h.f.state.Load()&^(generation-1) + generation)
	c.release(h.f)
	c.mu.Unlock()
}

// Release unpins the page, whose bytes must not be used after that. Releasing a
// fill that was not published aborts it.
func (h Handle) Release() {
	// Subtracting a pin from a state without pins borrows from the ready bit.
	if h.f == nil || h.f.state.Add(^uint64(0))&(ready|filling) != ready {
		h.releaseRare()
	}
}

func (h Handle) releaseRare() {
	switch {
	case h.f == nil && h.c != nil:
		h.c.releasePrivate(h.b)
	case h.f == nil:
	case h.f.state.Load()&filling != 0:
		h.f.state.Add(pinOne)
		h.Abort()
	default:
		panic("cache: Release without a pin")
	}
}

// wait sleeps until the fill of f has ended. Called with mu held, which it
// releases while it sleeps. The waiting bit of f.state is set, so the goroutine
// that ends the fill looks for the channel.
func (c *Cache) wait(f *frame) {
	ch := c.waiters[f.id]
	if ch == nil {
		ch = make(chan struct{})
		c.waiters[f.id] = ch
	}
	c.count.waits++
	c.mu.Unlock()
	<-ch
	c.mu.Lock()
}

// wake wakes the goroutines that wait for f. Called with mu held.
func (c *Cache) wake(f *frame) {
	if ch := c.waiters[f.id]; ch != nil {
		delete(c.waiters, f.id)
		close(ch)
	}
}

// maxBuffers is how many private buffers are kept for reuse. They serve a cache
// without a budget.
const maxBuffers = 16

func (c *Cache) privateHandle(size int) Handle {
	c.private.Add(int64(size))
	c.mu.Lock()
	c.count.misses++
	c.count.privates++
	var b []byte
	if n := len(c.buffers); n > 0 && cap(c.buffers[n-1]) >= size {
		b = c.buffers[n-1][:size]
		c.buffers = c.buffers[:n-1]
	}
	c.mu.Unlock()
	if b == nil {
		b = make([]byte, size)
	}
	return Handle{c: c, b: b}
}

func (c *Cache) releasePrivate(b []byte) {
	c.private.Add(-int64(len(b)))
	if invariant.Enabled {
		poison(b)
	}
	if cap(b) > maxSlab/4 {
		return
	}
	c.mu.Lock()
	if len(c.buffers) < maxBuffers {
		c.buffers = append(c.buffers, b)
	}
	c.mu.Unlock()
}
