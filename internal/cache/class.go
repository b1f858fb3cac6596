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
	// frameBytes is the overhead of a slot: its frame and its number in the
	// slab's list.
	frameBytes = 64 + 4
)

// class holds all slots of one size, or all large pages.
type class struct {
	slot    int // bytes; 0 for large pages; immutable
	perSlab int // immutable

	// guarded by mu
	slabs             int
	free, small, main queue
	age               uint32 // average residence in the small queue, in units of Cache.now
	lastInsert        uint32
	returned          uint32 // pages that came back as ghosts since the class last got a slab
}

type slab struct {
	class  int       // -1 for none
	frames []frameID // one for each slot
}

// makeClasses returns the classes, by ascending slot size and with large pages
// last, and the table that maps a length, in units of slotAlign rounded up, to
// a class. There is one class for each number of slots that divides a slab with
// little left over, so the waste is only the step between two classes: an
// eighth at eight slots, at most a tenth from ten slots on.
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
