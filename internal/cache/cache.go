package cache

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/offheap"
)

// Options shape a Cache.
type Options struct {
	// Budget is the memory, in bytes, that pages, the cache's own metadata and
	// everything charged may take together. Zero or less caches nothing: every
	// Acquire gets a private buffer.
	Budget int64
}

// State says what Acquire found.
type State uint8

// The states of a handle from Acquire.
const (
	Hit  State = iota // the bytes are the page
	Fill              // the caller fills the bytes, then calls Publish or Abort
)

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

// Acquire pins the page k of size bytes.
//
// On Hit the handle's bytes are the page. On Fill they are the caller's alone,
// with arbitrary contents: it fills them and calls Publish, after which the
// handle reads like a Hit, or it calls Abort. Until then others that acquire k
// wait; after an Abort one of them is asked to fill. So a fill must end, and
// the goroutine that fills k must not acquire k again before that.
//
// Pages of one key always have one size; asked for another, Acquire hands out
// a private buffer to fill. scan says that the page is read in passing: it is
// among the first to leave, and finding it again in a scan does not change that.
func (c *Cache) Acquire(k Key, size int, scan bool) (Handle, State) {
	h := k.hash()
	if f, b := c.findAndPin(k, h, !scan); f != nil {
		if len(b) == size {
			return Handle{c: c, f: f, b: b}, Hit
		}
		f.state.Add(^uint64(0))
	}
	return c.acquireSlow(k, h, size, scan)
}

func (c *Cache) acquireSlow(k Key, h uint64, size int, scan bool) (Handle, State) {
	if len(c.regions) == 0 {
		return c.privateHandle(size), Fill
	}
	c.mu.Lock()
	for f := c.find(k, h); f != nil; f = c.find(k, h) {
		if f.size() != size {
			break
		}
		if b := c.pin(f, k, !scan); b != nil {
			c.mu.Unlock()
			return Handle{c: c, f: f, b: b}, Hit
		}
		s := f.state.Load()
		if s&ready != 0 && s&pinMask == pinMax {
			break
		}
		if s&filling != 0 && f.state.CompareAndSwap(s, s|waiting) {
			c.wait(f)
		}
	}
	var f *frame
	if c.find(k, h) == nil {
		f = c.slot(size, h, scan)
	}
	if f == nil {
		c.unlockAndDiscard()
		return c.privateHandle(size), Fill
	}
	f.file.Store(k.File)
	f.off.Store(k.Off)
	f.place.Store(uint64(size)<<32 | uint64(uint32(f.place.Load())))
	f.state.Store(f.state.Load()&^(generation-1) | filling | pinOne)
	c.enter(f)
	c.linkFile(f)
	c.count.misses++
	c.count.inserts++
	c.count.pages++
	c.count.bytes += int64(size)
	c.clock += int64(size)
	c.unlockAndDiscard()
	return Handle{c: c, f: f, b: c.bytes(f)}, Fill
}

// wait sleeps until the fill of f has ended. Called with mu held, which it
// gives up in that time; f.state has the waiting bit, so the goroutine that ends the fill will
// look for the channel.
func (c *Cache) wait(f *frame) {
	ch := c.waiters[f.id]
	if ch == nil {
		ch = make(chan struct{})
		c.waiters[f.id] = ch
	}
	c.count.waits++
	c.mu.Unlock()
	<-ch
	c.mu.Lock()
}

// wake lets the waiters for f go on. Called with mu held.
func (c *Cache) wake(f *frame) {
	if ch := c.waiters[f.id]; ch != nil {
		delete(c.waiters, f.id)
		close(ch)
	}
}

// Drop evicts the pages of a file that will not be read again. Pages that are
// pinned stay until they are evicted in turn.
func (c *Cache) Drop(file uint64) {
	const batch = 256 // at about 100 ns each, what a miss may have to wait
	skipped := 0
	for done := false; !done; {
		c.mu.Lock()
		id := c.files[file]
		for i := 0; i < skipped && id != 0; i++ {
			id = c.frame(id).fileNext
		}
		for i := 0; i < batch && id != 0; i++ {
			f := c.frame(id)
			id = f.fileNext
			if c.seize(f) {
				c.count.evictions++
				c.release(f)
			} else {
				skipped++
			}
		}
		done = id == 0
		c.mu.Unlock()
	}
}

// Close frees all memory. No handle may be in use, nor come into use.
func (c *Cache) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	if invariant.Enabled {
		c.checkUnpinned()
	}
	c.index.Store(newTable(1))
	for _, r := range c.regions {
		if r != nil {
			offheap.Free(r)
		}
	}
	c.largeMu.Lock()
	for _, b := range c.large {
		offheap.Free(b)
	}
	c.large = nil
	c.largeMu.Unlock()
}
