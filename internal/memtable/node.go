package memtable

import (
	"bytes"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/seerdb-go/seerdb/internal/base"
)

// The nodes of the tree.
//
//	leaf   ctl u64 | version u32 | skip u32 | heads 14 x u64 | refs 14 x u32 | lo u32 | hi u32
//	inner  ctl u64 | level u32   | skip u32 | heads 14 x u64 | children 14 x u32 | lo u32 | hi u32 | refs 14 x u32
//
// A search reads the first two cache lines, and one more to continue from
// there. (An inner node has a fourth, which is read only when heads are equal.)
//
// A slot holds a ref to a record and the head of its key: 8 bytes from offset
// skip, big-endian, padded with zeros. All keys of a node are between its
// fences lo and hi, so they share their first skip bytes if the fences do, and
// heads begin where keys begin to differ. Keys with equal heads are compared in
// full.
//
// Slots are unsorted. The word ctl has the number of slots in use and, in
// nibbles, their order, followed by the free slots (the permutation of
// Masstree: Mao, Kohler, Morris, EuroSys 2012). An insert fills a free slot and
// then publishes by one store of ctl, which also unlocks the leaf.
//
// In an inner node slot i leads to the keys from its own up to the next slot's;
// the first key counts as minus infinity.
const (
	fanout = 14

	countMask  = 0xf
	lockedBit  = 1 << 4 // leaf: a writer holds it
	frozenBit  = 1 << 5 // inner: two others replaced it
	permShift  = 8
	nibbleBits = 4

	// emptyCtl is the identity permutation with no slot in use.
	emptyCtl = 0xdcba9876543210 << permShift

	// splitAt is how many entries a full node keeps in a split.
	splitAt = fanout / 2
)

// slots is the beginning of both kinds of nodes.
type slots struct {
	ctl     atomic.Uint64
	version atomic.Uint32 // leaf: number of splits
	skip    uint32        // immutable
	heads   [fanout]atomic.Uint64
}

type leaf struct {
	slots
	refs   [fanout]atomic.Uint32 // by slot, like heads
	lo, hi atomic.Uint32         // fences; 0 is infinity; splits narrow them
}

// inner is changed only under the tree's lock. A split replaces it, so that the
// new nodes can have a longer skip, and freezes it.
type inner struct {
	slots
	children [fanout]atomic.Uint32 // by slot
	lo, hi   ref                   // immutable
	refs     [fanout]atomic.Uint32 // by slot
}

const (
	leafSize  = (int(unsafe.Sizeof(leaf{})) + lineSize - 1) &^ (lineSize - 1)
	innerSize = (int(unsafe.Sizeof(inner{})) + lineSize - 1) &^ (lineSize - 1)
)

func (a *arena) leaf(r ref) *leaf   { return (*leaf)(a.at(r)) }
func (a *arena) inner(r ref) *inner { return (*inner)(a.at(r)) }

func countOf(ctl uint64) int { return int(ctl & countMask) }

// slotAt returns the slot of the entry at a sorted position; from the count on,
// a free slot.
func slotAt(ctl uint64, pos int) int {
	return int(ctl >> (permShift + nibbleBits*uint(pos)) & 0xf)
}

// withInserted moves the first free slot to a sorted position, counts it, and
// clears the flags.
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

// withoutFirst frees the slots of the first n entries of a full leaf, and
// clears the flags.
func withoutFirst(ctl uint64, n int) uint64 {
	perm := ctl >> permShift
	at := nibbleBits * uint(n)
	perm = perm>>at | perm&(1<<at-1)<<(nibbleBits*fanout-at)
	return perm<<permShift | uint64(fanout-n)
}

// headAt returns the head at a slot, which is in range because it comes from a
// ctl.
func (s *slots) headAt(slot int) uint64 {
	p := unsafe.Add(unsafe.Pointer(&s.heads), uintptr(slot)*8)
	return (*atomic.Uint64)(p).Load()
}

// sorted writes the refs of the entries, in order, to refs and returns their
// number.
func (l *leaf) sorted(ctl uint64, refs *[fanout]ref) int {
	perm := ctl >> permShift
	n := countOf(ctl)
	for pos := range n {
		refs[pos] = ref(l.refs[perm&0xf].Load())
		perm >>= nibbleBits
	}
	return n
}

// search returns the number of entries before key, which is within the fences
// of the leaf.
func (l *leaf) search(a *arena, ctl uint64, key []byte) int {
	h := base.HeadFrom(key, int(l.skip))
	pos := l.rank(ctl, h)
	if pos < countOf(ctl) && l.headAt(slotAt(ctl, pos)) == h {
		pos = l.searchTies(a, &l.refs, ctl, pos, key, false)
	}
	return pos
}

// rank returns the number of entries whose head is less than h.
func (l *leaf) rank(ctl, h uint64) int {
	perm := ctl >> permShift
	var less uint64
	for range countOf(ctl) {
		_, borrow := bits.Sub64(l.headAt(int(perm&0xf)), h, 0)
		less += borrow
		perm >>= nibbleBits
	}
	return int(less)
}

// route returns the position of the last child whose keys begin at or before
// key; for toBefore, before key.
func (n *inner) route(a *arena, ctl uint64, key []byte, to target) int {
	switch to {
	case toFirst:
		return 0
	case toLast:
		return countOf(ctl) - 1
	}
	h := base.HeadFrom(key, int(n.skip))
	pos := max(n.rank(ctl, h), 1)
	if pos < countOf(ctl) && n.headAt(slotAt(ctl, pos)) == h {
		pos = n.searchTies(a, &n.refs, ctl, pos, key, to == toKey)
	}
	return pos - 1
}

// rank returns the number of entries whose head is less than h. Slots of an
// inner node are filled in turn and never freed, so those in use are the first
// ones, and counting needs neither the permutation nor a branch.
func (n *inner) rank(ctl, h uint64) int {
	var less uint64
	for slot := range fanout {
		_, borrow := bits.Sub64(n.heads[slot].Load(), h, 0)
		less |= borrow << slot
	}
	return bits.OnesCount64(less & (1<<countOf(ctl) - 1))
}

// searchTies continues a search at position lo, the first with the key's head.
// It passes the keys less than key and, if orEqual, key itself.
func (s *slots) searchTies(a *arena, refs *[fanout]atomic.Uint32, ctl uint64, lo int, key []byte, orEqual bool) int {
	skip := int(s.skip)
	h := base.HeadFrom(key, skip)
	hi := lo + 1
	for n := countOf(ctl); hi < n && s.headAt(slotAt(ctl, hi)) == h; hi++ {
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		k := a.key(ref(refs[slotAt(ctl, mid)].Load()))
		c := bytes.Compare(k[skip:], key[skip:])
		if c < 0 || c == 0 && orEqual {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// commonPrefix returns how many leading bytes two fences share. A missing fence
// is infinity and shares none.
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

// target is where a descent goes.
type target uint8

const (
	toKey    target = iota // the leaf that has, or would get, the key
	toBefore               // the leaf of the last keys before the key
	toFirst
	toLast
)
