package valuelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Pointer is the position of a value. Its encoding is the value of a table
// entry of kind base.KindPutPointer:
//
//	file uvarint | offset uvarint | length uvarint | raw uvarint | checksum u32 | check u16
//
// Varints make it 15 to 18 bytes in practice. With fixed fields it would have
// 28, which a tree of 1 KiB values under 16-byte keys would pay for with a
// tenth of its write amplification.
type Pointer struct {
	File   base.FileNum
	Offset uint64 // of the record
	Length uint32 // of the record, with its header and its key
	// RawLength is the length of the decompressed value.
	RawLength uint32
	// Checksum is the record's checksum, so that a sound record that is not the
	// one pointed to fails too.
	Checksum uint32
}

// MaxPointerSize bounds the length of an encoded pointer.
const MaxPointerSize = 2*binary.MaxVarintLen64 + 2*binary.MaxVarintLen32 + 4 + 2

var errBadPointer = errors.New("valuelog: bad pointer")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pointerCheck folds a CRC to two bytes. The pointer is in a page with a
// checksum of its own; this one detects an inline value that is taken for a
// pointer, and keeps a compaction from counting references of a torn pointer.
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

// DecodePointer decodes all of b, a result of AppendPointer. The error does not
// say where b came from; callers add that.
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
