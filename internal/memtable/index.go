package memtable

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// The hash index of a partition maps keys to records. It is a linear hash table
// (Litwin, VLDB 1980) of buckets of one cache line, which grows by one bucket
// at a time: it never pauses to rehash everything and leaves no old table
// behind in an arena that cannot free memory. Bucket n+1 is split off one older
// bucket. Buckets are reached through a directory of segments.
//
//	directory  ref of segment 0 | of segment 1 | ...       (doubled when full)
//	segment    segmentBuckets buckets
//	bucket     12 tags of one byte | ref of an overflow bucket | 12 slots
//	slot       ref | next bits of the hash, in what an arena of this size leaves free
//
// A tag is 8 bits of the hash, never 0, which marks a free slot. A lookup
// compares the tags in registers and touches a record only when one matches,
// so a miss costs one cache line and in 3 % of cases a second.
//
// A split needs one more bit of each hash. Slots keep some bits, those of the
// last splits before the arena is full; keys are hashed again only for the
// first splits, when the table is small and in the cache. (Hashing them at
// every split was a fifth of an insert, for the misses on cold records.)
//
// Readers take no lock. A record present throughout a lookup stays in its slot,
// unless its bucket is split. A split copies it to the new bucket, publishes
// the new number of buckets, then clears the old slots. So a reader that finds
// nothing checks whether its key now belongs to another bucket, and if so tries
// again.
//
// The index is only a shortcut to the tree. If an adversary makes hashes
// collide until the index would take more memory than its share, it leaves keys
// out and sets spilled; lookups that miss then ask the tree.

const (
	bucketSlots    = 12
	bucketSize     = lineSize
	segmentBuckets = 8
	segmentSize    = segmentBuckets * bucketSize
	firstDirectory = lineSize / 4 // refs in the first directory: one line

	// bucketLoad is the average number of keys in a bucket. While buckets are
	// being split, those not yet split hold up to twice as many as the others,
	// so 6 means 6 to 12 of the 12 slots.
	bucketLoad = 6

	// indexBytesPerKey bounds the index memory per key: a bucket for bucketLoad
	// keys (10.7), its share of the directory and of outgrown directories
	// (0.4), and overflow buckets. Random keys need 11.5 in all.
	indexBytesPerKey = 16

	// indexFixed is the size of the index of an empty partition, with room for
	// a directory that has just doubled.
	indexFixed = segmentSize + firstDirectory*4 + 3*lineSize
)

// EntryOverhead is the most bytes of the arena, averaged over a half, that an
// entry takes besides its key and value:
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

// The bits of a hash, from the bottom: partition, bucket, ..., tag.
const (
	partitionBits = 6
	tagShift      = 56
)

type bucket struct {
	tags0 atomic.Uint64 // tags of slots 0..7, slot 0 lowest
	tags1 atomic.Uint32 // tags of slots 8..11
	next  atomic.Uint32 // ref of the overflow bucket
	slots [bucketSlots]atomic.Uint32
}

// slotLayout is how slots of an arena are packed.
type slotLayout struct {
	refBits  int    // bits of a ref
	firstBit uint32 // the lowest bucket bit of the hash that is kept
	keptBits uint32 // how many bits are kept
	kept     uint32 // mask for these bits
}

// maxKeptBits bounds the kept bits: eight doublings before the arena is full,
// the table is a 256th of its last size.
const maxKeptBits = 8

func makeSlotLayout(arenaSize uint64, partitions int) slotLayout {
	refBits := bits.Len64(arenaSize >> wordShift)
	kept := min(32-refBits, maxKeptBits)
	maxKeys := arenaSize / uint64(EntryOverhead) / uint64(partitions)
	levels := bits.Len64(maxKeys / bucketLoad)
	return slotLayout{refBits, uint32(max(levels-kept, 0)), uint32(kept), 1<<kept - 1}
}

func (s *slotLayout) pack(r ref, hash uint64) uint32 {
	return uint32(r) | (uint32(hash>>partitionBits)>>s.firstBit&s.kept)<<s.refBits
}

func (s *slotLayout) ref(slot uint32) ref { return ref(slot & (1<<s.refBits - 1)) }

// partition holds the keys with one value of the low hash bits.
type partition struct {
	mu       sync.Mutex    // held while a key of the partition is written
	state    atomic.Uint64 // ref of the directory <<32 | number of buckets
	spilled  atomic.Bool   // some keys are only in the tree
	keys     int           // guarded by mu
	versions int           // guarded by mu
	newest   base.SeqNum   // guarded by mu; of all versions
	memory   int           // guarded by mu; bytes of the index, directories included
	dirLen   int           // guarded by mu; refs that fit the directory
	moves    []uint16      // guarded by mu; scratch of split
	layout   slotLayout    // immutable
	_        [lineSize]byte
}

