package cache

import (
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/offheap"
)

// Close frees all memory. No handle may be in use, now or later.
func (c *Cache) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	if invariant.Enabled {
		c.checkUnpinned()
	}
	c.index.Store(newTable(1))
	for _, r := range c.regions {
		if r != nil {
			offheap.Free(r)
		}
	}
	c.largeMu.Lock()
	for _, b := range c.large {
		offheap.Free(b)
	}
	c.large = nil
	c.largeMu.Unlock()
}

// checkUnpinned panics if a page is pinned, since its reader would read freed
// memory.
func (c *Cache) checkUnpinned() {
	if !invariant.Enabled {
		return
	}
	for id := 1; id < c.frames; id++ {
		if s := c.frame(frameID(id)).state.Load(); s&(pinMask|filling) != 0 {
			panic("cache: Close with a page pinned")
		}
	}
}
