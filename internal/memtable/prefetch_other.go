//go:build !amd64

package memtable

import (
	"sync/atomic"
	"unsafe"
)

// prefetch loads from each of n refs. None of the loads depends on another, so
// memory answers them together.
func prefetch(base unsafe.Pointer, refs *ref, n int) {
	for _, r := range unsafe.Slice(refs, n) {
		(*atomic.Uint32)(unsafe.Add(base, uintptr(r)<<wordShift)).Load()
	}
}

// prefetchLine loads from p.
func prefetchLine(p unsafe.Pointer) { (*atomic.Uint32)(p).Load() }
