package sstable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/learned"
)

// index maps a key to its page. It is used as it is in the file: resident
// columns of little-endian numbers, with nothing to decode.
//
// A segment is one or more consecutive pages with one separator, a key s such
// that everything before the segment is less than s and nothing in it is. A
// segment is either a fence, a single page, or has a model that maps a key to
// one of its pages. An index of fences only is the classical one; a table uses
// both, each where it is smaller.
//
//	 0  u32 pages       4  u32 segments    8  u32 models   12  u32 extensions
//	16  u32 length of the prefix          20  u32 length of the heap
//	24  u32 length of the codes           28  u8 width of a residual: 2, 4, 8
//	29  u8 width of a raw length: 0, 2, 4 30  u16 zero
//	32  heads        segments * u64       separators, 8 bytes after the prefix
//	    model bits   words * u64          which segments have a model,
//	    model ranks  words * u32            and how many do before this word
//	    models       models * 32 bytes
//	    ext bits     words * u64          which separators are more than a head
//	    ext ranks    words * u32
//	    ext offsets  (extensions+1) * u32 into the heap
//	    anchors      (pages/32+2) * u64   offset of every 32nd page
//	    residuals    (pages+1) * width    what the line between anchors misses
//	    raw lengths  pages * width        of pages as stored in memory; 0: not compressed
//	    codes        each: u8 length, description
//	    prefix       what all keys of the table begin with
//	    heap         extensions and model prefixes
//
// words is segments/64 rounded up, or 0 if there are no models (or no
// extensions) at all, so that an index of fences pays nothing for models.
//
// A model: u64 X0, u64 slope, u32 pages beyond one of all models before it, u32
// and u32 offset and length in the heap of what its keys share after the
// table's prefix, u8 code (0: raw), u8 shift, u16 zero.
//
// An extension: u8, whose low 4 bits are the length of the head and whose bit 4
// says that a u64 trailer follows; then the rest of the separator. A separator
// needs none if it has at most 8 bytes after the prefix and its last byte is
// not zero: then no key with an equal zero-padded head is less.
type index struct {
	// Immutable after openIndex. The slices point into the table's metadata.
	pages, segments, models, exts int
	prefix                        []byte
	heads                         []byte
	modelBits, modelRanks, model  []byte
	extBits, extRanks, extOffs    []byte
	anchors, residuals, rawLens   []byte
	heap                          []byte
	residualWidth, rawWidth       int
	codes                         []*learned.Code // codes[0] is nil: raw
}

const (
	indexHeaderSize = 32
	modelSize       = 32
	anchorShift     = 5 // pages per anchor, as a power of two
	anchorMask      = 1<<anchorShift - 1
	extTrailer      = 0x10
	noHint          = -1
)

var le = binary.LittleEndian

// find returns the page of (key, t): no entry of an earlier page is at or after
// it, and no entry of a later page is before it. hint is the approximate
// position on the page, as a fraction of 2^31, or noHint.
func (x *index) find(key []byte, t base.Trailer) (page, hint int) {
	rest := key
	if n := len(x.prefix); n != 0 {
		if len(key) < n || string(key[:n]) != string(x.prefix) {
			if bytes.Compare(key, x.prefix) < 0 {
				return 0, noHint
			}
			return x.pages - 1, noHint
		}
		rest = key[n:]
	}
	h := base.Head(rest)
	seg := x.lastHead(h)
	if x.exts != 0 && le.Uint64(x.heads[seg*8:]) == h {
		seg = x.tie(seg, h, rest, t)
	}
	if x.models == 0 {
		return seg, noHint
	}
	word, bit := seg>>6, uint64(1)<<(seg&63)
	set := le.Uint64(x.modelBits[word*8:])
	rank := int(le.Uint32(x.modelRanks[word*4:])) + bits.OnesCount64(set&(bit-1))
	first := seg + x.extraBefore(rank)
	if set&bit == 0 {
		return first, noHint
	}
	return x.predict(rank, first, key)
}

// predict returns the page and hint of model m, whose segment begins at page
// first.
func (x *index) predict(m, first int, key []byte) (page, hint int) {
	b := x.model[m*modelSize : m*modelSize+modelSize : m*modelSize+modelSize]
	last := first + x.extraBefore(m+1) - x.extraBefore(m)
	from := len(x.prefix)
	if n := int(le.Uint32(b[24:])); n != 0 {
		off := int(le.Uint32(b[20:]))
		shared := x.heap[off : off+n]
		if len(key) < from+n || string(key[from:from+n]) != string(shared) {
			if bytes.Compare(key[from:], shared) < 0 {
				return first, noHint
			}
			return last, noHint
		}
		from += n
	}
	line := learned.Model{X0: le.Uint64(b), Slope: le.Uint64(b[8:]), Shift: b[29]}
	pos := line.Position(x.codes[b[28]].Number(key, from))
	if pos>>32 > uint64(last-first) {
		return last, noHint
	}
	return first + int(pos>>32), int(uint32(pos) >> 1)
}

