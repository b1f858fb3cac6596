package cache

// slot returns a free frame for a page of size bytes, in the queue that it will
// stay in, or nil if none can be had. Called with mu held.
func (c *Cache) slot(size int, h uint64, scan bool) *frame {
	if size <= 0 || c.closed {
		return nil
	}
	if c.room() < 0 {
		c.reclaim(0) // metadata has grown
	}
	ci, back := c.largeClass(), !scan && c.ghosts.take(h)
	var f *frame
	if size <= c.maxSlot() {
		ci = c.classOf(size)
		if back {
			c.classes[ci].returned++
		}
		f = c.slotIn(ci, scan)
	} else if int64(size) <= c.budget/8 && c.reclaim(int64(size)+frameChunk*frameBytes) {
		f = c.newLarge(size)
	}
	if f == nil {
		return nil
	}
	cl := &c.classes[ci]
	f.scanned, f.born = scan, c.now()
	cl.lastInsert = f.born
	if back {
		c.push(&cl.main, queueMain, f)
	} else {
		c.push(&cl.small, queueSmall, f)
	}
	return f
}

// slotIn returns a free frame of a class: an unused one, one of a new slab, one
// of another class's slab if this class needs it more, or an evicted one.
func (c *Cache) slotIn(ci int, scan bool) *frame {
	cl := &c.classes[ci]
	if cl.free.len == 0 && !c.grow(ci) {
		if !scan && cl.returned >= raidAfter {
			cl.returned = 0
			if d := c.oldest(ci); d >= 0 && c.age(d)/2 > cl.age && c.raid(d, raidRounds*c.classes[d].perSlab) {
				c.grow(ci)
			}
		}
		if cl.free.len == 0 {
			steps := maxSteps
			if f := c.evict(ci, &steps); f != nil {
				return f
			}
			// The class has nothing to evict, or all of it is pinned.
			if !c.reclaim(c.slabCost(ci)) || !c.grow(ci) {
				return nil
			}
		}
	}
	f := c.frame(cl.free.head)
	c.unlink(&cl.free, f)
	return f
}
