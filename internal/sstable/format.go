package sstable

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

const (
	// magic ends every table.
	magic = "seertbl\x01"
	// footerSize never changes: a reader of any version finds the format
	// version in the footer.
	footerSize = 88
	// A page ends with u8 codec, u32 length before compression (only if the
	// codec is not none), u32 checksum.
	rawTrailer    = 1 + 4
	packedTrailer = 1 + 4 + 4
	sumSize       = 4
	minStoredPage = rawTrailer + 1
	// maxPageSize is more than the largest page: one entry of the largest size.
	maxPageSize = base.MaxValueSize + base.MaxKeySize + 4096
	// maxRatio bounds how much larger a page may be than it is in the file, so
	// that a crafted file of a few bytes cannot make a reader allocate much
	// memory. The writer stores a page uncompressed rather than exceed it.
	maxRatio = 1 << 14
)

// section is the position of a part of the metadata; its checksum follows it.
type section struct{ off, len uint64 }

// footer is the end of a table file:
//
//	 0  u64 offset, u64 length  of the filter
//	16  u64 offset, u64 length  of the index
//	32  u64 offset, u64 length  of the properties
//	48  u64 database            the identity, repeated for a better message
//	56  u64 file number
//	64  u32 format version
//	68  u32 incarnation         its low half; 0 in format 1
//	72  u32 checksum            of the footer without this field
//	76  u32 incarnation         its high half
//	80  magic
type footer struct {
	filter, index, props section
	format               base.FormatVersion
}

func (f *footer) append(dst []byte, id base.Identity, off int64) []byte {
	start := len(dst)
	for _, s := range []section{f.filter, f.index, f.props} {
		dst = le.AppendUint64(le.AppendUint64(dst, s.off), s.len)
	}
	dst = le.AppendUint64(le.AppendUint64(dst, id.DB), uint64(id.Num))
	dst = le.AppendUint32(le.AppendUint32(dst, uint32(f.format)), uint32(id.Incarnation))
	dst = le.AppendUint32(le.AppendUint32(dst, 0), uint32(id.Incarnation>>32))
	dst = append(dst, magic...)
	b := dst[start:]
	le.PutUint32(b[72:], footerSum(b, id, off))
	return dst
}

func footerSum(b []byte, id base.Identity, off int64) uint32 {
	return base.ExtendChecksum(id.Checksum(off, b[:72]), b[76:])
}

// parseFooter decodes and checks the footer at off.
func parseFooter(b []byte, id base.Identity, off int64) (footer, error) {
	var f footer
	name := id.Name()
	if string(b[80:]) != magic {
		return f, base.Corruptf(name, off, "the file does not end like a table: its magic is %x", b[80:])
	}
	if footerSum(b, id, off) != le.Uint32(b[72:]) {
		if other, ok := identify(b, off); ok && other != id {
			return f, id.Mistaken(off, other)
		}
		return f, base.Corruptf(name, off, "footer checksum mismatch")
	}
	f.format = base.FormatVersion(le.Uint32(b[64:]))
	if f.format > base.FormatNewest {
		return f, base.ErrFormatTooNew
	}
	for i, s := range []*section{&f.filter, &f.index, &f.props} {
		s.off, s.len = le.Uint64(b[i*16:]), le.Uint64(b[i*16+8:])
	}
	// The three are contiguous before the footer, each followed by its
	// checksum.
	end := uint64(off)
	for _, s := range []*section{&f.props, &f.index, &f.filter} {
		if s.off > end || end-s.off < sumSize || end-s.off-sumSize != s.len {
			return f, base.Corruptf(name, off, "sections do not fill the file up to the footer")
		}
		end = s.off
	}
	if said, _ := identify(b, off); f.format == 0 || said != id {
		return f, base.Corruptf(name, off, "the footer has a wrong identity or format")
	}
	return f, nil
}

// identify returns the identity in the footer at off, and false if there is no
// sound footer.
func identify(b []byte, off int64) (id base.Identity, ok bool) {
	id = base.Identity{
		DB: le.Uint64(b[48:]), Type: base.FileTypeTable, Num: base.FileNum(le.Uint64(b[56:])),
		Incarnation: uint64(le.Uint32(b[68:])) | uint64(le.Uint32(b[76:]))<<32,
	}
	return id, string(b[80:]) == magic && footerSum(b, id, off) == le.Uint32(b[72:])
}

// Identify returns the identity in the footer of a table of size bytes,
// whatever the file is called now. ok is false if there is no sound footer.
func Identify(r io.ReaderAt, size int64) (id base.Identity, ok bool) {
	var b [footerSize]byte
	off := size - footerSize
	if off < 0 {
		return id, false
	}
	if n, _ := r.ReadAt(b[:], off); n < len(b) {
		return id, false
	}
	return identify(b[:], off)
}

// Properties describe a table. The writer fills them in and Open reads them
// back. Keys and sequences in them are those of entries; Bounds covers range
// tombstones as well.
type Properties struct {
	Entries       uint64
	Keys          uint64 // distinct user keys
	ByKind        [base.KindMax + 1]uint64
	RawKeyBytes   uint64
	RawValueBytes uint64
	Smallest      []byte // user keys; empty when there are no entries
	Largest       []byte
	SmallestSeq   base.SeqNum
	LargestSeq    base.SeqNum
	Pages         uint64
	LearnedPages  uint64 // pages found by a model
	FencePages    uint64 // pages with a separator each
	Segments      uint64 // models and fences together
	RawBytes      uint64 // of pages before compression
	DataBytes     uint64 // of pages in the file
	IndexBytes    uint64
	FilterBytes   uint64
	FilterBits    float64 // per key, as asked for
	Codec         uint8   // as asked for; pages that do not shrink are stored raw
	PageSize      uint64
	MinExpiry     uint64 // reserved for entries with an expiry
	MaxExpiry     uint64
	Ranges        rangedel.List // range tombstones
	// TrainNanos is the time spent on deciding where pages end. It is not
	// stored: equal input makes equal files.
	TrainNanos int64
}

