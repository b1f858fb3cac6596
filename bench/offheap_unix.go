//go:build unix

package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// offHeap returns n zero values outside the Go heap, all pages resident. The
// harness keeps some 30 bytes a key: on the heap they would lengthen the
// garbage collector's cycle for the engine that is measured, and pages that
// became resident later would count as the engine's memory. T must not contain
// pointers. The memory is never freed.
func offHeap[T any](n int) []T {
	var zero T
	size := n * int(unsafe.Sizeof(zero))
	if size == 0 {
		return nil
	}
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Sprintf("mmap of %d bytes: %v", size, err))
	}
	for i := 0; i < size; i += 4096 {
		b[i] = 0
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}
