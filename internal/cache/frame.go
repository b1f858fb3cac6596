package cache

import (
	"math/bits"
	"sync/atomic"
)

// Key names a page. File comes from NewFileID, Off is where the page begins.
type Key struct {
	File uint64
	Off  uint64
}

var lastFileID atomic.Uint64

// NewFileID is a number that no other open file of this process has or will
// have. Pages of a file that was removed can so never answer for another.
func NewFileID() uint64 { return lastFileID.Add(1) }

// hash spreads File and Off over 64 bits: the high half chooses the bucket,
// the low half is the tag.
func (k Key) hash() uint64 {
	hi, lo := bits.Mul64(k.Off^0x9e3779b97f4a7c15, k.File*0xbf58476d1ce4e5b9|1)
	x := (hi ^ lo) * 0x94d049bb133111eb
	return x ^ x>>31
}

// The state of a frame, one atomic word:
//
//	bit   0..19  pins
//	bit  20      ready: the key is set, the bytes are filled, readers may pin
//	bit  21      filling: one caller owns the bytes
//	bit  22      waiting: a reader waits for the fill to end
//	bit  23..24  heat: hits since it was last aged, at most 3
//	bit  25..33  hits that are not yet in the cache's total
//	bit  34..63  generation: grows whenever the frame stops being ready
//
// A frame that is neither ready nor filling is free. Only the holder of
// Cache.mu makes a ready frame unready, by a compare-and-swap that succeeds
// only without pins.
const (
	pinOne     = uint64(1)
	pinMask    = uint64(1<<20 - 1)
	pinMax     = pinMask - 1 // one is left to see an underflow
	ready      = uint64(1) << 20
	filling    = uint64(1) << 21
	waiting    = uint64(1) << 22
	heatOne    = uint64(1) << 23
	heatMask   = uint64(3) << 23
	hitOne     = uint64(1) << 25
	hitMask    = uint64(1<<9-1) << 25
	generation = uint64(1) << 34
)

func heat(s uint64) int    { return int(s & heatMask / heatOne) }
func hits(s uint64) uint64 { return s & hitMask / hitOne }

// frameID numbers frames from 1; 0 is none.
type frameID uint32

// frame is one slot's metadata: one cache line, without pointers, so that the
// collector does not look into it. Frames are on the Go heap (0.8 % of the pages'
// size at 8 KiB) because the race detector is blind outside it.
type frame struct {
	state atomic.Uint64
	// The key. Written by the holder of mu while the frame is free.
	file, off atomic.Uint64
	// place<<32 is the length of the page; the low half is where the slot is, in
	// units of slotAlign, or placeLarge for an own mapping. Written by the
	// holder of mu while the frame is free.
	place atomic.Uint64
	id    frameID // immutable
	// guarded by mu
	next, prev         frameID // in the queue
	fileNext, filePrev frameID // pages of the same file
	born               uint32  // Cache.now when it entered its queue
	slab               uint32
	class              uint8
	queue              queueName
	scanned            bool // filled by a scan
}

// frameChunk is how many frames are allocated at once.
const frameChunk = 256

type queueName uint8

const (
	queueNone queueName = iota // taken out, or never assigned
	queueFree
	queueSmall
	queueMain
)

// frame returns a frame by its number.
func (c *Cache) frame(id frameID) *frame {
	return &c.chunks[id/frameChunk][id%frameChunk]
}

// pin pins f if it holds k now, counts the hit and, if asked, heats the page. It
// returns the page, or nil if f does not hold k or has pins to the limit.
//
// Everything that leads to the bytes is loaded before the swap: a swap is a
// barrier, and what comes after it would wait (a random hit of a thousand pages
// took 56 ns that way when it took 43 this way, side by side on a busy machine).
func (c *Cache) pin(f *frame, k Key, heats bool) []byte {
	for {
		s := f.state.Load()
		if s&ready == 0 || f.file.Load() != k.File || f.off.Load() != k.Off || s&pinMask == pinMax {
			return nil
		}
		p := f.place.Load()
		var b []byte
		if uint32(p) != placeLarge {
			b = c.slotBytes(p)
		}
		n := s + pinOne + hitOne
		if heats && s&heatMask != heatMask {
			n += heatOne
		}
		full := s&hitMask == hitMask
		if full {
			n &^= hitMask // hitOne carried into the generation, which may grow
		}
		// The generation in s makes sure that the frame has held, all the time
		// from the load of s to the swap, what was compared and loaded between.
		if f.state.CompareAndSwap(s, n) {
			if full {
				c.hits.Add(hits(s) + 1)
			}
			if b == nil {
				b = c.bytes(f)
			}
			return b
		}
	}
}

// seize makes a ready frame without pins free, and reports whether it could.
// Called with mu held.
func (c *Cache) seize(f *frame) bool {
	for {
		s := f.state.Load()
		if s&ready == 0 || s&pinMask != 0 {
			return false
		}
		if f.state.CompareAndSwap(s, s&^(generation-1)+generation) {
			c.hits.Add(hits(s))
			return true
		}
	}
}

// age takes one unit of heat. Called with mu held.
func (f *frame) age() {
	for {
		s := f.state.Load()
		if s&heatMask == 0 || f.state.CompareAndSwap(s, s-heatOne) {
			return
		}
	}
}

// cool takes all heat. Called with mu held.
func (f *frame) cool() {
	for {
		s := f.state.Load()
		if f.state.CompareAndSwap(s, s&^heatMask) {
			return
		}
	}
}

// size is the length of the page in f.
func (f *frame) size() int { return int(f.place.Load() >> 32) }
