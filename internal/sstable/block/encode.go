package block

import (
	"encoding/binary"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Entry is an entry waiting to be laid out: its key is at arena[Off:] and its
// value right behind. It holds no pointer, so that a writer's pending entries
// cost the garbage collector nothing.
type Entry struct {
	Trailer base.Trailer
	Off     uint32
	KeyLen  uint32
	ValLen  uint32
}

// Key is the user key of e.
func (e *Entry) Key(arena []byte) []byte { return arena[e.Off : e.Off+e.KeyLen] }

// Value is the value of e.
func (e *Entry) Value(arena []byte) []byte {
	return arena[e.Off+e.KeyLen : e.Off+e.KeyLen+e.ValLen]
}

// CommonPrefix is the length of the longest common prefix.
func CommonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for i+8 <= n && le.Uint64(a[i:]) == le.Uint64(b[i:]) {
		i += 8
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// shape is what an encoder has to know about the entries before it can lay
// them out.
type shape struct {
	prefix             int
	minKey, maxKey     int
	minVal, maxVal     int
	keyBytes, valBytes uint64
	minTrail, maxTrail base.Trailer
	oneKind, unique    bool
}

func measure(arena []byte, es []Entry) shape {
	first, last := es[0].Key(arena), es[len(es)-1].Key(arena)
	s := shape{
		prefix: CommonPrefix(first, last), minKey: len(first), minVal: int(es[0].ValLen),
		minTrail: es[0].Trailer, oneKind: true, unique: true,
	}
	for i := range es {
		e := &es[i]
		s.minKey, s.maxKey = min(s.minKey, int(e.KeyLen)), max(s.maxKey, int(e.KeyLen))
		s.minVal, s.maxVal = min(s.minVal, int(e.ValLen)), max(s.maxVal, int(e.ValLen))
		s.keyBytes += uint64(e.KeyLen)
		s.valBytes += uint64(e.ValLen)
		s.minTrail, s.maxTrail = min(s.minTrail, e.Trailer), max(s.maxTrail, e.Trailer)
		s.oneKind = s.oneKind && e.Trailer.Kind() == es[0].Trailer.Kind()
		if i > 0 && s.unique && e.KeyLen == es[i-1].KeyLen {
			s.unique = string(e.Key(arena)) != string(es[i-1].Key(arena))
		}
	}
	return s
}

func offsetWidth(total uint64) uint64 {
	if total <= 0xffff {
		return 2
	}
	return 4
}

func deltaWidth(d uint64) uint64 {
	switch {
	case d == 0:
		return 0
	case d <= 0xff:
		return 1
	case d <= 0xffff:
		return 2
	case d <= 0xffffffff:
		return 4
	}
	return 8
}

// Encode appends the page of es, which must not be empty and must be strictly
// ascending in base.Compare's order.
func Encode(dst, arena []byte, es []Entry) []byte {
	if len(es) == 0 {
		panic("block: Encode of no entries")
	}
	s := measure(arena, es)
	n := uint64(len(es))
	var width, headLen uint64
	switch rest := s.maxKey - s.prefix; {
	case rest == 0:
		width = 0
	case rest <= 2:
		width = 2
	case rest <= 4:
		width = 4
	default:
		width = 8
	}
	headLen = variable
	if lo := min(s.minKey-s.prefix, int(width)); lo == min(s.maxKey-s.prefix, int(width)) {
		headLen = uint64(lo)
	}
	var tailW, tail, valueW, value uint64
	if s.maxKey-s.prefix > int(width) {
		// Shorter keys have no tail, so the sum is over the longer ones.
		for i := range es {
			if k := int(es[i].KeyLen) - s.prefix; k > int(width) {
				tail += uint64(k) - width
			}
		}
		if tailW = offsetWidth(tail); s.minKey == s.maxKey {
			tailW, tail = 0, tail/n
		}
	}
	if valueW, value = offsetWidth(s.valBytes), s.valBytes; s.minVal == s.maxVal {
		valueW, value = 0, uint64(s.minVal)
	}
	shift := 0
	if s.oneKind {
		shift = 8
	}
	trailW := deltaWidth(uint64(s.maxTrail-s.minTrail) >> shift)
	var l layout
	l.set(n, uint64(s.prefix), width, headLen, trailW, tailW, tail, valueW, value)

	start := len(dst)
	dst = slices.Grow(dst, int(l.end))[:start+int(l.end)]
	b := dst[start:]
	clear(b[:l.heads])
	if s.unique {
		b[0] = flagUnique
	}
	b[1], b[2], b[3] = byte(width), byte(headLen), byte(trailW)
	if s.oneKind {
		b[3] |= scaled
	}
	b[4], b[5] = byte(tailW), byte(valueW)
	le.PutUint32(b[8:], uint32(n))
	le.PutUint32(b[12:], uint32(s.prefix))
	le.PutUint32(b[16:], uint32(tail))
	le.PutUint32(b[20:], uint32(value))
	le.PutUint64(b[24:], uint64(s.minTrail))
	copy(b[headerSize:], es[0].Key(arena)[:s.prefix])
	putHeads(b[l.heads:l.trailers], arena, es, s.prefix, int(width))
	putTrailers(b[l.trailers:l.tailOffs], es, s.minTrail, int(trailW), shift)
	if headLen == variable {
		for i := range es {
			b[l.headLens+uint64(i)] = byte(min(int(es[i].KeyLen)-s.prefix, int(width)))
		}
	}
	skip := uint32(s.prefix) + uint32(width)
	putHeap(b[l.tailOffs:l.valueOffs], b[l.tails:l.values], int(tailW), es, func(e *Entry) []byte {
		if e.KeyLen <= skip {
			return nil
		}
		return arena[e.Off+skip : e.Off+e.KeyLen]
	})
	putHeap(b[l.valueOffs:l.headLens], b[l.values:l.end], int(valueW), es, func(e *Entry) []byte {
		return e.Value(arena)
	})
	return dst
}

func putHeads(dst, arena []byte, es []Entry, prefix, width int) {
	for i := range es {
		h := headOf(es[i].Key(arena)[prefix:])
		switch width {
		case 8:
			le.PutUint64(dst[i*8:], h)
		case 4:
			le.PutUint32(dst[i*4:], uint32(h>>32))
		case 2:
			le.PutUint16(dst[i*2:], uint16(h>>48))
		}
	}
}

func putTrailers(dst []byte, es []Entry, smallest base.Trailer, width, shift int) {
	for i := range es {
		d := uint64(es[i].Trailer-smallest) >> shift
		switch width {
		case 1:
			dst[i] = byte(d)
		case 2:
			le.PutUint16(dst[i*2:], uint16(d))
		case 4:
			le.PutUint32(dst[i*4:], uint32(d))
		case 8:
			binary.LittleEndian.PutUint64(dst[i*8:], d)
		}
	}
}

func putHeap(offs, dst []byte, width int, es []Entry, get func(*Entry) []byte) {
	at := 0
	for i := range es {
		putOffset(offs, i, width, at)
		at += copy(dst[at:], get(&es[i]))
	}
	putOffset(offs, len(es), width, at)
}

func putOffset(offs []byte, i, width, at int) {
	switch width {
	case 2:
		le.PutUint16(offs[i*2:], uint16(at))
	case 4:
		le.PutUint32(offs[i*4:], uint32(at))
	}
}
