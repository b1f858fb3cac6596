package filter

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// A binary fuse filter with 8-bit fingerprints (Graf and Lemire, "Binary fuse
// filters: fast and smaller than xor filters", JEA 2022): every key has three
// cells, in three segments that follow each other, and the cells' xor is the
// key's fingerprint. One false positive in 256 for about 9 bits per key, but it
// can only be built once all the keys are known, and a lookup touches three
// cache lines.
//
//	cells      (segments + 2) x segment length, one byte each
//	seed       u64 little-endian, mixed into every hash
//	segments   u32 little-endian, at least 1
//	shift      u8, log2 of the segment length, 2..18
//	kind       u8 = Fuse
const (
	fuseTail     = 8 + 4 + 1 + 1 // bytes after the cells
	fuseMaxShift = 18
	fuseMinShift = 2
	fuseTries    = 32      // seeds tried; one in several hundred fails
	fuseMaxKeys  = 1 << 30 // cells are numbered by 32 bits
)

type fuseParams struct {
	// immutable after Open
	seed  uint64
	span  uint64 // cells that the first of three may be: segments << shift
	mask  uint32 // segment length - 1
	shift uint8
}

// openFuse opens data, which has no kind byte.
func openFuse(data []byte) (Filter, error) {
	cells := len(data) - (fuseTail - 1)
	if cells < 0 {
		return Filter{}, ErrDamaged
	}
	tail := data[cells:]
	segments, shift := uint64(binary.LittleEndian.Uint32(tail[8:])), tail[12]
	if shift < fuseMinShift || shift > fuseMaxShift || segments == 0 || (segments+2)<<shift != uint64(cells) {
		return Filter{}, ErrDamaged
	}
	return Filter{cells: data[:cells:cells], kind: Fuse, fuse: fuseParams{
		seed: binary.LittleEndian.Uint64(tail), span: segments << shift, mask: 1<<shift - 1, shift: shift,
	}}, nil
}

