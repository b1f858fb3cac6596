package cache

import (
	"math"
	"slices"

	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/offheap"
)

const (
	slotAlign  = 64 // a slot begins on a cache line
	minSlot    = 512
	minSlots   = 4 // in a slab; larger pages get a mapping of their own
	placeLarge = math.MaxUint32
	// frameBytes is what a slot costs besides itself: its frame and its number
	// in the slab's list.
	frameBytes = 64 + 4
)

// class is all the slots of one size, or all large pages.
type class struct {
	slot    int // bytes; 0 for large pages; immutable
	perSlab int // immutable

	// guarded by mu
	slabs             int
	free, small, main queue
	age               uint32 // average residence of what left the small queue, in units of Cache.now
	lastInsert        uint32
	returned          uint32 // pages that came back as ghosts since the class last got a slab
}

type slab struct {
	class  int       // -1 for none
	frames []frameID // one for each slot
}

// makeClasses makes the classes, smallest slots first and that of large pages
// last, and the table that leads from a length, in units of slotAlign rounded
// up, to the class. Classes are those numbers of slots that divide a slab with
// little left over, so that memory is lost only between the steps: at eight
// slots an eighth, from ten slots on a tenth at most.
func makeClasses(slabSize int) (cs []class, bySize []uint8) {
	for n := minSlots; slabSize/n >= minSlot; n += max(n/10, 1) {
		slot := slabSize / n &^ (slotAlign - 1)
		if len(cs) == 0 || slot < cs[len(cs)-1].slot {
			cs = append(cs, class{slot: slot, perSlab: slabSize / slot})
		}
	}
	slices.Reverse(cs)
	for units, ci := 0, 0; ci < len(cs); units++ {
		if units*slotAlign > cs[ci].slot {
			ci++
		}
		bySize = append(bySize, uint8(ci))
	}
	return append(cs, class{}), bySize[:len(bySize)-1]
}

// classOf is the class for pages of size bytes, which fit a slot.
func (c *Cache) classOf(size int) int { return int(c.bySize[(size+slotAlign-1)/slotAlign]) }

// maxSlot is the largest page that shares a slab with others.
func (c *Cache) maxSlot() int { return c.slabSize / minSlots }

func (c *Cache) largeClass() int { return len(c.classes) - 1 }

// slotBytes is the memory of a place other than a large one.
func (c *Cache) slotBytes(place uint64) []byte {
	at, n := uint64(uint32(place))*slotAlign, int(place>>32)
	o := int(at & (1<<c.regionShift - 1))
	return c.regions[at>>c.regionShift][o : o+n : o+n]
}

// bytes is the page of a frame that the caller has pinned or seized.
func (c *Cache) bytes(f *frame) []byte {
	p := f.place.Load()
	if uint32(p) != placeLarge {
		return c.slotBytes(p)
	}
	c.largeMu.RLock()
	b := c.large[f.id]
	c.largeMu.RUnlock()
	return b[: p>>32 : p>>32]
}

// slabCost is what one more slab of a class takes, with its frames.
func (c *Cache) slabCost(ci int) int64 {
	frames := max(c.classes[ci].perSlab-c.spares, 0)
	chunks := (frames + frameChunk - 1) / frameChunk
	return int64(c.slabSize) + int64(chunks)*frameChunk*frameBytes
}

// newFrame takes a frame that belongs to no slab. Called with mu held.
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

// newSlab takes a slab of no class, one that holds memory first.
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
			return 0, false // the system has no more: live with what there is
		}
		c.regions[r] = mem
	}
	c.slabs = append(c.slabs, slab{class: -1})
	return uint32(n), true
}

// slabBytes is the memory of a slab.
func (c *Cache) slabBytes(s uint32) []byte {
	at := int64(s) * int64(c.slabSize)
	o := int(at & (1<<c.regionShift - 1))
	return c.regions[at>>c.regionShift][o : o+c.slabSize : o+c.slabSize]
}

// unlockAndDiscard gives the memory of slabs that belong to no class back to
// the system, outside the lock, and unlocks.
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

// newLarge makes room for a large page in a mapping of its own.
func (c *Cache) newLarge(size int) *frame {
	if int64(size) > c.budget/8 || !c.reclaim(int64(size)+frameChunk*frameBytes) {
		return nil
	}
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

// checkUnpinned panics if a page is pinned: its reader would read freed memory.
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
