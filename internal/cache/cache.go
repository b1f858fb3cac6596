package cache

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
)

// Options shape a Cache.
type Options struct {
	// Budget is the memory, in bytes, that pages, the cache's own metadata and
	// everything charged may take together. Zero or less caches nothing: every
	// Acquire gets a private buffer.
	Budget int64
}

// Cache is a page cache. Safe for concurrent use.
type Cache struct {
	// immutable after New
	budget      int64
	slabSize    int
	regionShift uint // a region is 1<<regionShift bytes
	maxSlabs    int
	bySize      []uint8 // class of a page by its length

	index atomic.Pointer[table] // changed with mu held
	used  atomic.Int64          // bytes of slabs in classes, large pages and metadata; changed with mu held
	hits  atomic.Uint64         // but for those still counted in frames

	charged [NumKinds]atomic.Int64
	others  atomic.Int64 // sum of charged
	private atomic.Int64 // bytes of private buffers that are out

	// An entry is written once, with mu held, before any frame that leads to it
	// can be pinned, so readers with a pin need no lock.
	chunks  []*[frameChunk]frame
	regions [][]byte

	largeMu sync.RWMutex
	large   map[frameID][]byte // guarded by largeMu; changed with mu held too

	mu      sync.Mutex
	classes []class                   // guarded by mu; the last is that of large pages
	slabs   []slab                    // guarded by mu
	clean   []uint32                  // guarded by mu: slabs of no class that hold no memory
	dirty   []uint32                  // guarded by mu: slabs of no class that still hold memory
	spare   frameID                   // guarded by mu: frames of no slab, linked by next
	spares  int                       // guarded by mu: length of that list
	frames  int                       // guarded by mu: frames ever made
	files   map[uint64]frameID        // guarded by mu: first page of each file
	waiters map[frameID]chan struct{} // guarded by mu: closed when a fill ends
	ghosts  ghosts                    // guarded by mu
	clock   int64                     // guarded by mu: bytes of pages ever inserted
	buffers [][]byte                  // guarded by mu: private buffers for reuse
	closed  bool                      // guarded by mu
	count   counters                  // guarded by mu
}

const (
	minSlab   = 32 << 10
	maxSlab   = 1 << 20
	maxRegion = 64 << 20
	// slabsPerBudget keeps enough slabs to share among the sizes in use.
	slabsPerBudget = 128
	// ghostPerBytes is the budget for which one evicted page is remembered: as
	// many as there are pages of 8 KiB. Twice as many cost one point in a
	// hundred of the hit ratio on skewed reads.
	ghostPerBytes = 8 << 10
	// maxBudget is where frame.place ends.
	maxBudget = int64(placeLarge) * slotAlign
)

// counters are what Stats counts under the lock.
type counters struct {
	misses, inserts, evictions, waits, privates uint64
	pages                                       int
	bytes                                       int64
}

// New makes a cache. It takes memory only as pages come.
func New(o Options) *Cache {
	c := &Cache{
		budget:  min(max(o.Budget, 0), maxBudget, math.MaxInt/2),
		large:   map[frameID][]byte{},
		files:   map[uint64]frameID{},
		waiters: map[frameID]chan struct{}{},
	}
	c.slabSize = min(max(ceilPow2(c.budget/slabsPerBudget), minSlab), maxSlab)
	region := min(max(ceilPow2(c.budget), c.slabSize), maxRegion)
	c.regionShift = uint(bits.TrailingZeros(uint(region)))
	nRegions := int((c.budget + int64(region) - 1) / int64(region))
	c.regions = make([][]byte, nRegions)
	c.maxSlabs = nRegions * (region / c.slabSize)
	c.chunks = make([]*[frameChunk]frame, c.budget/minSlot/frameChunk+2)
	c.classes, c.bySize = makeClasses(c.slabSize)
	c.ghosts = make(ghosts, ceilPow2(c.budget/ghostPerBytes/4))
	t := newTable(ceilPow2(c.budget / (16 << 10) / bucketEntries))
	c.index.Store(t)
	c.use(t.bytes() + int64(len(c.chunks))*8 + int64(len(c.ghosts))*16)
	return c
}

// ceilPow2 is the smallest power of two >= n, at least 1.
func ceilPow2(n int64) int {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len64(uint64(n-1))
}

// use accounts n bytes more, or less, of the cache's own memory.
func (c *Cache) use(n int64) { c.used.Add(n) }

// room is how many bytes the cache may still take; below zero it must shrink.
func (c *Cache) room() int64 {
	return c.budget - c.others.Load() - c.used.Load() - c.private.Load()
}
