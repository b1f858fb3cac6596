package cache

import (
	"math/bits"
	"sync/atomic"
)

// Key names a page: File comes from NewFileID, Off is where the page begins.
type Key struct {
	File uint64
	Off  uint64
}

var lastFileID atomic.Uint64

// NewFileID returns a number that is unique in this process, so that pages of a
// removed file are never mistaken for those of another.
func NewFileID() uint64 { return lastFileID.Add(1) }

// hash spreads File and Off over 64 bits: the high half chooses the bucket,
// the low half is the tag.
func (k Key) hash() uint64 {
	hi, lo := bits.Mul64(k.Off^0x9e3779b97f4a7c15, k.File*0xbf58476d1ce4e5b9|1)
	x := (hi ^ lo) * 0x94d049bb133111eb
	return x ^ x>>31
}

// The state of a frame is one atomic word:
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
	pinMax     = pinMask - 1 // one less than fits, so that an underflow is seen
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

// frameID numbers frames from 1; 0 means none.
type frameID uint32

// frame is one slot's metadata. It fills one cache line and has no pointers, so
// the collector does not scan it. Frames are on the Go heap (0.8 % of the
// pages' size at 8 KiB) because the race detector is blind outside it.
type frame struct {
	state atomic.Uint64
	// file and off are the key. Written by the holder of mu while the frame is
	// free.
	file, off atomic.Uint64
	// place has the length of the page in its high half. The low half is the
	// slot's position in units of slotAlign, or placeLarge for a mapping of its
	// own. Written by the holder of mu while the frame is free.
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

// frameChunk is how many frames are allocated at a time.
const frameChunk = 256

type queueName uint8

const (
	queueNone queueName = iota // taken out, or never assigned
	queueFree
	queueSmall
	queueMain
)

// queue is a doubly linked list of frames, newest at the head. Guarded by mu.
type queue struct {
	head, tail frameID
	len        int
}

// age reduces the heat by one. Called with mu held.
func (f *frame) age() {
	for {
		s := f.state.Load()
		if s&heatMask == 0 || f.state.CompareAndSwap(s, s-heatOne) {
			return
		}
	}
}

// cool removes all heat. Called with mu held.
func (f *frame) cool() {
	for {
		s := f.state.Load()
		if f.state.CompareAndSwap(s, s&^heatMask) {
			return
		}
	}
}

// size returns the length of the page in f.
func (f *frame) size() int { return int(f.place.Load() >> 32) }

func (f *frame) key() Key { return Key{File: f.file.Load(), Off: f.off.Load()} }
