// Package record frames payloads as checksummed records, one after another, in
// a file that is only ever appended to: the log and the manifest. A reader can
// tell the end that a crash may leave, which is cut, from damage to bytes that
// were known to be durable, which is reported.
//
//	 0        4        8        9                    16
//	+--------+--------+--------+--------------------+----------------+
//	| crc    | length | kind   | synced             | payload        |
//	| u32 LE | u32 LE | u8     | u56 LE             | length bytes   |
//	+--------+--------+--------+--------------------+----------------+
//
// crc is base.Identity.Checksum over everything after it, salted with the file
// and the record's offset in it: a record that was copied to another file or
// another place, or is left over from an earlier use of the disk block, fails.
//
// synced is how many bytes of the file were known to be durable when the
// record was framed. It is what tells a torn tail from damage. Bytes after the
// last sync may reach the disk in any order, so after a crash whole records can
// stand behind a torn one, and mean nothing: reading ends at the first bad
// record. But if any record behind it says that the bad place had been synced,
// then the bad place was once good, and is damage.
package record

import (
	"encoding/binary"
	"errors"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	// HeaderSize is the bytes before the payload.
	HeaderSize = 16
	// MaxPayload is the largest payload.
	MaxPayload = base.MaxBatchSize

	lengthOffset = 4
	metaOffset   = 8

	// SyncedMax is the largest file offset that the header can state.
	SyncedMax = 1<<56 - 1
)

// Kind says what a payload is. The values are part of the format; zero is none
// of them, so that a run of zeros is never a record.
type Kind uint8

// The kinds of records.
const (
	KindHeader Kind = 1 // first in the file: what the file is
	KindData   Kind = 2 // a batch, an edit
	KindMark   Kind = 3 // no payload: only states what is durable
	kindEnd    Kind = 4
)

// ErrTorn is the end of a file that a crash cut short: from the offset on that
// comes with it, nothing was ever known to be durable.
var ErrTorn = errors.New("torn record")

// Append appends a record to dst, which will be at offset off of the file id.
func Append(dst []byte, id base.Identity, off int64, kind Kind, synced int64, payload []byte) []byte {
	start := len(dst)
	var h [HeaderSize]byte
	binary.LittleEndian.PutUint32(h[lengthOffset:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(h[metaOffset:], uint64(synced)<<8|uint64(kind))
	dst = append(dst, h[:]...)
	dst = append(dst, payload...)
	// One pass over header and payload together, after they are side by side.
	binary.LittleEndian.PutUint32(dst[start:], id.Checksum(off, dst[start+lengthOffset:]))
	return dst
}

// Size returns the bytes of a record with a payload of n bytes.
func Size(n int) int64 { return HeaderSize + int64(n) }

// PayloadLen returns the length of the payload of the record that p begins
// with. It is for records that Append has just made, and checks nothing.
func PayloadLen(p []byte) int { return int(binary.LittleEndian.Uint32(p[lengthOffset:])) }

// header is a decoded header that may or may not be true.
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

// plausible reports whether a header at off of a file of size bytes could be
// one: all that can be said without reading the payload.
func (h *header) plausible(off, size int64) bool {
	return h.kind >= KindHeader && h.kind < kindEnd &&
		(h.kind == KindHeader) == (off == 0) &&
		h.synced <= off &&
		h.length <= MaxPayload && h.length <= size-off-HeaderSize &&
		(h.kind != KindMark || h.length == 0)
}
