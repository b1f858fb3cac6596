package cache

import "github.com/seerdb-go/seerdb/internal/invariant"

const (
	// smallShare is the part of a class that new pages share: a tenth, as in
	// the S3-FIFO paper.
	smallShare = 10
	// promoteHeat is how many hits in the small queue lead to the main one.
	promoteHeat = 2
	// maxSteps bounds how many frames one eviction looks at when many are hot
	// or pinned.
	maxSteps = 4096
	// raidAfter is how many of a class's evicted pages must come back before it
	// takes a slab from another.
	raidAfter = 8
	// raidLook is how many frames of each queue are looked at for a slab.
	raidLook = 8
)

// now is the clock that ages are measured by: KiB ever inserted. It wraps; only
// differences count.
func (c *Cache) now() uint32 { return uint32(c.clock >> 10) }

// slot finds a free frame for a page of size bytes, in no queue but the one it
// will live in; nil if there is none to be had. Called with mu held.
func (c *Cache) slot(size int, h uint64, scan bool) *frame {
	if size <= 0 || c.closed {
		return nil
	}
	if c.room() < 0 {
		c.reclaim(0) // metadata has grown
	}
	ci, back := c.largeClass(), !scan && c.ghosts.take(h)
	var f *frame
	if size <= c.slabSize/4 {
		ci = classOf(size)
		if back {
			c.classes[ci].returned++
		}
		f = c.slotIn(ci, scan)
	} else {
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

// slotIn finds a free frame in a class: an unused one, one of a new slab, one
// of a slab from another class if this one needs it more, or an evicted one.
func (c *Cache) slotIn(ci int, scan bool) *frame {
	cl := &c.classes[ci]
	if cl.free.len == 0 && !c.grow(ci) {
		if !scan && cl.returned >= raidAfter {
			cl.returned = 0
			if d := c.oldest(ci); d >= 0 && c.age(d)/2 > cl.age && c.raid(d, false) {
				c.grow(ci)
			}
		}
		if cl.free.len == 0 {
			if f := c.evict(ci); f != nil {
				return f
			}
			// Nothing here, or all of it pinned.
			if !c.reclaim(c.slabCost()) || !c.grow(ci) {
				return nil
			}
		}
	}
	f := c.frame(cl.free.head)
	c.unlink(&cl.free, f)
	return f
}

// evict frees one frame of a class by S3-FIFO and returns it in no queue.
func (c *Cache) evict(ci int) *frame {
	cl := &c.classes[ci]
	for range min(maxSteps, 4*(cl.small.len+cl.main.len)) {
		if cl.small.len > 0 && (cl.main.len == 0 || cl.small.len*smallShare >= cl.small.len+cl.main.len) {
			f := c.frame(cl.small.tail)
			hot := heat(f.state.Load())
			switch {
			case hot >= promoteHeat:
				f.cool()
				c.unlink(&cl.small, f)
				c.push(&cl.main, queueMain, f)
			case c.seize(f):
				cl.age += (c.now()-f.born)/8 - cl.age/8
				if hot > 0 || !f.scanned {
					c.ghosts.add(f.key().hash())
				}
				c.count.evictions++
				c.forget(f)
				return f
			default: // pinned or being filled
				c.unlink(&cl.small, f)
				c.push(&cl.small, queueSmall, f)
			}
			continue
		}
		f := c.frame(cl.main.tail)
		if heat(f.state.Load()) == 0 && c.seize(f) {
			c.count.evictions++
			c.forget(f)
			return f
		}
		f.age()
		c.unlink(&cl.main, f)
		c.push(&cl.main, queueMain, f)
	}
	return nil
}

// forget takes the page out of a frame that was seized, and the frame out of
// its queue.
func (c *Cache) forget(f *frame) {
	c.index.Load().remove(f.key().hash(), f.id)
	c.unlinkFile(f)
	c.unlink(c.queueOf(f), f)
	c.count.pages--
	c.count.bytes -= int64(f.size)
	if invariant.Enabled {
		poison(c.bytes(f))
	}
}

// release makes a seized frame's slot free for its class.
func (c *Cache) release(f *frame) {
	c.forget(f)
	if f.loc == locLarge {
		c.freeLarge(f)
		return
	}
	c.push(&c.classes[f.class].free, queueFree, f)
}

// age says how long a class keeps a page that is read once: the longer, the
// better it can spare memory.
func (c *Cache) age(ci int) uint32 {
	cl := &c.classes[ci]
	if cl.slot != 0 && cl.free.len >= cl.perSlab {
		return 1<<31 - 1
	}
	return max(cl.age, c.now()-cl.lastInsert)
}

// oldest is the class other than ci, with memory to give, of the highest age;
// -1 if none has any.
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

// reclaim takes memory from the classes until there is room for need bytes.
// Called with mu held.
func (c *Cache) reclaim(need int64) bool {
	var tried []int
	for c.room() < need {
		d := c.oldest(-1, tried...)
		if d < 0 {
			return false
		}
		if !c.raid(d, true) {
			tried = append(tried, d)
		}
	}
	return true
}

// raid takes a slab from a class, or a large page. Without force it takes only
// a slab that is mostly cold; if there is none, what it looked at cools, so that
// a class that is not in use does give in.
func (c *Cache) raid(d int, force bool) bool {
	cl := &c.classes[d]
	if cl.slot == 0 {
		f := c.evict(d)
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
	if !force && bestHot > cl.perSlab/4 {
		for i := 0; i < raidLook && cl.main.tail != 0; i++ {
			f := c.frame(cl.main.tail)
			f.age()
			c.unlink(&cl.main, f)
			c.push(&cl.main, queueMain, f)
		}
		return false
	}
	if best >= 0 && c.clearSlab(uint32(best)) {
		return true
	}
	for s := range c.slabs {
		if force && c.slabs[s].class == d && c.hotSlots(uint32(s)) <= cl.perSlab && c.clearSlab(uint32(s)) {
			return true
		}
	}
	return false
}

// hotSlots is how many pages of a slab have heat; more than there are slots if
// one is pinned.
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

// clearSlab evicts all of a slab and takes it from its class. It fails if a
// page is pinned meanwhile.
func (c *Cache) clearSlab(s uint32) bool {
	sl := &c.slabs[s]
	for _, id := range sl.frames {
		f := c.frame(id)
		if f.queue != queueFree {
			if !c.seize(f) {
				return false
			}
			c.count.evictions++
			c.release(f)
		}
	}
	cl := &c.classes[sl.class]
	for _, id := range sl.frames {
		f := c.frame(id)
		c.unlink(&cl.free, f)
		c.dismiss(f)
	}
	cl.slabs--
	sl.class, sl.frames = -1, sl.frames[:0]
	c.dirty = append(c.dirty, s)
	c.use(-int64(c.slabSize))
	return true
}
