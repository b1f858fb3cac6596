//go:build amd64 && !race

package memtable

import (
	"sync/atomic"
	"unsafe"
)

// Stores that lock-free readers see. sync/atomic has only sequentially
// consistent ones, which on amd64 are XCHG: each waits until the store buffer
// is empty, that is, until the cold lines of the record just written have
// arrived. These stores need only release order, which amd64 gives every plain
// store: other processors see stores in program order, and the compiler keeps
// the order of stores to memory that it cannot tell apart. An insert made nine
// such stores; as XCHG they were a third of its time.

func publish32(p *atomic.Uint32, v uint32) { *(*uint32)(unsafe.Pointer(p)) = v }

func publish64(p *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(p)) = v }
