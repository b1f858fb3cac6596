package block

import (
	"encoding/binary"
	"errors"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	headerSize = 32
	flagUnique = 1
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
	prefix     []byte
	heads      []byte
	offs       []byte // n+1 row offsets; nil when the rows are of one length
	rows       []byte
	stride     int // of rows of one length
	keyLen     int // behind the prefix, when common
	trailBase  base.Trailer
	width      uint8 // of a head
	trailWidth uint8
	trailShift uint8
	lenWidth   uint8
	rowHeader  uint8 // trailWidth + lenWidth
	wide       bool  // row offsets are of 4 bytes
	unique     bool
}

// layout is where the parts of a page begin. All in bytes.
type layout struct{ heads, offs, rows, end uint64 }

func (l *layout) set(n, prefix, width, offW, rows uint64) {
	l.heads = headerSize + (prefix+7)&^7
	l.offs = l.heads + n*width
	l.rows = l.offs
	if offW != 0 {
		l.rows += (n + 1) * offW
	} else {
		rows *= n
	}
	l.end = l.rows + rows
}

// widthSet says which of 0 to 8 are widths: bit w for width w.
const (
	headWidths  = 1<<0 | 1<<2 | 1<<4 | 1<<8
	trailWidths = 1<<0 | 1<<1 | 1<<2 | 1<<4 | 1<<8
	lenWidths   = 1<<0 | 1<<1 | 1<<2 | 1<<4
	offWidths   = 1<<0 | 1<<2 | 1<<4
)

// Open makes p a view of data, which may be longer than the page. It takes
// constant time and checks that every part lies inside data.
func (p *Page) Open(data []byte) error {
	if len(data) < headerSize {
		return ErrBad
	}
	h := data[:headerSize:headerSize]
	n, prefix, rows := le.Uint32(h[8:]), le.Uint32(h[12:]), le.Uint32(h[20:])
	width, trail, lenW, offW := h[1], h[2]&15, h[3], h[4]
	if (headWidths>>width)&(trailWidths>>trail)&(lenWidths>>lenW)&(offWidths>>offW)&1 == 0 ||
		h[0]&^flagUnique|h[2]&0x70|h[5]|h[6]|h[7] != 0 || n == 0 {
		return ErrBad
	}
	var l layout
	l.set(uint64(n), uint64(prefix), uint64(width), uint64(offW), uint64(rows))
	// What comes before the rows stays below 2^37, the rows below 2^64: the
	// sum may wrap around once, which makes the end lie before the beginning.
	if l.end > uint64(len(data)) || l.rows > l.end {
		return ErrBad
	}
	p.n = int(n)
	p.prefix = data[headerSize : headerSize+prefix : headerSize+prefix]
	p.heads = data[l.heads:l.offs]
	p.offs = nil
	p.rows = data[l.rows:l.end]
	p.stride, p.wide = int(rows), offW == 4
	if offW != 0 {
		p.offs = data[l.offs:l.rows]
	}
	p.keyLen = int(le.Uint32(h[16:]))
	p.trailBase = base.Trailer(le.Uint64(h[24:]))
	p.width, p.trailWidth, p.trailShift, p.lenWidth = width, trail, h[2]>>7<<3, lenW
	p.rowHeader = trail + lenW
	p.unique = h[0]&flagUnique != 0
	// Rows of one length must hold what precedes their tails; and n entries
	// of nothing at all would be a page without end.
	if offW == 0 && (rows < uint32(p.rowHeader) || rows == 0 && width == 0 && n > 1) {
		return ErrBad
	}
	return nil
}

// Len is the number of entries, at least 1 in an open page.
func (p *Page) Len() int { return p.n }

// Unique says that no user key occurs twice in the page.
func (p *Page) Unique() bool { return p.unique }

// Prefix is what all user keys of the page begin with.
func (p *Page) Prefix() []byte { return p.prefix }

// noRow stands for a row that does not lie in the page: the longest header,
// an empty key, an empty value.
var noRow [16]byte

// row returns the bytes of row i, at least a row header long.
func (p *Page) row(i int) []byte {
	if p.offs == nil {
		a := i * p.stride
		return p.rows[a : a+p.stride : a+p.stride]
	}
	var a, b uint
	if p.wide {
		o := p.offs[i*4 : i*4+8]
		a, b = uint(le.Uint32(o)), uint(le.Uint32(o[4:]))
	} else {
		o := p.offs[i*2 : i*2+4]
		a, b = uint(le.Uint16(o)), uint(le.Uint16(o[2:]))
	}
	if b > uint(len(p.rows)) || a+uint(p.rowHeader) > b {
		return noRow[:p.rowHeader]
	}
	return p.rows[a:b:b]
}

func uintAt(b []byte, width uint8) uint64 {
	switch width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(le.Uint16(b))
	case 4:
		return uint64(le.Uint32(b))
	case 8:
		return le.Uint64(b)
	}
	return 0
}

func (p *Page) trailerOf(row []byte) base.Trailer {
	return p.trailBase + base.Trailer(uintAt(row, p.trailWidth)<<p.trailShift)
}

// tailOf returns the length of the head in the row's key, and the tail and the
// value.
func (p *Page) tailOf(row []byte) (headLen int, tail, value []byte) {
	n := uint(p.keyLen)
	if p.lenWidth != 0 {
		n = uint(uintAt(row[p.trailWidth:], p.lenWidth))
	}
	rest := row[p.rowHeader:]
	if n <= uint(p.width) {
		return int(n), nil, rest
	}
	if n -= uint(p.width); n > uint(len(rest)) {
		return int(p.width), nil, nil
	}
	return int(p.width), rest[:n], rest[n:]
}

// Trailer is the trailer of entry i.
func (p *Page) Trailer(i int) base.Trailer { return p.trailerOf(p.row(i)) }

// Entry returns the trailer and the value of entry i. The value points into
// the page.
func (p *Page) Entry(i int) (base.Trailer, []byte) {
	row := p.row(i)
	_, _, value := p.tailOf(row)
	return p.trailerOf(row), value
}

// Load fills kv with entry i. buf begins with the prefix and is overwritten
// behind it with the rest of the key; it is returned as it grew.
func (p *Page) Load(i int, kv *base.KV, buf []byte) []byte {
	row := p.row(i)
	n, tail, value := p.tailOf(row)
	buf = binary.BigEndian.AppendUint64(buf[:len(p.prefix)], p.head(i))
	buf = append(buf[:len(p.prefix)+n], tail...)
	kv.Key, kv.Trailer, kv.Value = buf, p.trailerOf(row), value
	return buf
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
