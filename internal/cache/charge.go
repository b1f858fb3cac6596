package cache

// Charge takes n bytes of the budget for something other than pages, or returns
// -n bytes if n is negative. It never fails: it evicts pages to make room, and
// if those are pinned the budget is exceeded until the first Charge or miss
// after they are unpinned. Without eviction it costs two atomic additions.
func (c *Cache) Charge(kind Kind, n int64) {
	if kind == Pages || kind >= NumKinds {
		panic("cache: Charge of " + kind.String())
	}
	c.charged[kind].Add(n)
	c.others.Add(n)
	if c.room() >= 0 {
		return
	}
	for again := true; again; {
		c.mu.Lock()
		// Reclaim a slab at a time, so that no reader waits long for the lock.
		again = !c.closed && c.room() < 0 && c.reclaim(min(c.room()+int64(c.slabSize), 0))
		c.unlockAndDiscard()
	}
}

// Charged returns how many bytes of the budget a kind has.
func (c *Cache) Charged(kind Kind) int64 {
	if kind == Pages {
		return c.used.Load() + c.private.Load()
	}
	return c.charged[kind].Load()
}

// Pinned returns how many bytes of pages cannot be evicted, if known, else 0.
// While private buffers are in use all bytes of pages count: nothing could be
// evicted when those buffers were handed out.
func (c *Cache) Pinned() int64 {
	if c.private.Load() == 0 {
		return 0
	}
	return c.Charged(Pages)
}

// Others returns how many bytes of the budget are charged by Charge.
func (c *Cache) Others() int64 { return c.others.Load() }

// Stats are the counters of a cache since New, and what it holds now.
type Stats struct {
	Hits      uint64 // Acquire found the page
	Misses    uint64 // Acquire asked the caller to fill, private buffers included
	Inserts   uint64 // misses that got a slot
	Evictions uint64 // pages evicted or dropped
	Waits     uint64 // callers that waited for another caller's fill
	Privates  uint64 // misses that got a private buffer

	Budget       int64           // as in Options
	Bytes        int64           // bytes of the pages held
	Frames       int             // pages held
	PrivateBytes int64           // bytes of private buffers in use
	Charged      [NumKinds]int64 // bytes of the budget by kind
}

// Stats returns the figures. It takes a nanosecond or two for each page held.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	s := Stats{
		Hits: c.hits.Load(), Misses: c.count.misses, Inserts: c.count.inserts,
		Evictions: c.count.evictions, Waits: c.count.waits, Privates: c.count.privates,
		Budget: c.budget, Bytes: c.count.bytes, Frames: c.count.pages,
		PrivateBytes: c.private.Load(),
	}
	frames := c.frames
	c.mu.Unlock()
	for id := 1; id < frames; id++ {
		s.Hits += hits(c.frame(frameID(id)).state.Load())
	}
	for k := range s.Charged {
		s.Charged[k] = c.charged[k].Load()
	}
	s.Charged[Pages] = c.Charged(Pages)
	return s
}
