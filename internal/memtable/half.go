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

// fixedOverhead is what a half needs besides reservations: the first nodes, a
// root for each level, and slack until averages hold.
const fixedOverhead = 16 << 10

// maxPartitions is set by the number of hash bits that choose a partition.
const maxPartitions = 1 << partitionBits

// maxKeySize is the size of the longest key with its prefix.
const maxKeySize = base.MaxKeySize + prefixSize

// EntryBound returns the most that an entry can take from a reservation.
func EntryBound(keyLen, valueLen int) int64 { return int64(EntryOverhead + keyLen + valueLen) }

// Options are the sizes of a memtable.
type Options struct {
	// Capacity is how many bytes can be reserved, at most MaxCapacity.
	Capacity int64
	// Partitions is how many locks the writers share: a power of two, 1 to 64.
	Partitions int
}

// half is one ordered set of entries, with all their versions.
type half struct {
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

// newHalf returns an empty half. Its error is base.ErrInvalidOptions, or the
// system's if that has no memory.
func newHalf(o Options) (*half, error) {
	if o.Partitions < 1 || o.Partitions > maxPartitions || bits.OnesCount(uint(o.Partitions)) != 1 {
		return nil, fmt.Errorf("%w: %d memtable partitions: want a power of two from 1 to 64", base.ErrInvalidOptions, o.Partitions)
	}
	if o.Capacity < 0 || o.Capacity > MaxCapacity {
		return nil, fmt.Errorf("%w: memtable capacity of %d bytes: want at most %d", base.ErrInvalidOptions, o.Capacity, int64(MaxCapacity))
	}
	h := &half{
		capacity:   o.Capacity,
		mask:       uint64(o.Partitions - 1),
		partitions: make([]partition, o.Partitions),
	}
	total := o.Capacity + fixedOverhead + int64(o.Partitions)*indexFixed
	if err := h.arena.init(int(total)); err != nil {
		return nil, err
	}
	h.tree.init(&h.arena)
	for i := range h.partitions {
		h.partitions[i].init(&h.arena, o.Partitions)
	}
	h.writers.init()
	return h, nil
}

// maxArena is what refs can reach and an int can count.
const maxArena = min(32<<30, int64(^uint(0)>>1)) - 64

// MaxCapacity is the largest Options.Capacity, with any number of partitions.
const MaxCapacity = maxArena - fixedOverhead - maxPartitions*indexFixed

// Reserve takes n bytes, the sum of EntryBound over the entries to come, from
// the capacity. If they do not fit it takes nothing and returns false.
func (h *half) Reserve(n int64) bool {
	for {
		r := h.reserved.Load()
		if n > h.capacity-r {
			return false
		}
		if h.reserved.CompareAndSwap(r, r+n) {
			return true
		}
	}
}

// Add adds an entry, within a reservation and between BeginWrite and EndWrite.
// It copies key and value. hash is base.Hash(key). No two entries of a key may
// have the same trailer.
func (h *half) Add(key []byte, hash uint64, t base.Trailer, value []byte) {
	h.AddNear(new(Finger), key, hash, t, value)
}

// AddNear is Add for a key of a sequence that may be ascending.
func (h *half) AddNear(f *Finger, key []byte, hash uint64, t base.Trailer, value []byte) {
	if len(key) > maxKeySize || len(value) > base.MaxValueSize {
		panic("memtable: Add of an entry over the limits")
	}
	if invariant.Enabled && hash != base.Hash(key) {
		panic("memtable: Add with a foreign hash")
	}
	p := &h.partitions[hash&h.mask]
	p.mu.Lock()
	p.versions++
	p.newest = max(p.newest, t.Seq())
	at := h.tree.atEnd(key)
	var r ref
	if at.leaf == nil && f.near {
		at, r = h.tree.near(f, key)
		f.near = at.leaf != nil
	}
	if r == 0 && !at.absent {
		r = h.record(p, key, hash)
	}
	if r != 0 {
		h.arena.addVersion(h.arena.record(r), t, value)
	} else {
		if at.leaf == nil {
			// Find the leaf first: that only reads, so the processor does it
			// while the bucket is still on its way from memory. An allocation
			// would make it wait.
			at = h.tree.inside(key)
		}
		r = h.arena.newRecord(key, t, value)
		f.note(at.leaf)
		h.tree.insert(at, r, key)
		p.insert(&h.arena, r, hash)
	}
	p.mu.Unlock()
	invariant.Yield()
	if v := h.ranges.View(); v != nil {
		v.MarkDirty(key, t.Seq())
	}
	h.hints.reuse(key, t.Seq())
}

func (h *half) record(p *partition, key []byte, hash uint64) ref {
	r := p.lookup(&h.arena, key, hash)
	if r == 0 && p.spilled.Load() {
		r = h.tree.find(key)
	}
	return r
}

// Get returns the newest version of a key visible at sequence s, of whatever
// kind. The value is in the arena: it is valid as long as the half, and must
// not be written to.
func (h *half) Get(key []byte, hash uint64, s base.SeqNum) (t base.Trailer, value []byte, ok bool) {
	p := &h.partitions[hash&h.mask]
	r := h.record(p, key, hash)
	if r == 0 {
		return 0, nil, false
	}
	rec := h.arena.record(r)
	newest := h.arena.newestOf(rec)
	limit := base.SeekTrailer(s)
	v := h.arena.version(newest)
	if v.trailer > limit {
		if v = h.arena.atMost(newest, limit); v == nil {
			return 0, nil, false
		}
	}
	return v.trailer, rec.value(v), true
}

// Prefetch prefetches what Get or Add will need first. Called some 100 ns
// ahead, as while a batch is applied or a commit waits for its turn, it saves
// them a cache miss.
func (h *half) Prefetch(hash uint64) {
	p := &h.partitions[hash&h.mask]
	state := p.state.Load()
	prefetchLine(unsafe.Pointer(h.arena.bucket(state, bucketOf(hash, uint32(state)))))
}

// Len returns the number of entries, not counting range tombstones.
func (h *half) Len() int {
	n := 0
	for i := range h.partitions {
		p := &h.partitions[i]
		p.mu.Lock()
		n += p.versions
		p.mu.Unlock()
	}
	return n
}

// Empty reports whether nothing was added.
func (h *half) Empty() bool {
	return h.arena.bottom.Load() == 1<<wordShift && h.ranges.View() == nil
}

// Bytes returns how much of the capacity is reserved.
func (h *half) Bytes() int64 { return h.reserved.Load() }

// MemBytes returns the address space taken, reserved or not, which is charged
// to the memory budget.
func (h *half) MemBytes() int { return int(h.arena.size) }

// Free frees the memory. The half, its iterators and slices from them must not
// be used any more.
func (h *half) Free() { h.arena.free() }