func (p *partition) init(a *arena, partitions int) {
	p.layout = makeSlotLayout(a.size, partitions)
	dir := a.allocBlock(firstDirectory * 4)
	p.dirLen = firstDirectory
	a.directory(dir, 0).Store(uint32(a.allocBlock(segmentSize)))
	p.memory = firstDirectory*4 + segmentSize
	publish64(&p.state, uint64(dir)<<32|1)
}

func (a *arena) directory(dir ref, i uint32) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Add(a.at(dir), uintptr(i)*4))
}

func tagOf(hash uint64) uint8 { return max(uint8(hash>>tagShift), 1) }

// bucketOf returns the number of the bucket of a hash when there are n.
func bucketOf(hash uint64, n uint32) uint32 {
	mask := uint32(1)<<bits.Len32(n-1) - 1
	b := uint32(hash>>partitionBits) & mask
	if b >= n {
		b &= mask >> 1
	}
	return b
}

// bucket returns the address of bucket number b.
func (a *arena) bucket(state uint64, b uint32) *bucket {
	return (*bucket)(a.at(a.bucketRef(state, b)))
}

func (a *arena) bucketRef(state uint64, b uint32) ref {
	seg := ref(a.directory(ref(state>>32), b/segmentBuckets).Load())
	return seg + ref(b%segmentBuckets*bucketSize>>wordShift)
}

