package memtable

import (
	"sync/atomic"
	"unsafe"
)

// ref is an offset into an arena in words of 8 bytes, so that 32 bits reach 32
// GiB. Zero is no ref.
type ref uint32

const (
	wordShift = 3
	lineSize  = 64 // bytes in a cache line; blocks are aligned to it
)

// arena allocates from one fixed region at both ends: entries from the bottom,
// aligned to 8 bytes; blocks of whole cache lines (tree nodes, index buckets)
// from the top, where they need no padding and are close together, which helps
// the TLB. Nothing is freed before free. Memory is zero when it is allocated.
type arena struct {
	// immutable after init
	mem  []byte
	base unsafe.Pointer
	size uint64

	_      [lineSize]byte
	bottom atomic.Uint64 // bytes allocated from the bottom
	_      [lineSize - 8]byte
	top    atomic.Uint64 // bytes allocated from the top
	_      [lineSize - 8]byte
}

// init maps a region of at least size bytes.
func (a *arena) init(size int) error {
	size = (size + lineSize - 1) &^ (lineSize - 1)
	mem, err := allocate(size)
	if err != nil {
		return err
	}
	a.mem, a.base, a.size = mem, unsafe.Pointer(unsafe.SliceData(mem)), uint64(size)
	a.bottom.Store(1 << wordShift) // ref 0 stays unused
	return nil
}

func (a *arena) free() {
	release(a.mem)
	a.mem, a.base = nil, nil
}

// at returns the address of a ref.
func (a *arena) at(r ref) unsafe.Pointer { return unsafe.Add(a.base, uintptr(r)<<wordShift) }

// allocEntry allocates n bytes aligned to 8.
func (a *arena) allocEntry(n int) ref {
	size := (uint64(n) + 7) &^ 7
	end := a.bottom.Add(size)
	if end+a.top.Load() > a.size {
		panic("memtable: Add beyond what was reserved")
	}
	return ref((end - size) >> wordShift)
}

// allocBlock allocates n bytes, a multiple of lineSize, aligned to lineSize.
func (a *arena) allocBlock(n int) ref {
	top := a.top.Add(uint64(n))
	if top+a.bottom.Load() > a.size {
		panic("memtable: Add beyond what was reserved")
	}
	return ref((a.size - top) >> wordShift)
}
