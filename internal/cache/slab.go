package cache

import "github.com/seerdb-go/seerdb/internal/offheap"

// classOf returns the class for pages of size bytes, which must fit a slot.
func (c *Cache) classOf(size int) int { return int(c.bySize[(size+slotAlign-1)/slotAlign]) }

// maxSlot returns the size of the largest page that shares a slab with others.
func (c *Cache) maxSlot() int { return c.slabSize / minSlots }

func (c *Cache) largeClass() int { return len(c.classes) - 1 }

// slabCost returns what one more slab of a class takes, frames included.
func (c *Cache) slabCost(ci int) int64 {
	frames := max(c.classes[ci].perSlab-c.spares, 0)
	chunks := (frames + frameChunk - 1) / frameChunk
	return int64(c.slabSize) + int64(chunks)*frameChunk*frameBytes
}

// newFrame returns a frame that belongs to no slab. Called with mu held.
func (c *Cache) newFrame() *frame {
	if c.spare == 0 {
		n := c.frames / frameChunk
		if n == len(c.chunks) {
			return nil
		}
		chunk := new([frameChunk]frame)
		c.chunks[n] = chunk
		c.frames += frameChunk
		c.use(frameChunk * frameBytes)
		for i := frameChunk - 1; i >= 0; i-- {
			chunk[i].id = frameID(n*frameChunk + i)
			if chunk[i].id != 0 {
				c.dismiss(&chunk[i])
			}
		}
	}
	f := c.frame(c.spare)
	c.spare, f.next = f.next, 0
	c.spares--
	return f
}

// dismiss is the inverse of newFrame.
func (c *Cache) dismiss(f *frame) {
	f.queue, f.next = queueNone, c.spare
	c.spare = f.id
	c.spares++
}

// grow gives the class one more slab. Called with mu held.
func (c *Cache) grow(ci int) bool {
	if c.room() < c.slabCost(ci) {
		return false
	}
	s, ok := c.newSlab()
	if !ok {
		return false
	}
	cl := &c.classes[ci]
	sl := &c.slabs[s]
	sl.class, sl.frames = ci, sl.frames[:0]
	base := uint32(int64(s) * int64(c.slabSize) / slotAlign)
	for i := range cl.perSlab {
		f := c.newFrame()
		if f == nil {
			break // cannot happen: there are chunks for slots of the smallest size
		}
		f.class, f.slab = uint8(ci), s
		f.place.Store(uint64(base) + uint64(i*cl.slot/slotAlign))
		sl.frames = append(sl.frames, f.id)
		c.push(&cl.free, queueFree, f)
	}
	cl.slabs++
	cl.returned = 0
	c.use(int64(c.slabSize))
	return true
}

// newSlab returns a slab of no class, preferably one that still has memory.
func (c *Cache) newSlab() (uint32, bool) {
	for _, list := range []*[]uint32{&c.dirty, &c.clean} {
		if n := len(*list); n > 0 {
			s := (*list)[n-1]
			*list = (*list)[:n-1]
			return s, true
		}
	}
	n := len(c.slabs)
	if n == c.maxSlabs {
		return 0, false
	}
	if r := int64(n) * int64(c.slabSize) >> c.regionShift; c.regions[r] == nil {
		mem, err := offheap.Alloc(1 << c.regionShift)
		if err != nil {
			return 0, false // the system has no memory left: make do with the slabs there are
		}
		c.regions[r] = mem
	}
	c.slabs = append(c.slabs, slab{class: -1})
	return uint32(n), true
}

// slabBytes returns the memory of a slab.
func (c *Cache) slabBytes(s uint32) []byte {
	at := int64(s) * int64(c.slabSize)
	o := int(at & (1<<c.regionShift - 1))
	return c.regions[at>>c.regionShift][o : o+c.slabSize : o+c.slabSize]
}

// unlockAndDiscard unlocks mu, and then gives the memory of slabs that belong
// to no class back to the system.
func (c *Cache) unlockAndDiscard() {
	if len(c.dirty) == 0 || c.closed {
		c.mu.Unlock()
		return
	}
	dirty := c.dirty
	c.dirty = nil
	c.mu.Unlock()
	for _, s := range dirty {
		offheap.Discard(c.slabBytes(s))
	}
	c.mu.Lock()
	c.clean = append(c.clean, dirty...)
	c.mu.Unlock()
}

// newLarge maps a large page of its own. The caller has made room for it.
func (c *Cache) newLarge(size int) *frame {
	f := c.newFrame()
	if f == nil {
		return nil
	}
	mem, err := offheap.Alloc(size)
	if err != nil {
		c.dismiss(f)
		return nil
	}
	f.class = uint8(c.largeClass())
	f.place.Store(placeLarge)
	c.largeMu.Lock()
	c.large[f.id] = mem
	c.largeMu.Unlock()
	c.use(int64(size))
	return f
}

// freeLarge unmaps a large page whose frame is free and in no queue.
func (c *Cache) freeLarge(f *frame) {
	c.largeMu.Lock()
	mem := c.large[f.id]
	delete(c.large, f.id)
	c.largeMu.Unlock()
	offheap.Free(mem)
	c.use(-int64(len(mem)))
	c.dismiss(f)
}
