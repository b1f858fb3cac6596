package block

import (
	"encoding/binary"
	"errors"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	headerSize = 32
	flagUnique = 1
	scaled     = 0x80 // trailers: stored divided by 256, since all have the same kind
)

// ErrBad is the error for bytes that are not a page. The caller, which knows
// the file and the offset, turns it into a CorruptionError.
var ErrBad = errors.New("block: not a page")

var le = binary.LittleEndian

// Page is a view of a page's bytes. The zero Page is empty; Open sets it. It is
// valid as long as the bytes, and immutable after Open. It has positions rather
// than slices of the parts: a point read opens a page for one search, and
// making the slices took longer than the search.
type Page struct {
	data       []byte // without bytes after the page
	n          int
	prefixLen  int
	heads      int // offset of the heads in data
	offs       int
	rows       int
	stride     int // of rows, if they have equal lengths
	keyLen     int // after the prefix, if all keys have the same length
	trailBase  base.Trailer
	width      uint8 // of a head
	offWidth   uint8
	trailWidth uint8
	trailShift uint8
	lenWidth   uint8
	rowHeader  uint8 // trailWidth + lenWidth
	unique     bool
	warmed     byte // keeps the compiler from removing a load
}

// layout has the offsets of the parts of a page, in bytes.
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

// Bit w is set if w is a valid width.
const (
	headWidths  = 1<<0 | 1<<2 | 1<<4 | 1<<8
	trailWidths = 1<<0 | 1<<1 | 1<<2 | 1<<4 | 1<<8
	lenWidths   = 1<<0 | 1<<1 | 1<<2 | 1<<4
	offWidths   = 1<<0 | 1<<2 | 1<<4
)

// Open makes p a view of data, which may be longer than the page. It takes
// constant time and checks that every part is inside data.
func (p *Page) Open(data []byte) error {
	if len(data) < headerSize {
		return ErrBad
	}
	h := data[:headerSize:headerSize]
	n, prefix, rows := le.Uint32(h[8:]), le.Uint32(h[12:]), le.Uint32(h[20:])
	form := le.Uint64(h)
	width, trail, lenW, offW := uint8(form>>8), uint8(form>>16)&15, uint8(form>>24), uint8(form>>32)
	// Widths are below 16: a larger one shifts the set to nothing.
	if (headWidths>>width)&(trailWidths>>trail)&(lenWidths>>lenW)&(offWidths>>offW)&1 == 0 ||
		form&0xffffff_00_00_70_00_fe != 0 || n == 0 {
		return ErrBad
	}
	var l layout
	l.set(uint64(n), uint64(prefix), uint64(width), uint64(offW), uint64(rows))
	// Everything before the rows is below 2^37, the rows below 2^64: the sum
	// wraps around at most once, which makes the end precede the beginning.
	if l.end > uint64(len(data)) || l.rows > l.end {
		return ErrBad
	}
	// Rows of equal length must hold what precedes their tails; and n entries
	// of no bytes would make a page of any number of entries.
	if rowHeader := trail + lenW; offW == 0 && (rows < uint32(rowHeader) || rows == 0 && width == 0 && n > 1) {
		return ErrBad
	}
	p.data = data[:l.end]
	p.n, p.prefixLen = int(n), int(prefix)
	p.heads, p.offs, p.rows = int(l.heads), int(l.offs), int(l.rows)
	p.stride, p.keyLen = int(rows), int(le.Uint32(h[16:]))
	p.trailBase = base.Trailer(le.Uint64(h[24:]))
	p.width, p.offWidth, p.trailWidth, p.trailShift = width, offW, trail, uint8(form>>23&1)<<3
	p.lenWidth, p.rowHeader = lenW, trail+lenW
	p.unique = form&flagUnique != 0
	return nil
}

// Warm touches the byte at about off after the prefix. The load does not depend
// on the header's load, so that both lines come from memory at the same time;
// nothing waits for it.
func (p *Page) Warm(data []byte, off int) {
	if off += headerSize + 8; off < len(data) {
		p.warmed = data[off]
	}
}

// Len returns the number of entries, at least 1 in an open page.
func (p *Page) Len() int { return p.n }

// Unique reports whether no user key occurs twice in the page.
func (p *Page) Unique() bool { return p.unique }

// Prefix returns the common prefix of all user keys of the page.
func (p *Page) Prefix() []byte {
	return p.data[headerSize : headerSize+p.prefixLen : headerSize+p.prefixLen]
}

// noRow stands in for a row outside the page: it has the longest header, an
// empty key and an empty value.
var noRow [16]byte

// row returns the bytes of row i, at least a row header long.
func (p *Page) row(i int) []byte {
	if p.offWidth == 0 {
		a := p.rows + i*p.stride
		return p.data[a : a+p.stride : a+p.stride]
	}
	var a, b uint
	if p.offWidth == 2 {
		o := p.data[p.offs+i*2:]
		a, b = uint(le.Uint16(o)), uint(le.Uint16(o[2:]))
	} else {
		o := p.data[p.offs+i*4:]
		a, b = uint(le.Uint32(o)), uint(le.Uint32(o[4:]))
	}
	rows := p.data[p.rows:]
	if b > uint(len(rows)) || a+uint(p.rowHeader) > b {
		return noRow[:p.rowHeader]
	}
	return rows[a:b:b]
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

// tailOf returns the length of the head in the row's key, the tail and the
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

// Trailer returns the trailer of entry i.
func (p *Page) Trailer(i int) base.Trailer { return p.trailerOf(p.row(i)) }

// Entry returns the trailer and the value of entry i. The value points into the
// page.
func (p *Page) Entry(i int) (base.Trailer, []byte) {
	row := p.row(i)
	_, _, value := p.tailOf(row)
	return p.trailerOf(row), value
}

// Load sets kv to entry i. buf begins with the prefix; Load writes the rest of
// the key after it and returns buf as extended.
func (p *Page) Load(i int, kv *base.KV, buf []byte) []byte {
	row := p.row(i)
	n, tail, value := p.tailOf(row)
	buf = binary.BigEndian.AppendUint64(buf[:p.prefixLen], p.head(i))
	buf = append(buf[:p.prefixLen+n], tail...)
	kv.Key, kv.Trailer, kv.Value = buf, p.trailerOf(row), value
	return buf
}

// head returns the head of entry i, in the high bytes of the number.
func (p *Page) head(i int) uint64 {
	heads := p.data[p.heads:p.offs]
	switch p.width {
	case 8:
		return le.Uint64(heads[i*8:])
	case 4:
		return uint64(le.Uint32(heads[i*4:])) << 32
	case 2:
		return uint64(le.Uint16(heads[i*2:])) << 48
	}
	return 0
}
