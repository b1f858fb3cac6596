package cache

import "github.com/seerdb-go/seerdb/internal/invariant"

// Handle is a pinned page. It is a small value, to be copied with care: every
// Acquire is matched by exactly one Release or Abort. The zero Handle holds
// nothing, and releasing it does nothing.
type Handle struct {
	c *Cache
	f *frame // nil when the bytes are private
	b []byte
}

// Bytes is the page, valid until Release. Only the caller that fills
// it may write it.
func (h Handle) Bytes() []byte { return h.b }

// Publish says that the bytes are filled: others may read them from now on,
// and so may the caller until Release.
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

// Abort gives the bytes back unfilled and releases the handle. A reader that waits
// for the page tries to fill it himself: a failure is not remembered.
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

// Release unpins the page. The bytes must not be used any more. Releasing a
// fill that was not published aborts it.
func (h Handle) Release() {
	// Taking a pin from none borrows from the ready bit.
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
// gives up in that time; f.state has the waiting bit, so the goroutine that ends the fill will
// look for the channel.
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

// wake lets the waiters for f go on. Called with mu held.
func (c *Cache) wake(f *frame) {
	if ch := c.waiters[f.id]; ch != nil {
		delete(c.waiters, f.id)
		close(ch)
	}
}

// maxBuffers is how many private buffers are kept for reuse; they serve a cache
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
