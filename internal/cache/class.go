package cache

import (
	"math"
	"slices"
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
