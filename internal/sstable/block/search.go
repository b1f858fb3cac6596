package block

import (
	"bytes"
	"encoding/binary"

	"github.com/seerdb-go/seerdb/internal/base"
)

// NoHint tells Search that nothing is known about where the key lies.
const NoHint = -1

// Search returns the first entry at or after (key, t), Len if there is none,
// and whether that entry has this user key. hint is a guess of the answer, or
// NoHint: a bad one costs time, never the answer.
func (p *Page) Search(key []byte, t base.Trailer, hint int) (i int, same bool) {
	rest := key
	if pl := len(p.prefix); pl != 0 {
		if len(key) < pl || string(key[:pl]) != string(p.prefix) {
			if bytes.Compare(key, p.prefix) < 0 {
				return 0, false
			}
			return p.n, false
		}
		rest = key[pl:]
	}
	h := headOf(rest)
	switch p.width {
	case 8:
		if hint >= 0 {
			i = near64(p.heads, p.n, h, hint)
		} else {
			i = lower64(p.heads, 0, p.n, h)
		}
		if i == p.n || le.Uint64(p.heads[i*8:]) != h {
			return i, false
		}
		if i+1 == p.n || le.Uint64(p.heads[i*8+8:]) != h {
			return p.single(i, rest, t)
		}
	case 4:
		h &= 0xffffffff << 32
		i = lower32(p.heads, p.n, uint32(h>>32))
	case 2:
		h &= 0xffff << 48
		i = lower16(p.heads, p.n, uint16(h>>48))
	default:
		h = 0
	}
	if i == p.n || p.head(i) != h {
		return i, false
	}
	return p.group(i, h, rest, t)
}

// headOf is the first 8 bytes of rest as a number, zero-padded.
func headOf(rest []byte) uint64 {
	if len(rest) >= 8 {
		return binary.BigEndian.Uint64(rest)
	}
	var h uint64
	for i, b := range rest {
		h |= uint64(b) << (56 - 8*i)
	}
	return h
}

// single decides for entry i, the only one whose head is that of rest.
func (p *Page) single(i int, rest []byte, t base.Trailer) (int, bool) {
	row := p.row(i)
	c := p.compareRest(row, rest)
	if c == 0 {
		if p.trailerOf(row) <= t {
			return i, true
		}
		return i + 1, false
	}
	if c < 0 {
		return i + 1, false
	}
	return i, false
}

// group decides among the entries from i on that have head h. They are
// ordered by the rest of the key, then by descending trailer.
func (p *Page) group(i int, h uint64, rest []byte, t base.Trailer) (int, bool) {
	// Gallop, then bisect: last is inside the group, end is beyond it.
	last, end := i, i+1
	for step := 1; end < p.n && p.head(end) == h; step *= 2 {
		last, end = end, end+step
	}
	for end = min(end, p.n); last+1 < end; {
		if m := int(uint(last+end) / 2); p.head(m) == h {
			last = m
		} else {
			end = m
		}
	}
	lo, hi, same := i, end, false
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		row := p.row(m)
		c := p.compareRest(row, rest)
		if c < 0 || c == 0 && p.trailerOf(row) > t {
			lo = m + 1
		} else {
			hi, same = m, c == 0
		}
	}
	return lo, same
}

// compareRest compares the user key of a row with a key whose prefix and head
// are the same and that goes on with rest after the prefix.
func (p *Page) compareRest(row, rest []byte) int {
	hl, tail, _ := p.tailOf(row)
	tl := min(len(rest), int(p.width))
	if hl != tl {
		return hl - tl
	}
	return bytes.Compare(tail, rest[tl:])
}

// lower64 returns the first of heads[lo:hi] that is >= h, or hi.
func lower64(heads []byte, lo, hi int, h uint64) int {
	n := hi - lo
	for n > 0 {
		half := int(uint(n) / 2)
		if le.Uint64(heads[(lo+half)*8:]) < h {
			lo += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return lo
}

// near64 is lower64 over all n heads for a caller that knows about where the
// answer is. It gallops from there: with a good hint the probes stay in one or
// two cache lines, where a binary search visits a new line each time.
func near64(heads []byte, n int, h uint64, hint int) int {
	if hint >= n {
		hint = n - 1
	}
	lo, hi := hint, hint
	if le.Uint64(heads[hint*8:]) < h {
		for step := 2; ; step *= 2 {
			lo = hi + 1
			if hi += step; hi >= n {
				return lower64(heads, lo, n, h)
			}
			if le.Uint64(heads[hi*8:]) >= h {
				return lower64(heads, lo, hi, h)
			}
		}
	}
	for step := 2; ; step *= 2 {
		hi = lo
		if lo -= step; lo < 0 {
			return lower64(heads, 0, hi, h)
		}
		if le.Uint64(heads[lo*8:]) < h {
			return lower64(heads, lo+1, hi, h)
		}
	}
}

func lower32(heads []byte, n int, h uint32) int {
	lo := 0
	for n > 0 {
		half := int(uint(n) / 2)
		if le.Uint32(heads[(lo+half)*4:]) < h {
			lo += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return lo
}

func lower16(heads []byte, n int, h uint16) int {
	lo := 0
	for n > 0 {
		half := int(uint(n) / 2)
		if le.Uint16(heads[(lo+half)*2:]) < h {
			lo += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return lo
}