// mixed returns the hash mixed with a seed, by the finalizer of MurmurHash3.
func mixed(h, seed uint64) uint64 {
	h += seed
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// positions returns the three cells of a mixed hash.
func (p *fuseParams) positions(x uint64) (uint32, uint32, uint32) {
	hi, _ := bits.Mul64(x, p.span)
	a := uint32(hi)
	b := a + p.mask + 1
	c := b + p.mask + 1
	return a, b ^ uint32(x>>18)&p.mask, c ^ uint32(x)&p.mask
}

func fingerprint(x uint64) byte { return byte(x ^ x>>32) }

func (p *fuseParams) mayContain(cells []byte, h uint64) bool {
	x := mixed(h, p.seed)
	a, b, c := p.positions(x)
	return fingerprint(x) == cells[a]^cells[b]^cells[c]
}

// fuseShape returns the shape that the authors found for n keys: the longest
// segments for which peeling succeeds, and from 1.125 cells per key for many
// keys to more for few.
func fuseShape(n int) fuseParams {
	size := float64(max(n, 2))
	shift := int(math.Floor(math.Log(size)/math.Log(3.33) + 2.25))
	shift = min(max(shift, fuseMinShift), fuseMaxShift)
	factor := max(1.125, 0.875+0.25*math.Log(1e6)/math.Log(size))
	length := 1 << shift
	segments := (int(math.Round(size*factor))+length-1)/length - 2
	segments = max(segments, 1)
	return fuseParams{span: uint64(segments) << shift, mask: uint32(length - 1), shift: uint8(shift)}
}

func (p *fuseParams) cells() int { return int(p.span) + 2<<p.shift }

// fuseScratch is the working memory of a build: about 30 bytes per key.
type fuseScratch struct {
	sorted []uint64 // mixed hashes in the order of their first cell, then of peeling
	which  []uint8  // for each peeled key, which of its cells it was alone on
	sum    []uint64 // for each cell, the xor of the keys on it
	count  []uint8  // for each cell, 4 times its keys, xor which of their cells it is
	alone  []uint32 // cells with one key
	starts []uint32 // of the runs of sorted
}

// appendFuse builds a filter of distinct hashes; if it finds duplicates it
// removes them. It reports false if no filter can be built.
func (s *fuseScratch) appendFuse(dst []byte, all *[]uint64) ([]byte, bool) {
	hashes := *all
	if len(hashes) == 0 || len(hashes) > fuseMaxKeys {
		return dst, false
	}
	var p fuseParams
	for try := range fuseTries {
		if try == 1 {
			// Equal hashes fail under every seed. They are rare, since Builder
			// drops those in a row, so remove them only after a failure.
			slices.Sort(hashes)
			hashes = slices.Compact(hashes)
			*all = hashes
		}
		p = fuseShape(len(hashes))
		p.seed = mixed(uint64(try), 0x9e3779b97f4a7c15)
		if s.peel(&p, hashes) {
			return s.appendCells(dst, &p), true
		}
	}
	return dst, false
}

// sortByCell fills s.sorted with the mixed hashes, roughly in the order of
// their first cell, so that peeling walks through memory in order.
func (s *fuseScratch) sortByCell(p *fuseParams, hashes []uint64) {
	n := len(hashes)
	s.sorted = slices.Grow(s.sorted[:0], n)[:n]
	runs := max(bits.Len(uint(n))-7, 1) // about a hundred keys in each
	s.starts = slices.Grow(s.starts[:0], 1<<runs+1)[:1<<runs+1]
	clear(s.starts)
	for _, h := range hashes {
		s.starts[mixed(h, p.seed)>>(64-runs)+1]++
	}
	for i := 1; i < len(s.starts); i++ {
		s.starts[i] += s.starts[i-1]
	}
	for _, h := range hashes {
		x := mixed(h, p.seed)
		at := &s.starts[x>>(64-runs)]
		s.sorted[*at] = x
		*at++
	}
}

// peel puts all keys on their cells and repeatedly removes a key that is alone
// on a cell. It succeeds when none is left; s.sorted then holds the keys in
// that order, and s.which the cells.
func (s *fuseScratch) peel(p *fuseParams, hashes []uint64) bool {
	s.sortByCell(p, hashes)
	cells := p.cells()
	s.sum = slices.Grow(s.sum[:0], cells)[:cells]
	s.count = slices.Grow(s.count[:0], cells)[:cells]
	clear(s.sum)
	clear(s.count)
	overflow := false
	for _, x := range s.sorted {
		a, b, c := p.positions(x)
		s.sum[a] ^= x
		s.count[a] += 4
		s.sum[b] ^= x
		s.count[b] = s.count[b] + 4 ^ 1
		s.sum[c] ^= x
		s.count[c] = s.count[c] + 4 ^ 2
		overflow = overflow || s.count[a] < 4 || s.count[b] < 4 || s.count[c] < 4
	}
	if overflow {
		return false
	}
	s.alone = s.alone[:0]
	for i, n := range s.count {
		if n>>2 == 1 {
			s.alone = append(s.alone, uint32(i))
		}
	}
	peeled := 0
	s.which = slices.Grow(s.which[:0], len(hashes))[:len(hashes)]
	for len(s.alone) > 0 {
		i := s.alone[len(s.alone)-1]
		s.alone = s.alone[:len(s.alone)-1]
		if s.count[i]>>2 != 1 {
			continue
		}
		x, which := s.sum[i], s.count[i]&3
		s.sorted[peeled], s.which[peeled] = x, which
		peeled++
		a, b, c := p.positions(x)
		for j, at := range [3]uint32{a, b, c} {
			s.sum[at] ^= x
			s.count[at] = s.count[at] - 4 ^ uint8(j)
			if s.count[at]>>2 == 1 {
				s.alone = append(s.alone, at)
			}
		}
	}
	return peeled == len(hashes)
}

// appendCells sets, in the reverse order of peeling, the cell that each key was
// alone on, so that its three cells give its fingerprint. Later keys do not
// touch that cell.
func (s *fuseScratch) appendCells(dst []byte, p *fuseParams) []byte {
	n := p.cells()
	dst = slices.Grow(dst, n+fuseTail)
	cells := dst[len(dst) : len(dst)+n]
	clear(cells)
	for i := len(s.which) - 1; i >= 0; i-- {
		x := s.sorted[i]
		a, b, c := p.positions(x)
		f := fingerprint(x) ^ cells[a] ^ cells[b] ^ cells[c] // one of them is still 0
		cells[[4]uint32{a, b, c}[s.which[i]&3]] = f
	}
	dst = dst[:len(dst)+n]
	dst = binary.LittleEndian.AppendUint64(dst, p.seed)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(p.span>>p.shift))
	return append(dst, p.shift, byte(Fuse))
}
