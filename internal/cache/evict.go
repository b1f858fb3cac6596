package cache

import "github.com/seerdb-go/seerdb/internal/invariant"

const (
	// smallShare is the divisor for the small queue's share of a class: a
	// tenth, as in the S3-FIFO paper.
	smallShare = 10
	// promoteHeat is how many hits in the small queue move a page to the main
	// queue.
	promoteHeat = 2
	// maxSteps bounds how many frames one eviction looks at when many are hot
	// or pinned.
	maxSteps = 4096
)

// now returns the clock for ages: the KiB of pages ever inserted. It wraps, so
// only differences are meaningful.
func (c *Cache) now() uint32 { return uint32(c.clock >> 10) }

// evict frees one frame of a class by S3-FIFO and returns it, in no queue. It
// examines at most *steps frames and subtracts their number from *steps.
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

// forget takes the page out of a seized frame, and the frame out of its queue.
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

// release returns a seized frame's slot to its class.
func (c *Cache) release(f *frame) {
	c.forget(f)
	if uint32(f.place.Load()) == placeLarge {
		c.freeLarge(f)
		return
	}
	c.push(&c.classes[f.class].free, queueFree, f)
}

// Drop evicts the pages of a file that will not be read again. Pinned pages
// stay until eviction reaches them.
func (c *Cache) Drop(file uint64) {
	const batch = 256 // at about 100 ns each, this is what a concurrent miss may have to wait
	skipped := 0
	for done := false; !done; {
		c.mu.Lock()
		id := c.files[file]
		for i := 0; i < skipped && id != 0; i++ {
			id = c.frame(id).fileNext
		}
		for i := 0; i < batch && id != 0; i++ {
			f := c.frame(id)
			id = f.fileNext
			if c.seize(f) {
				c.count.evictions++
				c.release(f)
			} else {
				skipped++
			}
		}
		done = id == 0
		c.mu.Unlock()
	}
}
