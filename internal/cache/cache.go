package cache

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
)

// Options shape a Cache.
type Options struct {
	// Budget is the number of bytes that pages, the cache's own metadata and
	// all charges may take together. If it is zero or less the cache keeps
	// nothing, and every Acquire returns a private buffer.
	Budget int64
}

// Cache is a page cache. Safe for concurrent use.
type Cache struct {
	// immutable after New
	budget      int64
	slabSize    int
	regionShift uint // a region is 1<<regionShift bytes
	maxSlabs    int
	bySize      []uint8 // class of a page, by its length

	index atomic.Pointer[table] // changed with mu held
	used  atomic.Int64          // bytes of slabs in classes, large pages and metadata; changed with mu held
	hits  atomic.Uint64         // without those still counted in frames

	charged [NumKinds]atomic.Int64
	others  atomic.Int64 // sum of charged
	private atomic.Int64 // bytes of private buffers in use

	// A chunk is allocated and entered here with mu held, before any frame in
	// it can be pinned, so readers with a pin need no lock.
	chunks  []*[frameChunk]frame
	regions [][]byte

	largeMu sync.RWMutex
	large   map[frameID][]byte // guarded by largeMu; changed with mu held too

	mu      sync.Mutex
	classes []class                   // guarded by mu; the last is that of large pages
	slabs   []slab                    // guarded by mu
	clean   []uint32                  // guarded by mu: slabs of no class whose memory was given back
	dirty   []uint32                  // guarded by mu: slabs of no class that still have memory
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
	// slabsPerBudget makes slabs small enough that all page sizes in use get
	// some.
	slabsPerBudget = 128
	// ghostPerBytes is the budget for each remembered fingerprint: one for each
	// page of 8 KiB. Twice as many gained one point in a hundred of the hit
	// ratio on skewed reads.
	ghostPerBytes = 8 << 10
	// maxBudget is the largest budget whose slots frame.place can address.
	maxBudget = int64(placeLarge) * slotAlign
)

// counters are what Stats counts under the lock.
type counters struct {
	misses, inserts, evictions, waits, privates uint64
	pages                                       int
	bytes                                       int64
}

// New returns an empty cache. It allocates memory for pages as they come.
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

// ceilPow2 returns the smallest power of two >= n, at least 1.
func ceilPow2(n int64) int {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len64(uint64(n-1))
}

// use adds n, which may be negative, to the memory that the cache itself takes.
func (c *Cache) use(n int64) { c.used.Add(n) }

// room returns how many bytes the cache may still take. If it is negative the
// cache must shrink.
func (c *Cache) room() int64 {
	return c.budget - c.others.Load() - c.used.Load() - c.private.Load()
}