// lookup returns the record of a key, or 0. Any goroutine may call it.
func (p *partition) lookup(a *arena, key []byte, hash uint64) ref {
	state := p.state.Load()
	for {
		b := bucketOf(hash, uint32(state))
		invariant.Yield()
		if r := p.searchChain(a, a.bucket(state, b), tagOf(hash), key); r != 0 {
			return r
		}
		again := p.state.Load()
		if again == state || bucketOf(hash, uint32(again)) == b {
			return 0
		}
		state = again
	}
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// zeroBytes has the high bit set in every byte of x that is zero, and perhaps
// in bytes above one; callers check each match.
func zeroBytes(x uint64) uint64 { return (x - lowBits) &^ x & highBits }

// searchChain looks for a key in a bucket and its overflow buckets.
func (p *partition) searchChain(a *arena, b *bucket, tag uint8, key []byte) ref {
	want := uint64(tag) * lowBits
	for {
		for m := zeroBytes(b.tags0.Load() ^ want); m != 0; m &= m - 1 {
			r := p.layout.ref(b.slots[bits.TrailingZeros64(m)>>3&7].Load())
			if r != 0 && a.equalKey(r, key) {
				return r
			}
		}
		// The upper half is all ones, so that it never matches.
		for m := zeroBytes(uint64(b.tags1.Load()) ^ want&(1<<32-1) | ^uint64(1<<32-1)); m != 0; m &= m - 1 {
			r := p.layout.ref(b.slots[8+bits.TrailingZeros64(m)>>3&3].Load())
			if r != 0 && a.equalKey(r, key) {
				return r
			}
		}
		next := ref(b.next.Load())
		if next == 0 {
			return 0
		}
		b = (*bucket)(a.at(next))
	}
}

// insert adds a record whose key is not in the index. The caller holds mu.
func (p *partition) insert(a *arena, r ref, hash uint64) {
	p.keys++
	n := uint32(p.state.Load())
	if p.keys > bucketLoad*int(n) {
		p.split(a, n)
	}
	state := p.state.Load()
	p.put(a, a.bucket(state, bucketOf(hash, uint32(state))), tagOf(hash), p.layout.pack(r, hash))
	if n := uint32(state); p.keys == bucketLoad*int(n) {
		p.prefetchSplit(a, n)
	}
}

// prefetchSplit prefetches what the next insert, which makes bucket n, will
// need. Otherwise that waits for two cache misses, a fifth of an ascending
// insert.
func (p *partition) prefetchSplit(a *arena, n uint32) {
	state := p.state.Load()
	prefetchLine(unsafe.Pointer(a.bucket(state, splitFrom(n))))
	if n%segmentBuckets != 0 {
		prefetchLine(unsafe.Pointer(a.bucket(state, n)))
	}
}

// splitFrom returns the bucket that bucket n is split off from.
func splitFrom(n uint32) uint32 { return n &^ (1 << (bits.Len32(n) - 1)) }

// put writes a slot, the first free one of a chain, and then its tag.
func (p *partition) put(a *arena, b *bucket, tag uint8, slot uint32) {
	for {
		if m := zeroBytes(b.tags0.Load()); m != 0 {
			i := bits.TrailingZeros64(m) >> 3 & 7
			publish32(&b.slots[i], slot)
			invariant.Yield()
			publish64(&b.tags0, b.tags0.Load()|uint64(tag)<<(8*i))
			return
		}
		if m := zeroBytes(uint64(b.tags1.Load()) | ^uint64(1<<32-1)); m != 0 {
			i := bits.TrailingZeros64(m) >> 3 & 3
			publish32(&b.slots[8+i], slot)
			invariant.Yield()
			publish32(&b.tags1, b.tags1.Load()|uint32(tag)<<(8*i))
			return
		}
		if b.next.Load() == 0 {
			if !p.afford(bucketSize) {
				p.spilled.Store(true)
				return
			}
			publish32(&b.next, uint32(a.allocBlock(bucketSize)))
		}
		b = (*bucket)(a.at(ref(b.next.Load())))
	}
}

// afford counts n more bytes of index memory if they are within the share of
// the current keys.
func (p *partition) afford(n int) bool {
	if p.memory+n > indexFixed+indexBytesPerKey*p.keys {
		return false
	}
	p.memory += n
	return true
}

// split makes bucket n out of the keys of one older bucket that belong there
// once there are n+1 buckets.
func (p *partition) split(a *arena, n uint32) {
	if !p.growDirectory(a, n) {
		return
	}
	state := p.state.Load()
	from := a.bucket(state, splitFrom(n))
	to := a.bucket(state, n)
	p.moves = p.moves[:0]
	for b := from; b != nil; b = a.overflow(b) {
		moves := p.leaving(a, b, n)
		p.moves = append(p.moves, moves)
		for ; moves != 0; moves &= moves - 1 {
			slot := bits.TrailingZeros16(moves)
			p.put(a, to, b.tag(slot), b.slots[slot].Load())
		}
	}
	invariant.Yield()
	publish64(&p.state, state+1)
	invariant.Yield()
	b := from
	for _, moves := range p.moves {
		for ; moves != 0; moves &= moves - 1 {
			b.clear(bits.TrailingZeros16(moves))
		}
		b = a.overflow(b)
	}
}

// leaving returns, as bits, the slots of b whose keys belong into bucket n once
// there are n+1 buckets: those whose hash has a one where n has its highest
// bit.
func (p *partition) leaving(a *arena, b *bucket, n uint32) (moves uint16) {
	bit := uint32(bits.Len32(n)) - 1
	used := b.used()
	if bit-p.layout.firstBit < p.layout.keptBits {
		// No branch: it would be taken at random, half of the time.
		shift := uint32(p.layout.refBits) + bit - p.layout.firstBit
		for i := range bucketSlots {
			moves |= uint16(b.slots[i].Load()>>(shift&31)&1) << i
		}
		return moves & used
	}
	for ; used != 0; used &= used - 1 {
		i := bits.TrailingZeros16(used)
		hash := base.Hash(a.key(p.layout.ref(b.slots[i].Load())))
		moves |= uint16(hash>>(partitionBits+bit)&1) << i
	}
	return moves
}

// growDirectory ensures that bucket n exists, empty.
func (p *partition) growDirectory(a *arena, n uint32) bool {
	if n%segmentBuckets != 0 {
		return true
	}
	seg := n / segmentBuckets
	if int(seg) == p.dirLen {
		if !p.afford(2 * p.dirLen * 4) {
			return false
		}
		old := p.state.Load()
		dir := a.allocBlock(2 * p.dirLen * 4)
		for i := range seg {
			a.directory(dir, i).Store(a.directory(ref(old>>32), i).Load())
		}
		p.dirLen *= 2
		publish64(&p.state, uint64(dir)<<32|uint64(n))
	}
	if !p.afford(segmentSize) {
		return false
	}
	a.directory(ref(p.state.Load()>>32), seg).Store(uint32(a.allocBlock(segmentSize)))
	return true
}

func (a *arena) overflow(b *bucket) *bucket {
	if next := ref(b.next.Load()); next != 0 {
		return (*bucket)(a.at(next))
	}
	return nil
}

// used returns, as bits, the slots that have a tag.
func (b *bucket) used() uint16 {
	return uint16(byteBits(b.tags0.Load())) | uint16(byteBits(uint64(b.tags1.Load())))<<8
}

// byteBits has a bit for each byte of x that is not zero.
func byteBits(x uint64) uint8 {
	x = ((x&^highBits + ^uint64(highBits)) | x) & highBits // the high bit of such bytes
	return uint8(x >> 7 * 0x0102040810204080 >> 56)
}

func (b *bucket) tag(i int) uint8 {
	if i < 8 {
		return uint8(b.tags0.Load() >> (8 * i))
	}
	return uint8(b.tags1.Load() >> (8 * (i - 8)))
}

func (b *bucket) clear(i int) {
	if i < 8 {
		publish64(&b.tags0, b.tags0.Load()&^(0xff<<(8*i)))
	} else {
		publish32(&b.tags1, b.tags1.Load()&^(0xff<<(8*(i-8))))
	}
}
