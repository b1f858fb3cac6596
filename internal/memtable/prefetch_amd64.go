package memtable

import "unsafe"

// prefetch asks for the first two cache lines at each of n refs. Unlike loads,
// prefetches do not hold up what comes after them.
//
//go:noescape
func prefetch(base unsafe.Pointer, refs *ref, n int)

// prefetchLine asks for the cache line at p.
//
//go:noescape
func prefetchLine(p unsafe.Pointer)