// numbers lists the numeric properties by tag. Tags are part of the format.
func (p *Properties) numbers() []*uint64 {
	return []*uint64{
		1: &p.Entries, 2: &p.Keys, 3: &p.RawKeyBytes, 4: &p.RawValueBytes,
		5: (*uint64)(&p.SmallestSeq), 6: (*uint64)(&p.LargestSeq),
		7: &p.Pages, 8: &p.LearnedPages, 9: &p.FencePages, 10: &p.Segments,
		11: &p.RawBytes, 12: &p.DataBytes, 13: &p.IndexBytes, 14: &p.FilterBytes,
		15: &p.PageSize, 16: &p.MinExpiry, 17: &p.MaxExpiry,
	}
}

const (
	tagSmallest   = 32
	tagLargest    = 33
	tagCodec      = 34
	tagFilterBits = 35 // in 1/256 bits
	tagRanges     = 36 // as rangedel encodes them
	tagKind       = 48 // + kind
)

// append encodes the properties: uvarint tag, uvarint length, payload; numbers
// are uvarints, and left out when zero. Readers skip tags they do not know.
func (p *Properties) append(dst []byte) []byte {
	for tag, v := range p.numbers() {
		if v != nil {
			dst = appendNumber(dst, tag, *v)
		}
	}
	dst = appendBytes(dst, tagSmallest, p.Smallest)
	dst = appendBytes(dst, tagLargest, p.Largest)
	dst = appendNumber(dst, tagCodec, uint64(p.Codec))
	dst = appendNumber(dst, tagFilterBits, uint64(p.FilterBits*256))
	if p.Ranges.Len() > 0 {
		dst = appendBytes(dst, tagRanges, p.Ranges.Append(nil))
	}
	for k, n := range p.ByKind {
		dst = appendNumber(dst, tagKind+k, n)
	}
	return dst
}

// bounds are the bounds of all entries and range tombstones.
type bounds struct {
	smallest               []byte
	end                    base.End
	smallestSeq, newestSeq base.SeqNum
}

func (p *Properties) bounds() bounds {
	b := bounds{p.Smallest, base.End{Key: p.Largest}, p.SmallestSeq, p.LargestSeq}
	if p.Ranges.Len() == 0 {
		return b
	}
	lo, hi, oldest, newest := p.Ranges.Bounds()
	end := base.EndAt(hi)
	if p.Entries == 0 {
		b = bounds{lo, end, oldest, newest}
	} else {
		b.smallestSeq, b.newestSeq = min(b.smallestSeq, oldest), max(b.newestSeq, newest)
		if bytes.Compare(lo, b.smallest) < 0 {
			b.smallest = lo
		}
		if end.Compare(b.end) > 0 {
			b.end = end
		}
	}
	if b.end.Bound == base.BoundNone {
		// Without an end, name the largest key there is.
		b.end.Key = p.Ranges.At(p.Ranges.Len() - 1).Lo
		if p.Entries > 0 && bytes.Compare(p.Largest, b.end.Key) > 0 {
			b.end.Key = p.Largest
		}
	}
	return b
}

// Bounds returns the smallest user key of all entries and range tombstones, and
// the end of their keys. If there is no end, its Key is the largest key in the
// table.
func (p *Properties) Bounds() (smallest []byte, end base.End) {
	b := p.bounds()
	return b.smallest, b.end
}

func appendNumber(dst []byte, tag int, v uint64) []byte {
	if v == 0 {
		return dst
	}
	var b [binary.MaxVarintLen64]byte
	return appendBytes(dst, tag, b[:binary.PutUvarint(b[:], v)])
}

func appendBytes(dst []byte, tag int, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(tag))
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// parseProperties is the inverse of append. It returns false for other bytes.
func parseProperties(b []byte) (*Properties, bool) {
	p := &Properties{}
	numbers := p.numbers()
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, false
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, false
		}
		payload := b[n : n+int(size)]
		b = b[n+int(size):]
		v, vn := binary.Uvarint(payload)
		isNumber := vn == len(payload) && vn > 0
		switch {
		case tag == tagSmallest || tag == tagLargest:
			if size > base.MaxKeySize {
				return nil, false
			}
			key := append([]byte{}, payload...)
			if tag == tagSmallest {
				p.Smallest = key
			} else {
				p.Largest = key
			}
			continue
		case tag == tagRanges:
			var err error
			if p.Ranges, err = rangedel.Decode(payload); err != nil {
				return nil, false
			}
			continue
		case tag < uint64(len(numbers)) && numbers[tag] != nil:
			*numbers[tag] = v
		case tag == tagCodec:
			p.Codec = uint8(v)
		case tag == tagFilterBits:
			p.FilterBits = float64(v) / 256
		case tag >= tagKind && tag <= tagKind+uint64(base.KindMax):
			p.ByKind[tag-tagKind] = v
		default:
			continue
		}
		if !isNumber {
			return nil, false
		}
	}
	return p, p.Smallest != nil && p.Largest != nil
}
