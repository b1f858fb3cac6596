package block

import (
	"encoding/binary"
	"errors"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	headerSize = 32
	flagUnique = 1
	variable   = 0xff // head length: a column of lengths follows
	scaled     = 0x80 // trailers: stored divided by 256, the kind being common
)

// ErrBad says that bytes are not a page. The caller, which knows the file and
// the offset, turns it into a CorruptionError.
var ErrBad = errors.New("block: not a page")

var le = binary.LittleEndian

// Page is a view of a page's bytes. The zero Page is empty; Open fills it. It
// is valid as long as the bytes are, immutable after Open.
type Page struct {
	n          int
	unique     bool
	width      uint8 // of a head
	headLen    uint8 // or variable
	trailWidth uint8
	trailShift uint8
	trailBase  base.Trailer
	prefix     []byte
	heads      []byte
	trailers   []byte
	headLens   []byte
	tails      heap
	values     heap
}

// heap is a column of byte strings of equal or different lengths.
type heap struct {
	offs   []byte // n+1 offsets; nil when the lengths are equal
	bytes  []byte
	stride int // when the lengths are equal
	wide   bool
}

func (h *heap) at(i int) []byte {
	if h.offs == nil {
		a := i * h.stride
		return h.bytes[a : a+h.stride : a+h.stride]
	}
	var a, b uint
	if h.wide {
		o := h.offs[i*4 : i*4+8]
		a, b = uint(le.Uint32(o)), uint(le.Uint32(o[4:]))
	} else {
		o := h.offs[i*2 : i*2+4]
		a, b = uint(le.Uint16(o)), uint(le.Uint16(o[2:]))
	}
	if a > b || b > uint(len(h.bytes)) {
		return nil
	}
	return h.bytes[a:b:b]
}

// layout is where the columns of a page begin. All in bytes.
type layout struct {
	heads, trailers, tailOffs, valueOffs, headLens, tails, values, end uint64
}

func (l *layout) set(n, prefix, width, headLen, trail, tailW, tail, valueW, value uint64) {
	l.heads = headerSize + (prefix+7)&^7
	l.trailers = l.heads + n*width
	l.tailOffs = l.trailers + n*trail
	l.valueOffs = l.tailOffs
	if tailW != 0 {
		l.valueOffs += (n + 1) * tailW
	} else {
		tail *= n
	}
	l.headLens = l.valueOffs
	if valueW != 0 {
		l.headLens += (n + 1) * valueW
	} else {
		value *= n
	}
	l.tails = l.headLens
	if headLen == variable {
		l.tails += n
	}
	l.values = l.tails + tail
	l.end = l.values + value
}

// Open makes p a view of data, which may be longer than the page. It takes
// constant time and checks that every column lies inside data.
func (p *Page) Open(data []byte) error {
	if len(data) < headerSize {
		return ErrBad
	}
	h := data[:headerSize:headerSize]
	n, prefix := le.Uint32(h[8:]), le.Uint32(h[12:])
	width, headLen, trail := h[1], h[2], h[3]&15
	tailW, valueW := h[4], h[5]
	const widths = 1<<0 | 1<<1 | 1<<2 | 1<<4 | 1<<8
	if n == 0 || width > 8 || width == 1 || widths>>width&1 == 0 || widths>>trail&1 == 0 ||
		tailW|valueW > 7 || (1<<0|1<<2|1<<4)>>tailW&1 == 0 || (1<<0|1<<2|1<<4)>>valueW&1 == 0 ||
		(width|trail == 0 && n > 1) || // nothing would tell the entries apart
		(headLen > width && headLen != variable) || h[0]&^flagUnique != 0 || h[3]&0x70 != 0 || h[6]|h[7] != 0 {
		return ErrBad
	}
	var l layout
	l.set(uint64(n), uint64(prefix), uint64(width), uint64(headLen), uint64(trail),
		uint64(tailW), uint64(le.Uint32(h[16:])), uint64(valueW), uint64(le.Uint32(h[20:])))
	// The columns before the heaps stay below 2^38; each heap is below 2^64
	// and may wrap the sum around once, which makes an end lie before its
	// beginning.
	if l.end > uint64(len(data)) || l.values > l.end || l.tails > l.values {
		return ErrBad
	}
	p.n = int(n)
	p.unique = h[0]&flagUnique != 0
	p.width, p.headLen = width, headLen
	p.trailWidth, p.trailShift = trail, h[3]>>7<<3
	p.trailBase = base.Trailer(le.Uint64(h[24:]))
	p.prefix = data[headerSize : headerSize+prefix : headerSize+prefix]
	p.heads = data[l.heads:l.trailers]
	p.trailers = data[l.trailers:l.tailOffs]
	p.headLens = data[l.headLens:l.tails]
	p.tails = heap{bytes: data[l.tails:l.values]}
	if tailW != 0 {
		p.tails.offs, p.tails.wide = data[l.tailOffs:l.valueOffs], tailW == 4
	} else {
		p.tails.stride = int(le.Uint32(h[16:]))
	}
	p.values = heap{bytes: data[l.values:l.end]}
	if valueW != 0 {
		p.values.offs, p.values.wide = data[l.valueOffs:l.headLens], valueW == 4
	} else {
		p.values.stride = int(le.Uint32(h[20:]))
	}
	return nil
}

// Len is the number of entries, at least 1 in an open page.
func (p *Page) Len() int { return p.n }

// Unique says that no user key occurs twice in the page.
func (p *Page) Unique() bool { return p.unique }

// Prefix is what all user keys of the page begin with.
func (p *Page) Prefix() []byte { return p.prefix }

// Value is the value of entry i. It points into the page.
func (p *Page) Value(i int) []byte { return p.values.at(i) }

// Trailer is the trailer of entry i.
func (p *Page) Trailer(i int) base.Trailer {
	var d uint64
	switch p.trailWidth {
	case 0:
		return p.trailBase
	case 1:
		d = uint64(p.trailers[i])
	case 2:
		d = uint64(le.Uint16(p.trailers[i*2:]))
	case 4:
		d = uint64(le.Uint32(p.trailers[i*4:]))
	default:
		d = le.Uint64(p.trailers[i*8:])
	}
	return p.trailBase + base.Trailer(d<<p.trailShift)
}

// head returns the head of entry i, moved to the top of the number.
func (p *Page) head(i int) uint64 {
	switch p.width {
	case 8:
		return le.Uint64(p.heads[i*8:])
	case 4:
		return uint64(le.Uint32(p.heads[i*4:])) << 32
	case 2:
		return uint64(le.Uint16(p.heads[i*2:])) << 48
	}
	return 0
}

func (p *Page) headLenAt(i int) int {
	if p.headLen != variable {
		return int(p.headLen)
	}
	return min(int(p.headLens[i]), int(p.width))
}

// AppendKey appends to dst what follows the prefix in the user key of entry i.
// With dst holding the prefix it makes the whole key.
func (p *Page) AppendKey(dst []byte, i int) []byte {
	dst = binary.BigEndian.AppendUint64(dst, p.head(i))
	hl := int(p.headLen)
	if hl == 8 {
		return append(dst, p.tails.at(i)...)
	}
	if hl == variable {
		if hl = p.headLenAt(i); hl == 8 {
			return append(dst, p.tails.at(i)...)
		}
	}
	return dst[:len(dst)-8+hl]
}
