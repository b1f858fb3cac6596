// Package valuelog implements value files, for values that are too large to be
// copied by every compaction (Lu et al., "WiscKey", FAST 2016). A table then
// stores a Pointer in place of the value.
//
// A flush or a compaction writes a value file once, front to back; it never
// changes. Garbage is collected when a compaction copies live values to a new
// file and the last table that points into the old one is gone. The manifest
// records for each file how much of it is live.
//
// # Format
//
// All integers are little-endian. Every checksum is base.Identity.Checksum of
// the bytes after it (before it, in the footer), at the offset of the piece.
//
//	header  magic u64 | crc u32 | format u32 | database u64 | number u64 | incarnation u64
//	record  crc u32 | keyLen:24 codec:8 u32 | stored u32 | raw u32 | key | value
//	  ...   one after another, without gaps
//	footer  count u64 | bytes u64 | raw u64 | magic u64 | crc u32
//
// stored is the length of the value in the file, raw its length once
// decompressed by codec. The footer's count and bytes are the totals of all
// records, raw the sum of their raw lengths. Format 1 has no incarnation. The
// key is for verification and repair; reads do not need it.
package valuelog

import "github.com/seerdb-go/seerdb/internal/base"

// The sizes and magic numbers are part of the format.
const (
	headerMagic = 0x4c41562d42444553 // "SEDB-VAL"
	footerMagic = 0x444e452d42444553 // "SEDB-END"

	headerV1         = 8 + 4 + 4 + 8 + 8
	headerMax        = headerV1 + 8
	recordHeaderSize = 4 + 4 + 4 + 4
	footerSize       = 8 + 8 + 8 + 8 + 4
)

// headerSize returns the length of the header of a file.
func headerSize(id base.Identity) int {
	if id.Format() == base.FormatV1 {
		return headerV1
	}
	return headerMax
}

// RecordSize returns the size in a file of one value that is not compressed.
func RecordSize(keyLen, valueLen int) uint64 {
	return recordHeaderSize + uint64(keyLen) + uint64(valueLen)
}

// maxRecordSize bounds the Length of a pointer.
const maxRecordSize = recordHeaderSize + base.MaxKeySize + base.MaxValueSize
