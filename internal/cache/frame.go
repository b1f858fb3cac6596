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

// queue is a doubly linked list through the frames, newest at the head.
// Guarded by mu.
type queue struct {
	head, tail frameID
	len        int
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

func (f *frame) key() Key { return Key{File: f.file.Load(), Off: f.off.Load()} }
