package filter

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// A blocked Bloom filter (Putze, Sanders, Singler, "Cache-, hash- and
// space-efficient Bloom filters", WEA 2007): the high bits of the hash choose a
// block of one cache line, and all the probes of a key stay in it. Compared
// with a classical Bloom filter a lookup costs one cache miss instead of one
// per probe, for some more false positives at equal size.
//
//	blocks   n x 64 bytes; bit p of a block is bit p%8 of its byte p/8
//	probes   u8, 1..14
//	kind     u8 = Bloom
//
// Probe i of 0..6 is bits 9i..9i+8 of hash x bloomMix; probe 7+i is bits
// 9i..9i+8 of hash x bloomMix x bloomMix. The product matters: the keys of a
// block share the high bits of their hash, so probes cut from the plain hash
// would coincide there.
const (
	bloomBlock     = 64 // bytes
	bloomPerMix    = 7  // probes of 9 bits in 64
	bloomMaxProbes = 2 * bloomPerMix
	bloomMix       = 0x9e3779b97f4a7c15 // odd, 2^64 / golden ratio
	bloomTail      = 2                  // bytes after the blocks
)

type bloomParams struct {
	blocks uint64 // at least 1; immutable after Open
	probes uint8  // immutable after Open
}

// openBloom opens data, which has no kind byte.
func openBloom(data []byte) (Filter, error) {
	cells := len(data) - 1
	if cells < bloomBlock || cells%bloomBlock != 0 {
		return Filter{}, ErrDamaged
	}
	p := bloomParams{blocks: uint64(cells / bloomBlock), probes: data[cells]}
	if p.probes < 1 || p.probes > bloomMaxProbes {
		return Filter{}, ErrDamaged
	}
	return Filter{cells: data[:cells:cells], kind: Bloom, bloom: p}, nil
}

// mayContain tests three probes and only then branches: each probe of an absent
// key hits with a chance of one half, which no branch predictor can learn, but
// only one absent key in eight passes three. (In a loop: 6.5 ns; with all six
// probes before a branch 8, with a branch after every probe 18.)
func (p *bloomParams) mayContain(cells []byte, h uint64) bool {
	i, _ := bits.Mul64(h, p.blocks)
	block := (*[bloomBlock]byte)(cells[i*bloomBlock:])
	x := h * bloomMix
	n := p.probes
	if n < 3 {
		return probes(block, x, n)&1 != 0
	}
	if probe(block, x)&probe(block, x>>9)&probe(block, x>>18)&1 == 0 {
		return false
	}
	if n <= bloomPerMix {
		return probes(block, x>>27, n-3)&1 != 0
	}
	return probes(block, x>>27, bloomPerMix-3)&probes(block, x*bloomMix, n-bloomPerMix)&1 != 0
}

// probe returns a number whose lowest bit is the block's bit chosen by the low
// 9 bits of y.
func probe(block *[bloomBlock]byte, y uint64) uint64 {
	return binary.LittleEndian.Uint64(block[y>>3&56:]) >> (y & 63)
}

func probes(block *[bloomBlock]byte, y uint64, n uint8) uint64 {
	hit := uint64(1)
	for ; n > 0; n-- {
		hit &= probe(block, y)
		y >>= 9
	}
	return hit
}

func bloomSize(keys int, bitsPerKey float64) int {
	size := math.Ceil(float64(keys) * bitsPerKey / (8 * bloomBlock))
	size = min(max(size, 1), math.MaxInt/(2*bloomBlock))
	return int(size)*bloomBlock + bloomTail
}

// bloomProbes returns the number of probes that measured best for blocks of 512
// bits. It is below the 0.69 x bits of a classical filter: the fullest blocks
// cause most of the false positives, and for them fewer probes are better.
func bloomProbes(bitsPerKey float64) int {
	best := [...]float64{2.1, 3.6, 5.1, 6.7, 8.4, 10.1, 11.8, 14, 16.1, 18.4, 22, 25.5, 28}
	n, _ := slices.BinarySearch(best[:], bitsPerKey)
	return min(n+1, bloomMaxProbes)
}

func appendBloom(dst []byte, hashes []uint64, bitsPerKey float64) []byte {
	probes := bloomProbes(bitsPerKey)
	size := bloomSize(len(hashes), bitsPerKey)
	dst = slices.Grow(dst, size)
	out := dst[len(dst) : len(dst)+size]
	clear(out)
	cells := out[:size-bloomTail]
	blocks := uint64(len(cells) / bloomBlock)
	for _, h := range hashes {
		i, _ := bits.Mul64(h, blocks)
		block := (*[bloomBlock]byte)(cells[i*bloomBlock:])
		x := h * bloomMix
		for y, n := x, min(probes, bloomPerMix); n > 0; n-- {
			block[y>>3&63] |= 1 << (y & 7)
			y >>= 9
		}
		for y, n := x*bloomMix, probes-bloomPerMix; n > 0; n-- {
			block[y>>3&63] |= 1 << (y & 7)
			y >>= 9
		}
	}
	out[size-2] = byte(probes)
	out[size-1] = byte(Bloom)
	return dst[:len(dst)+size]
}
