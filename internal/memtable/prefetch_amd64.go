package memtable

import "unsafe"

// prefetch prefetches the first two cache lines at each of n refs. Unlike
// loads, prefetches do not stall the instructions after them.
//
//go:noescape
func prefetch(base unsafe.Pointer, refs *ref, n int)

// prefetchLine prefetches the cache line at p.
//
//go:noescape
func prefetchLine(p unsafe.Pointer)
