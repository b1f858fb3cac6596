// Package record frames payloads as checksummed records, one after another, in
// a file that is only ever appended to: the log and the manifest. A reader can
// tell the end that a crash may leave, which it cuts off, from damage to bytes
// that were known to be durable, which it reports.
//
//	 0        4        8        9                    16
//	+--------+--------+--------+--------------------+----------------+
//	| crc    | length | kind   | synced             | payload        |
//	| u32 LE | u32 LE | u8     | u56 LE             | length bytes   |
//	+--------+--------+--------+--------------------+----------------+
//
// crc is base.Identity.Checksum over everything after it, seeded with the
// file's identity and the record's offset: a record that was copied to another
// file or offset, or is left over from an earlier use of the disk block, fails.
//
// synced is how many bytes of the file were known to be durable when the record
// was framed. It tells a torn tail from damage. Bytes after the last sync may
// reach the disk in any order, so after a crash whole records can follow a torn
// one, and mean nothing: reading ends at the first bad record. But if any
// record after it says that the bad place had been synced, the bad place was
// once good, and is damage.
package record

import (
	"encoding/binary"
	"errors"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	// HeaderSize is the length of a record before its payload.
	HeaderSize = 16
	// MaxPayload is the largest payload.
	MaxPayload = base.MaxBatchSize

	lengthOffset = 4
	metaOffset   = 8

	// SyncedMax is the largest file offset that the header can state.
	SyncedMax = 1<<56 - 1
)

// Kind says what a payload is. The values are part of the format. None of them
// is zero, so that a run of zeros is never a record.
type Kind uint8

// The kinds of records.
const (
	KindHeader Kind = 1 // first in the file: the file's identity
	KindData   Kind = 2 // a batch, or an edit
	KindMark   Kind = 3 // no payload: only records what is durable
	kindEnd    Kind = 4
)

// ErrTorn is the end of a file that a crash cut short: from the offset returned
// with it, nothing was ever known to be durable.
var ErrTorn = errors.New("torn record")

// Append appends a record to dst; the record will be at offset off of the file
// id.
func Append(dst []byte, id base.Identity, off int64, kind Kind, synced int64, payload []byte) []byte {
	start := len(dst)
	var h [HeaderSize]byte
	binary.LittleEndian.PutUint32(h[lengthOffset:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(h[metaOffset:], uint64(synced)<<8|uint64(kind))
	dst = append(dst, h[:]...)
	dst = append(dst, payload...)
	// Sum header and payload in one pass, now that they are contiguous.
	binary.LittleEndian.PutUint32(dst[start:], id.Checksum(off, dst[start+lengthOffset:]))
	return dst
}

// Size returns the length of a record with a payload of n bytes.
func Size(n int) int64 { return HeaderSize + int64(n) }

// PayloadLen returns the length of the payload of the record at the start of p.
// It is for records that Append has just made, and checks nothing.
func PayloadLen(p []byte) int { return int(binary.LittleEndian.Uint32(p[lengthOffset:])) }

// header is a decoded header, which may be that of a real record or not.
type header struct {
	crc    uint32
	length int64
	kind   Kind
	synced int64
}

func decodeHeader(p []byte) header {
	meta := binary.LittleEndian.Uint64(p[metaOffset:])
	return header{
		crc:    binary.LittleEndian.Uint32(p),
		length: int64(binary.LittleEndian.Uint32(p[lengthOffset:])),
		kind:   Kind(meta),
		synced: int64(meta >> 8),
	}
}

// plausible reports whether a header at off of a file of size bytes can be
// real, as far as can be said without reading the payload.
func (h *header) plausible(off, size int64) bool {
	return h.kind >= KindHeader && h.kind < kindEnd &&
		(h.kind == KindHeader) == (off == 0) &&
		h.synced <= off &&
		h.length <= MaxPayload && h.length <= size-off-HeaderSize &&
		(h.kind != KindMark || h.length == 0)
}
