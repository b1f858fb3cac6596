package memtable

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// EntryOverhead is the most bytes of the arena, averaged over a generation,
// that an entry takes beside its key and value:
//
//	record or version header    24
//	alignment                    7
//	leaf: 192 for 7 inserts     28  (a leaf splits when 14 have become 15, and
//	                                 the halves have 7 and 8)
//	inner: 512 for 7 splits     13  (likewise, with the levels above)
//	index                       16
//
// An overwritten key needs neither tree nor index.
const EntryOverhead = recordSize + 7 + 28 + 13 + indexBytesPerKey

// fixedOverhead is what a generation needs beside what was reserved: the first
// nodes, a root for each level, and room for the amortization to start.
const fixedOverhead = 16 << 10

// maxPartitions is set by the hash bits that choose one.
const maxPartitions = 1 << partitionBits

// MaxPrefix is how much longer than a user's key a key may be here: those who
// share a memtable tell their keys apart by what they put before them.
const MaxPrefix = 8

const maxKeySize = base.MaxKeySize + MaxPrefix

// EntryBound is the most that an entry can take from a reservation.
func EntryBound(keyLen, valueLen int) int64 { return int64(EntryOverhead + keyLen + valueLen) }

// Options says how large a generation is.
type Options struct {
	// Capacity is how many bytes Reserve hands out, at most MaxCapacity.
	Capacity int64
	// Partitions is how many locks writers share: a power of two, 1 to 64.
	Partitions int
}

// Generation is one memtable.
type Generation struct {
	capacity   int64       // immutable
	mask       uint64      // immutable; partitions - 1
	partitions []partition // immutable slice
	ranges     rangedel.Set
	hints      hints
	arena      arena
	tree       tree
	writers    writers

	_        [lineSize]byte
	reserved atomic.Int64
	_        [lineSize - 8]byte
}

// New makes an empty generation. The error is that of the system refusing
// memory, or base.ErrInvalidOptions.
func New(o Options) (*Generation, error) {
	if o.Partitions < 1 || o.Partitions > maxPartitions || bits.OnesCount(uint(o.Partitions)) != 1 {
		return nil, fmt.Errorf("%w: %d memtable partitions", base.ErrInvalidOptions, o.Partitions)
	}
	if o.Capacity < 0 || o.Capacity > MaxCapacity {
		return nil, fmt.Errorf("%w: memtable of %d bytes", base.ErrInvalidOptions, o.Capacity)
	}
	g := &Generation{
		capacity:   o.Capacity,
		mask:       uint64(o.Partitions - 1),
		partitions: make([]partition, o.Partitions),
	}
	total := o.Capacity + fixedOverhead + int64(o.Partitions)*indexFixed
	if err := g.arena.init(int(total)); err != nil {
		return nil, err
	}
	g.tree.init(&g.arena)
	for i := range g.partitions {
		g.partitions[i].init(&g.arena, o.Partitions)
	}
	g.writers.init()
	return g, nil
}

// maxArena is what refs can reach and int can count.
const maxArena = min(32<<30, int64(^uint(0)>>1)) - 64

// MaxCapacity is the largest Options.Capacity, with any number of partitions.
const MaxCapacity = maxArena - fixedOverhead - maxPartitions*indexFixed

// Reserve takes n bytes, the sum of EntryBound over the entries to come, out
// of the capacity. It answers false when they do not fit, and then nothing is
// taken.
func (g *Generation) Reserve(n int64) bool {
	for {
		r := g.reserved.Load()
		if n > g.capacity-r {
			return false
		}
		if g.reserved.CompareAndSwap(r, r+n) {
			return true
		}
	}
}

// Add adds an entry, within a reservation and between BeginWrite and EndWrite.
// It copies key and value. hash is base.Hash(key). No two entries of a key have
// the same trailer.
func (g *Generation) Add(key []byte, hash uint64, t base.Trailer, value []byte) {
	g.AddNear(new(Finger), key, hash, t, value)
}

