//go:build unix && !solaris && !aix && !race

package offheap

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/seerdb-go/seerdb/internal/invariant"
)

var mapped atomic.Int64

// Mapped returns the number of bytes now allocated and not yet freed.
func Mapped() int64 { return mapped.Load() }

// Alloc returns n zeroed bytes, page aligned. It panics if n <= 0, a bug of the
// caller, and returns an error if the system has no memory.
func Alloc(n int) ([]byte, error) {
	if n <= 0 {
		panic("offheap: Alloc of a non-positive size")
	}
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("seerdb: cannot map %d bytes of memory: %w", n, err)
	}
	mapped.Add(int64(n))
	adviseHuge(b)
	return b, nil
}

// Free frees b, which must be exactly what Alloc returned.
func Free(b []byte) {
	if b == nil {
		return
	}
	mapped.Add(-int64(len(b)))
	if invariant.Enabled {
		quarantine(b)
		return
	}
	_ = unix.Munmap(b)
}

// Footprint returns the memory that Alloc of n bytes takes once all of it was
// used.
func Footprint(n int) int64 { return (int64(n) + pageSize - 1) &^ (pageSize - 1) }

// pageSize is the page size of the system, a power of two.
var pageSize = int64(unix.Getpagesize())

// maxFreed bounds the address ranges in quarantine: each may cost the process
// one of the 65530 mappings that Linux allows by default.
const maxFreed = 4096

var freed struct {
	mu     sync.Mutex
	ranges [][]byte // guarded by mu; a ring once it holds maxFreed
	oldest int      // guarded by mu
}

// quarantine keeps the address range of b and makes it inaccessible, so that a
// stale reader faults and does not see the bytes of another owner. The memory
// itself goes back to the system. When the ring is full the newest range
// replaces the oldest.
func quarantine(b []byte) {
	_ = unix.Madvise(b, unix.MADV_DONTNEED)
	_ = unix.Mprotect(b, unix.PROT_NONE)
	freed.mu.Lock()
	defer freed.mu.Unlock()
	if len(freed.ranges) < maxFreed {
		freed.ranges = append(freed.ranges, b)
		return
	}
	_ = unix.Munmap(freed.ranges[freed.oldest])
	freed.ranges[freed.oldest] = b
	freed.oldest = (freed.oldest + 1) % maxFreed
}

// Discard returns the memory behind b, a page-aligned part of what Alloc
// returned, to the system. b stays usable; its contents become arbitrary.
func Discard(b []byte) {
	if len(b) > 0 {
		discard(b)
	}
}
