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
	if size <= c.maxSlot() {
		ci = c.classOf(size)
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
			if d := c.oldest(ci); d >= 0 && c.age(d)/2 > cl.age && c.raid(d, raidRounds*c.classes[d].perSlab) {
				c.grow(ci)
			}
		}
		if cl.free.len == 0 {
			steps := maxSteps
			if f := c.evict(ci, &steps); f != nil {
				return f
			}
			// Nothing here, or all of it pinned.
			if !c.reclaim(c.slabCost(ci)) || !c.grow(ci) {
				return nil
			}
		}
	}
	f := c.frame(cl.free.head)
	c.unlink(&cl.free, f)
	return f
}

// evict frees one frame of a class by S3-FIFO and returns it in no queue. It
// looks at no more than *steps frames, and takes what it used from *steps.
func (c *Cache) evict(ci int, steps *int) *frame {
	cl := &c.classes[ci]
	for end := 4 * (cl.small.len + cl.main.len); end > 0 && *steps > 0; end-- {
		*steps--
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
	c.count.bytes -= int64(f.size())
	if invariant.Enabled {
		poison(c.bytes(f))
	}
}

// release makes a seized frame's slot free for its class.
func (c *Cache) release(f *frame) {
	c.forget(f)
	if uint32(f.place.Load()) == placeLarge {
		c.freeLarge(f)
		return
	}
	c.push(&c.classes[f.class].free, queueFree, f)
}