// AddNear is Add for one of a sequence of keys that may be in order.
func (g *Generation) AddNear(f *Finger, key []byte, hash uint64, t base.Trailer, value []byte) {
	if len(key) > maxKeySize || len(value) > base.MaxValueSize {
		panic("memtable: Add of an entry over the limits")
	}
	if invariant.Enabled && hash != base.Hash(key) {
		panic("memtable: Add with a foreign hash")
	}
	p := &g.partitions[hash&g.mask]
	p.mu.Lock()
	p.versions++
	p.newest = max(p.newest, t.Seq())
	at := g.tree.atEnd(key)
	var r ref
	if at.leaf == nil && f.near {
		at, r = g.tree.near(f, key)
		f.near = at.leaf != nil
	}
	if r == 0 && !at.absent {
		r = g.record(p, key, hash)
	}
	if r != 0 {
		g.arena.addVersion(g.arena.record(r), t, value)
	} else {
		if at.leaf == nil {
			// First find the place: this only reads, so the processor does it
			// while the bucket is still on its way from memory. The allocation
			// would make it wait.
			at = g.tree.inside(key)
		}
		r = g.arena.newRecord(key, t, value)
		f.note(at.leaf)
		g.tree.insert(at, r, key)
		p.insert(&g.arena, r, hash)
	}
	p.mu.Unlock()
	invariant.Yield()
	if v := g.ranges.View(); v != nil {
		v.MarkDirty(key, t.Seq())
	}
	g.hints.reuse(key, t.Seq())
}

func (g *Generation) record(p *partition, key []byte, hash uint64) ref {
	r := p.lookup(&g.arena, key, hash)
	if r == 0 && p.spilled.Load() {
		r = g.tree.find(key)
	}
	return r
}

// Get is the newest version of a key that a read at sequence s sees, whatever
// its kind. The value lies in the arena: it is valid as long as the
// generation, and must not be written to.
func (g *Generation) Get(key []byte, hash uint64, s base.SeqNum) (t base.Trailer, value []byte, ok bool) {
	p := &g.partitions[hash&g.mask]
	r := g.record(p, key, hash)
	if r == 0 {
		return 0, nil, false
	}
	rec := g.arena.record(r)
	newest := g.arena.newestOf(rec)
	limit := base.SeekTrailer(s)
	v := g.arena.version(newest)
	if v.trailer > limit {
		if v = g.arena.atMost(newest, limit); v == nil {
			return 0, nil, false
		}
	}
	return v.trailer, rec.value(v), true
}

// Prefetch asks memory for what Get or Add will need first. Called some 100 ns
// ahead, as when a batch is applied or while a commit waits for its turn, it
// saves them a cache miss.
func (g *Generation) Prefetch(hash uint64) {
	p := &g.partitions[hash&g.mask]
	state := p.state.Load()
	prefetchLine(unsafe.Pointer(g.arena.bucket(state, bucketOf(hash, uint32(state)))))
}

// NewIter makes an iterator over what a read at sequence s sees.
func (g *Generation) NewIter(s base.SeqNum) *Iter {
	i := new(Iter)
	i.Init(g, s)
	return i
}

// NewAllIter makes an iterator over every version.
func (g *Generation) NewAllIter() *Iter {
	i := new(Iter)
	i.InitAll(g)
	return i
}

// Len is the number of entries. Range tombstones are none.
func (g *Generation) Len() int {
	n := 0
	for i := range g.partitions {
		p := &g.partitions[i]
		p.mu.Lock()
		n += p.versions
		p.mu.Unlock()
	}
	return n
}

// Empty reports whether nothing was added.
func (g *Generation) Empty() bool {
	return g.arena.bottom.Load() == 1<<wordShift && g.ranges.View() == nil
}

// Bytes is how much of the capacity is reserved.
func (g *Generation) Bytes() int64 { return g.reserved.Load() }

// MemBytes is the address space taken, reserved or not: the charge on the
// memory budget.
func (g *Generation) MemBytes() int { return int(g.arena.size) }

// Free gives the memory back. No caller may use the generation, its iterators or
// any slice that came from them, any more.
func (g *Generation) Free() { g.arena.free() }
