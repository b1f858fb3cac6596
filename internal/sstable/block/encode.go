package block

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Entry is an entry to be laid out: its key is at arena[Off:], directly
// followed by its value. It has no pointers, so that a writer's pending entries
// cost the garbage collector nothing.
type Entry struct {
	Trailer base.Trailer
	Off     uint32
	KeyLen  uint32
	ValLen  uint32
}

// Key returns the user key of e.
func (e *Entry) Key(arena []byte) []byte { return arena[e.Off : e.Off+e.KeyLen] }

// Value returns the value of e.
func (e *Entry) Value(arena []byte) []byte {
	return arena[e.Off+e.KeyLen : e.Off+e.KeyLen+e.ValLen]
}

// CommonPrefix returns the length of the longest common prefix.
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

// shape is what an encoder must know about all entries before it lays them out.
type shape struct {
	prefix             int
	minKey, maxKey     uint32
	minVal, maxVal     uint32
	keyBytes, valBytes uint64
	minTrail, maxTrail base.Trailer
	oneKind, unique    bool
}

func measure(arena []byte, es []Entry) shape {
	first, last := es[0].Key(arena), es[len(es)-1].Key(arena)
	s := shape{
		prefix: CommonPrefix(first, last), minKey: es[0].KeyLen, minVal: es[0].ValLen,
		minTrail: es[0].Trailer, oneKind: true, unique: true,
	}
	for i := range es {
		e := &es[i]
		s.minKey, s.maxKey = min(s.minKey, e.KeyLen), max(s.maxKey, e.KeyLen)
		s.minVal, s.maxVal = min(s.minVal, e.ValLen), max(s.maxVal, e.ValLen)
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

func headWidth(rest uint64) uint64 {
	switch {
	case rest == 0:
		return 0
	case rest <= 2:
		return 2
	case rest <= 4:
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
	n, prefix := uint64(len(es)), uint64(s.prefix)
	width := headWidth(uint64(s.maxKey) - prefix)
	shift := 0
	if s.oneKind {
		shift = 8
	}
	trailW := deltaWidth(uint64(s.maxTrail-s.minTrail) >> shift)
	lenW := uint64(0)
	if s.minKey != s.maxKey {
		lenW = deltaWidth(uint64(s.maxKey) - prefix)
	}
	rows := n*(trailW+lenW) + s.valBytes // without the tails
	if s.maxKey == s.minKey {
		rows += s.keyBytes - n*(prefix+min(width, uint64(s.maxKey)-prefix))
	} else {
		for i := range es {
			if k := uint64(es[i].KeyLen) - prefix; k > width {
				rows += k - width
			}
		}
	}
	offW := uint64(0)
	if s.minKey == s.maxKey && s.minVal == s.maxVal {
		rows /= n
	} else if offW = 2; rows > 0xffff {
		offW = 4
	}
	var l layout
	l.set(n, prefix, width, offW, rows)

	start := len(dst)
	dst = slices.Grow(dst, int(l.end))[:start+int(l.end)]
	b := dst[start:]
	clear(b[:l.heads])
	if s.unique {
		b[0] = flagUnique
	}
	b[1], b[2], b[3], b[4] = byte(width), byte(trailW), byte(lenW), byte(offW)
	if s.oneKind {
		b[2] |= scaled
	}
	le.PutUint32(b[8:], uint32(n))
	le.PutUint32(b[12:], uint32(prefix))
	if lenW == 0 {
		le.PutUint32(b[16:], s.maxKey-uint32(prefix))
	}
	le.PutUint32(b[20:], uint32(rows))
	le.PutUint64(b[24:], uint64(s.minTrail))
	copy(b[headerSize:], es[0].Key(arena)[:prefix])
	putHeads(b[l.heads:l.offs], arena, es, s.prefix, int(width))
	w := rowWriter{offs: b[l.offs:l.rows], rows: b[l.rows:l.end], offW: int(offW), trailW: int(trailW), lenW: int(lenW)}
	for i := range es {
		e := &es[i]
		w.add(i, uint64(e.Trailer-s.minTrail)>>shift, e.Key(arena)[prefix:], int(width), e.Value(arena))
	}
	putUint(w.offs[n*offW:], uint64(w.at), int(offW))
	return dst
}

// rowWriter fills the rows of a page and their offsets.
type rowWriter struct {
	offs, rows         []byte
	offW, trailW, lenW int
	at                 int
}

func (w *rowWriter) add(i int, trail uint64, rest []byte, width int, value []byte) {
	putUint(w.offs[i*w.offW:], uint64(w.at), w.offW)
	putUint(w.rows[w.at:], trail, w.trailW)
	w.at += w.trailW
	putUint(w.rows[w.at:], uint64(len(rest)), w.lenW)
	w.at += w.lenW
	if len(rest) > width {
		w.at += copy(w.rows[w.at:], rest[width:])
	}
	w.at += copy(w.rows[w.at:], value)
}

func putUint(b []byte, v uint64, width int) {
	switch width {
	case 1:
		b[0] = byte(v)
	case 2:
		le.PutUint16(b, uint16(v))
	case 4:
		le.PutUint32(b, uint32(v))
	case 8:
		le.PutUint64(b, v)
	}
}

func putHeads(dst, arena []byte, es []Entry, prefix, width int) {
	for i := range es {
		h := base.Head(es[i].Key(arena)[prefix:])
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
