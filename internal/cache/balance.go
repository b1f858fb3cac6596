package cache

// Memory moves between classes, and out of the cache, a slab at a time. The
// class that gives up a slab loses only its coldest pages.

const (
	// raidAfter is how many of a class's evicted pages must return before it
	// takes a slab from another class.
	raidAfter = 8
	// raidRounds bounds, in slabs, how many pages too warm to evict such a raid
	// may look at. Each look cools a page, so an unused class gives in soon and
	// a class in use does not.
	raidRounds = 4
	// raidLook is how many frames of each queue are examined for a slab.
	raidLook = 8
)

// age returns how long a class keeps a page that is read once. The class with
// the highest age can spare memory best.
func (c *Cache) age(ci int) uint32 {
	cl := &c.classes[ci]
	if cl.slot != 0 && cl.free.len >= cl.perSlab {
		return 1<<31 - 1
	}
	return max(cl.age, c.now()-cl.lastInsert)
}

// oldest returns the class other than ci that has memory to give and the
// highest age, or -1.
func (c *Cache) oldest(ci int, tried ...int) int {
	best := -1
next:
	for d := range c.classes {
		cl := &c.classes[d]
		if d == ci || cl.slabs == 0 && cl.small.len+cl.main.len == 0 {
			continue
		}
		for _, x := range tried {
			if x == d {
				continue next
			}
		}
		if best < 0 || c.age(d) > c.age(best) {
			best = d
		}
	}
	return best
}

// reclaim takes memory from the classes until need bytes are free. Called with
// mu held.
func (c *Cache) reclaim(need int64) bool {
	var tried []int
	for c.room() < need {
		d := c.oldest(-1, tried...)
		if d < 0 {
			return false
		}
		if !c.raid(d, maxSteps) {
			tried = append(tried, d)
		}
	}
	return true
}

// raid takes a slab or a large page from class d. It examines at most that many
// frames. Called with mu held.
func (c *Cache) raid(d, steps int) bool {
	cl := &c.classes[d]
	if cl.slot == 0 {
		f := c.evict(d, &steps)
		if f != nil {
			c.freeLarge(f)
		}
		return f != nil
	}
	best, bestHot := -1, cl.perSlab+1
	for _, q := range []*queue{&cl.free, &cl.small, &cl.main} {
		id := q.tail
		for i := 0; i < raidLook && id != 0; i++ {
			f := c.frame(id)
			if hot := c.hotSlots(f.slab); hot < bestHot {
				best, bestHot = int(f.slab), hot
			}
			id = f.prev
		}
	}
	if best >= 0 {
		return c.clearSlab(uint32(best), steps)
	}
	if steps < maxSteps {
		return false
	}
	for s := range c.slabs {
		if c.slabs[s].class == d && c.hotSlots(uint32(s)) <= cl.perSlab && c.clearSlab(uint32(s), steps) {
			return true
		}
	}
	return false
}

// hotSlots returns how many pages of a slab have heat, or more than there are
// slots if a page is pinned.
func (c *Cache) hotSlots(s uint32) int {
	hot := 0
	for _, id := range c.slabs[s].frames {
		f := c.frame(id)
		if f.queue == queueFree {
			continue
		}
		st := f.state.Load()
		if st&pinMask != 0 || st&ready == 0 {
			return len(c.slabs[s].frames) + 1
		}
		if st&heatMask != 0 {
			hot++
		}
	}
	return hot
}

// clearSlab takes a slab from its class. It first evicts as many of the class's
// pages as the slab holds, wherever they are, then moves the pages left in the
// slab to the freed slots. It fails if a page of the slab is pinned, or if
// examining steps frames does not find enough to evict.
func (c *Cache) clearSlab(s uint32, steps int) bool {
	sl := &c.slabs[s]
	ci := sl.class
	cl := &c.classes[ci]
	voluntary := steps < maxSteps
	busy := 0
	for _, id := range sl.frames {
		if f := c.frame(id); f.queue == queueFree {
			c.unlink(&cl.free, f)
		} else {
			busy++
		}
	}
	for cl.free.len < busy {
		f := c.evict(ci, &steps)
		if f == nil {
			break
		}
		if f.slab == s {
			busy--
		} else {
			c.push(&cl.free, queueFree, f)
		}
	}
	ok := !voluntary || cl.free.len >= busy
	for i := 0; ok && i < len(sl.frames); i++ {
		if f := c.frame(sl.frames[i]); f.queue != queueNone {
			ok = c.vacate(f)
		}
	}
	for _, id := range sl.frames {
		f := c.frame(id)
		switch {
		case ok:
			c.dismiss(f)
		case f.queue == queueNone:
			c.push(&cl.free, queueFree, f)
		}
	}
	if ok {
		cl.slabs--
		sl.class, sl.frames = -1, sl.frames[:0]
		c.dirty = append(c.dirty, s)
		c.use(-int64(c.slabSize))
	}
	return ok
}

// vacate moves the page of a frame to a free slot of its class, or evicts it
// when there is none. It fails if the page is pinned.
func (c *Cache) vacate(f *frame) bool {
	cl := &c.classes[f.class]
	warm := f.state.Load() & heatMask
	if !c.seize(f) {
		return false
	}
	if cl.free.len == 0 {
		c.count.evictions++
		c.forget(f)
		return true
	}
	to := c.frame(cl.free.head)
	c.unlink(&cl.free, to)
	k, size := f.key(), f.size()
	to.place.Store(uint64(size)<<32 | uint64(uint32(to.place.Load())))
	copy(c.bytes(to), c.bytes(f))
	to.file.Store(k.File)
	to.off.Store(k.Off)
	to.born, to.scanned = f.born, f.scanned
	c.insert(c.queueOf(f), to, f)
	c.forget(f)
	to.state.Store(to.state.Load()&^(generation-1) | ready | warm)
	c.enter(to)
	c.linkFile(to)
	c.count.pages++
	c.count.bytes += int64(size)
	return true
}
