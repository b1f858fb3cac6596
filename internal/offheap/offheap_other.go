//go:build !unix || solaris || aix || race

package offheap

import "sync/atomic"

var mapped atomic.Int64

// Mapped returns the number of bytes now allocated and not yet freed.
func Mapped() int64 { return mapped.Load() }

// Alloc returns n zeroed bytes. It panics on n <= 0, a bug of the caller.
func Alloc(n int) ([]byte, error) {
	if n <= 0 {
		panic("offheap: Alloc of a non-positive size")
	}
	mapped.Add(int64(n))
	return make([]byte, n), nil
}

// Free frees b, which must be exactly what Alloc returned.
func Free(b []byte) { mapped.Add(-int64(len(b))) }

// Discard returns the memory behind b, a page-aligned part of what Alloc
// returned, to the system. b stays usable; its contents become arbitrary. On
// the Go heap Discard does nothing.
func Discard([]byte) {}

// Footprint returns the memory that Alloc of n bytes takes.
func Footprint(n int) int64 { return int64(n) }