// extraBefore returns how many pages beyond one each the models before m have
// in total.
func (x *index) extraBefore(m int) int {
	if m >= x.models {
		return x.pages - x.segments
	}
	return int(le.Uint32(x.model[m*modelSize+16:]))
}

// lastHead returns the last segment whose head is <= h. There is one, since the
// first segment's head is 0. The direction of a step is a coin toss, so it is
// computed by arithmetic and not by a branch.
func (x *index) lastHead(h uint64) int {
	seg, n := 0, x.segments
	for n > 1 {
		half := int(uint(n) / 2)
		_, above := bits.Sub64(h, le.Uint64(x.heads[(seg+half)*8:]), 0)
		seg += half & (int(above) - 1)
		n -= half
	}
	return seg
}

// tie returns, among the segments with head h, the last of which is seg, the
// last one whose separator is at or before (prefix + rest, t). If there is none
// it returns the segment before them.
func (x *index) tie(seg int, h uint64, rest []byte, t base.Trailer) int {
	if x.separatorAtMost(seg, rest, t) {
		return seg
	}
	lo, hi := 0, seg // hi is too large; lo has a head < h, or is not too large
	if h != 0 {
		lo = x.lastHead(h - 1)
	}
	for lo+1 < hi {
		if m := int(uint(lo+hi) / 2); x.separatorAtMost(m, rest, t) {
			lo = m
		} else {
			hi = m
		}
	}
	return lo
}

// separatorAtMost reports whether the separator of a segment is at or before a
// key with the same head.
func (x *index) separatorAtMost(seg int, rest []byte, t base.Trailer) bool {
	word, bit := seg>>6, uint64(1)<<(seg&63)
	set := le.Uint64(x.extBits[word*8:])
	if set&bit == 0 {
		return true
	}
	e := int(le.Uint32(x.extRanks[word*4:])) + bits.OnesCount64(set&(bit-1))
	a, b := le.Uint32(x.extOffs[e*4:]), le.Uint32(x.extOffs[e*4+4:])
	return compareExtension(x.heap[a:b], rest, t) <= 0
}

func compareExtension(ext, rest []byte, t base.Trailer) int {
	hl, tl := int(ext[0]&15), min(len(rest), 8)
	if hl != tl {
		return hl - tl
	}
	st, tail := base.TrailerMax, ext[1:]
	if ext[0]&extTrailer != 0 {
		st, tail = base.Trailer(le.Uint64(tail)), tail[8:]
	}
	return base.Compare(tail, st, rest[tl:], t)
}

// offset returns the offset of page i; offset(pages) is the end of the last
// page.
func (x *index) offset(i int) int64 {
	k, j := i>>anchorShift, uint64(i&anchorMask)
	a, b := le.Uint64(x.anchors[k*8:]), le.Uint64(x.anchors[k*8+8:])
	return int64(a+(b-a)*j>>anchorShift) + x.residual(i)
}

func (x *index) residual(i int) int64 {
	switch x.residualWidth {
	case 2:
		return int64(int16(le.Uint16(x.residuals[i*2:])))
	case 4:
		return int64(int32(le.Uint32(x.residuals[i*4:])))
	}
	return int64(le.Uint64(x.residuals[i*8:]))
}

// extent returns the offset and length of page i: offset twice, mostly from one
// pair of anchors.
func (x *index) extent(i int) (off int64, stored int) {
	k, j := i>>anchorShift, uint64(i&anchorMask)
	if j == anchorMask {
		off = x.offset(i)
		return off, int(x.offset(i+1) - off)
	}
	w := x.anchors[k*8 : k*8+16]
	a := le.Uint64(w)
	d := (le.Uint64(w[8:]) - a) * j
	off = int64(a+d>>anchorShift) + x.residual(i)
	next := int64(a+(d+le.Uint64(w[8:])-a)>>anchorShift) + x.residual(i+1)
	return off, int(next - off)
}

// rawLen returns the length of page i before compression, or 0 if it is not
// compressed.
func (x *index) rawLen(i int) int {
	switch x.rawWidth {
	case 0:
		return 0
	case 2:
		return int(le.Uint16(x.rawLens[i*2:]))
	}
	return int(le.Uint32(x.rawLens[i*4:]))
}

var errBadIndex = errors.New("the parts of the index contradict each other")

