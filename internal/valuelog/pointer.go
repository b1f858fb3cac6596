package valuelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Pointer says where a value lies. Its encoding is the value of a table entry
// of kind base.KindPutPointer:
//
//	file uvarint | offset uvarint | length uvarint | raw uvarint | checksum u32 | check u16
//
// Fields of varying length make it 15 to 18 bytes in practice. With fixed ones
// it would be 28, which a tree of 1 KiB values under 16-byte keys would pay for
// with a tenth of its write amplification.
type Pointer struct {
	File   base.FileNum
	Offset uint64 // of the record
	Length uint32 // of the record, with its header and its key
	// RawLength is the length of the value.
	RawLength uint32
	// Checksum is the record's: a record that is sound but not the one that
	// was pointed to fails too.
	Checksum uint32
}

// MaxPointerSize bounds the length of an encoded pointer.
const MaxPointerSize = 2*binary.MaxVarintLen64 + 2*binary.MaxVarintLen32 + 4 + 2

var errBadPointer = errors.New("valuelog: bad pointer")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pointerCheck folds a CRC to two bytes. The pointer lies in a page that has a
// checksum of its own; this one is against an inline value being taken for a
// pointer, and against a compaction counting references of a torn one.
func pointerCheck(b []byte) uint16 {
	sum := crc32.Checksum(b, castagnoli)
	return uint16(sum>>16) ^ uint16(sum)
}

// AppendPointer appends the encoding of p.
func AppendPointer(dst []byte, p Pointer) []byte {
	n := len(dst)
	dst = binary.AppendUvarint(dst, uint64(p.File))
	dst = binary.AppendUvarint(dst, p.Offset)
	dst = binary.AppendUvarint(dst, uint64(p.Length))
	dst = binary.AppendUvarint(dst, uint64(p.RawLength))
	dst = binary.LittleEndian.AppendUint32(dst, p.Checksum)
	return binary.LittleEndian.AppendUint16(dst, pointerCheck(dst[n:]))
}

// DecodePointer decodes what AppendPointer made, all of b. The error does not
// say where b came from; the caller knows, and wraps it.
func DecodePointer(b []byte) (Pointer, error) {
	var p Pointer
	n := len(b) - 2
	if n < 4+4 || n+2 > MaxPointerSize || binary.LittleEndian.Uint16(b[n:]) != pointerCheck(b[:n]) {
		return Pointer{}, errBadPointer
	}
	var fields [4]uint64
	rest := b[:n-4]
	for i := range fields {
		v, w := binary.Uvarint(rest)
		if w <= 0 || w > 1 && rest[w-1] == 0 { // overflow, truncation, or not minimal
			return Pointer{}, errBadPointer
		}
		fields[i], rest = v, rest[w:]
	}
	if len(rest) != 0 || fields[2] > maxRecordSize || fields[2] < recordHeaderSize || fields[3] > base.MaxValueSize {
		return Pointer{}, errBadPointer
	}
	p.File, p.Offset = base.FileNum(fields[0]), fields[1]
	p.Length, p.RawLength = uint32(fields[2]), uint32(fields[3])
	p.Checksum = binary.LittleEndian.Uint32(b[n-4:])
	return p, nil
}

func (p Pointer) String() string {
	return fmt.Sprintf("%s@%d+%d", base.FileName(base.FileTypeValues, p.File), p.Offset, p.Length)
}
