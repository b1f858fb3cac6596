package memtable

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// The nodes of the tree.
//
//	leaf   ctl u64 | heads 14 x u64 | refs 14 x u32 | version u32 | skip u32 | lo u32 | hi u32   192 bytes
//	inner  ctl u64 | heads 14 x u64 | refs 14 x u32 | children 14 x u32 | skip u32 | lo u32 | hi u32   256 bytes
//
// A slot holds a ref to a record and the head of its key: 8 bytes from offset
// skip, big-endian, padded with zeros. All keys of a node lie between its
// fences lo and hi, so they agree in their first skip bytes when the fences do,
// and heads begin where keys begin to differ. Equal heads are told apart by
// the keys themselves.
//
// Slots are unsorted. The word ctl says how many are in use and, in nibbles,
// in which order; those after come the free ones (the permutation of Masstree:
// Mao, Kohler, Morris, EuroSys 2012). An insert fills a free slot and then
// publishes by one store of ctl, which also unlocks the leaf.
//
// In an inner node slot i leads to the keys from its own up to the next; the
// first one's own key counts as minus infinity.
const (
	fanout = 14

	countMask  = 0xf
	lockedBit  = 1 << 4 // leaf: a writer has it
	frozenBit  = 1 << 5 // inner: replaced by two others
	permShift  = 8
	nibbleBits = 4

	// emptyCtl is the identity permutation with nothing in use.
	emptyCtl = 0xdcba9876543210 << permShift

	// splitAt is how many entries a full node keeps when it splits.
	splitAt = fanout / 2
)

type slots struct {
	ctl   atomic.Uint64
	heads [fanout]atomic.Uint64
	refs  [fanout]atomic.Uint32
}

type leaf struct {
	slots
	version atomic.Uint32 // number of splits
	skip    uint32        // immutable
	lo      ref           // immutable; 0 is minus infinity
	hi      atomic.Uint32 // 0 is infinity; shrinks at a split
}

// inner is changed under the tree's lock only. At a split it is replaced, so
// that the new nodes can have a longer skip; it is then frozen.
type inner struct {
	slots
	children [fanout]atomic.Uint32 // by slot, like refs
	skip     uint32                // immutable
	lo, hi   ref                   // immutable
}

const (
	leafSize  = (int(unsafe.Sizeof(leaf{})) + lineSize - 1) &^ (lineSize - 1)
	innerSize = (int(unsafe.Sizeof(inner{})) + lineSize - 1) &^ (lineSize - 1)
)

func (a *arena) leaf(r ref) *leaf   { return (*leaf)(a.at(r)) }
func (a *arena) inner(r ref) *inner { return (*inner)(a.at(r)) }

func countOf(ctl uint64) int { return int(ctl & countMask) }

// slotAt is the slot of the entry at a sorted position, or, from the count on,
// a free one.
func slotAt(ctl uint64, pos int) int {
	return int(ctl >> (permShift + nibbleBits*uint(pos)) & 0xf)
}

// withInserted moves the first free slot to a sorted position and counts it.
// The flags are cleared.
func withInserted(ctl uint64, pos int) uint64 {
	n := uint(countOf(ctl))
	perm := ctl >> permShift
	at, end := nibbleBits*uint(pos), nibbleBits*n
	low := perm & (1<<at - 1)
	mid := perm & (1<<end - 1) >> at
	free := perm >> end & 0xf
	high := perm >> (end + nibbleBits) << (end + nibbleBits)
	perm = high | mid<<(at+nibbleBits) | free<<at | low
	return perm<<permShift | uint64(n+1)
}

// headAt is the head at a slot. The slot comes from a ctl, so it is in range.
func (s *slots) headAt(slot int) uint64 {
	p := unsafe.Add(unsafe.Pointer(&s.heads), uintptr(slot)*8)
	return (*atomic.Uint64)(p).Load()
}

// rank counts the entries whose head is less than h.
func (s *slots) rank(ctl uint64, h uint64) int {
	perm := ctl >> permShift
	var less uint64
	for range countOf(ctl) {
		_, borrow := bits.Sub64(s.headAt(int(perm&0xf)), h, 0)
		less += borrow
		perm >>= nibbleBits
	}
	return int(less)
}

// search is the number of entries from position first on that come before key
// (at orBefore: or are equal to it), plus first. The key lies within the
// fences of the node, whose skip is given.
func (s *slots) search(a *arena, ctl uint64, first int, key []byte, skip int, orEqual bool) int {
	h := headOf(key, skip)
	lo := max(s.rank(ctl, h), first)
	n := countOf(ctl)
	if lo >= n || s.headAt(slotAt(ctl, lo)) != h {
		return lo
	}
	return s.searchTies(a, ctl, lo, h, key, skip, orEqual)
}

// searchTies goes on among entries with the head of the key, from position lo.
func (s *slots) searchTies(a *arena, ctl uint64, lo int, h uint64, key []byte, skip int, orEqual bool) int {
	hi := lo + 1
	for n := countOf(ctl); hi < n && s.headAt(slotAt(ctl, hi)) == h; hi++ {
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		k := a.key(ref(s.refs[slotAt(ctl, mid)].Load()))
		c := bytes.Compare(k[skip:], key[skip:])
		if c < 0 || c == 0 && orEqual {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// headOf is 8 bytes of the key from skip on, padded with zeros.
func headOf(key []byte, skip int) uint64 {
	if len(key)-skip >= 8 {
		return binary.BigEndian.Uint64(key[skip:])
	}
	var b [8]byte
	copy(b[:], key[min(skip, len(key)):])
	return binary.BigEndian.Uint64(b[:])
}

// commonPrefix is how many leading bytes two fences share. A missing fence is
// an infinity and shares none.
func (a *arena) commonPrefix(lo, hi ref) int {
	if lo == 0 || hi == 0 {
		return 0
	}
	x, y := a.key(lo), a.key(hi)
	n := min(len(x), len(y))
	for i := range n {
		if x[i] != y[i] {
			return i
		}
	}
	return n
}