// openIndex returns the index in b, which must describe contiguous pages in the
// first size bytes of the file. It verifies everything that lookups rely on
// without checks.
func openIndex(b []byte, size int64) (*index, error) {
	if len(b) < indexHeaderSize {
		return nil, errBadIndex
	}
	var n [7]int
	for i := range n {
		u := le.Uint32(b[i*4:])
		if uint64(u) > uint64(len(b)) {
			return nil, errBadIndex // each counts things of at least a byte
		}
		n[i] = int(u)
	}
	x := &index{pages: n[0], segments: n[1], models: n[2], exts: n[3], residualWidth: int(b[28]), rawWidth: int(b[29])}
	rw := x.residualWidth
	if x.segments == 0 || x.segments > x.pages || x.models > x.segments || x.exts >= x.segments ||
		rw != 2 && rw != 4 && rw != 8 || x.rawWidth != 0 && x.rawWidth != 2 && x.rawWidth != 4 || b[30]|b[31] != 0 {
		return nil, errBadIndex
	}
	rest, ok := b[indexHeaderSize:], true
	take := func(count, width int) []byte {
		if !ok || uint64(count)*uint64(width) > uint64(len(rest)) {
			ok = false
			return nil
		}
		c := rest[: count*width : count*width]
		rest = rest[count*width:]
		return c
	}
	words := func(count int) int {
		if count == 0 {
			return 0
		}
		return (x.segments + 63) / 64
	}
	offs := 0
	if x.exts != 0 {
		offs = x.exts + 1
	}
	x.heads = take(x.segments, 8)
	x.modelBits, x.modelRanks = take(words(x.models), 8), take(words(x.models), 4)
	x.model = take(x.models, modelSize)
	x.extBits, x.extRanks = take(words(x.exts), 8), take(words(x.exts), 4)
	x.extOffs = take(offs, 4)
	x.anchors = take(x.pages>>anchorShift+2, 8)
	x.residuals = take(x.pages+1, rw)
	x.rawLens = take(x.pages, x.rawWidth)
	codes := take(n[6], 1)
	x.prefix = take(n[4], 1)
	x.heap = take(n[5], 1)
	if !ok || len(rest) != 0 || !x.openCodes(codes) || !x.checkSegments() || !x.checkOffsets(size) {
		return nil, errBadIndex
	}
	return x, nil
}

func (x *index) openCodes(b []byte) bool {
	x.codes = append(x.codes, nil)
	for len(b) > 0 {
		n := int(b[0]) + 1
		if n > len(b) || len(x.codes) == 256 {
			return false
		}
		c, err := learned.DecodeCode(b[1:n])
		if err != nil {
			return false
		}
		x.codes, b = append(x.codes, c), b[n:]
	}
	return true
}

// checkSegments verifies the ranks, the models and the extensions.
func (x *index) checkSegments() bool {
	if le.Uint64(x.heads) != 0 || !checkRanks(x.modelBits, x.modelRanks, x.segments, x.models) ||
		!checkRanks(x.extBits, x.extRanks, x.segments, x.exts) || x.exts > 0 && x.extBits[0]&1 != 0 {
		return false
	}
	for i := 1; i < x.segments; i++ {
		if le.Uint64(x.heads[i*8:]) < le.Uint64(x.heads[i*8-8:]) {
			return false
		}
	}
	if x.models == 0 && x.pages != x.segments || x.models > 0 && x.extraBefore(0) != 0 {
		return false
	}
	for m := range x.models {
		b := x.model[m*modelSize:]
		if x.extraBefore(m+1) < x.extraBefore(m) || int(b[28]) >= len(x.codes) || b[29] > 63 || b[30]|b[31] != 0 ||
			uint64(le.Uint32(b[20:]))+uint64(le.Uint32(b[24:])) > uint64(len(x.heap)) {
			return false
		}
	}
	for e := range x.exts {
		a, b := le.Uint32(x.extOffs[e*4:]), le.Uint32(x.extOffs[e*4+4:])
		if a >= b || uint64(b) > uint64(len(x.heap)) {
			return false
		}
		if f := x.heap[a]; f&15 > 8 || f&^(15|extTrailer) != 0 || f&extTrailer != 0 && b-a < 9 {
			return false
		}
	}
	return true
}

// checkRanks verifies that ranks count the bits of set, and that there are
// total bits, all within the first n.
func checkRanks(set, ranks []byte, n, total int) bool {
	sum := 0
	for i := range len(set) / 8 {
		if int(le.Uint32(ranks[i*4:])) != sum {
			return false
		}
		sum += bits.OnesCount64(le.Uint64(set[i*8:]))
	}
	if k := n & 63; k != 0 && len(set) > 0 && le.Uint64(set[len(set)-8:])>>k != 0 {
		return false
	}
	return sum == total
}

// checkOffsets verifies that the pages fill the first size bytes, in order.
func (x *index) checkOffsets(size int64) bool {
	if x.offset(0) != 0 || x.offset(x.pages) != size {
		return false
	}
	for i, off := 0, int64(0); i < x.pages; i++ {
		next := x.offset(i + 1)
		if next <= off || next > size || next-off < minStoredPage || next-off > maxPageSize ||
			x.rawLen(i) > maxPageSize || int64(x.rawLen(i)) > (next-off)*maxRatio {
			return false
		}
		off = next
	}
	return true
}

// memBytes returns the memory of the index besides its bytes.
func (x *index) memBytes() int64 {
	n := int64(256)
	for _, c := range x.codes {
		if c != nil { // the first, for raw, is nil; a table without entries has none
			n += int64(c.MemBytes())
		}
	}
	return n
}
