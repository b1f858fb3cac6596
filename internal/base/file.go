package base

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// FileNum numbers the files of a database. Numbers grow and are never reused,
// so two files never share a name.
type FileNum uint64

// FileType says what a file holds. The values enter checksums.
type FileType uint8

// The file types.
const (
	FileTypeUnknown  FileType = iota
	FileTypeLog               // 000001.wal
	FileTypeTable             // 000001.sst
	FileTypeValues            // 000001.val
	FileTypeManifest          // MANIFEST-000001
	FileTypeCurrent           // CURRENT
	FileTypeLock              // LOCK
	FileTypeTemp              // 000001.tmp
	FileTypeReserve           // RESERVE
	FileTypePack              // 000001.pack

	NumFileTypes int = iota
)

var fileTypeNames = [...]string{"unknown", "log", "table", "values", "manifest", "current", "lock", "temp", "reserve", "pack"}

func (t FileType) String() string {
	if int(t) < len(fileTypeNames) {
		return fileTypeNames[t]
	}
	return "unknown"
}

// FileName returns the name of a file inside the database directory.
func FileName(t FileType, n FileNum) string {
	switch t {
	case FileTypeLog:
		return fmt.Sprintf("%06d.wal", uint64(n))
	case FileTypeTable:
		return fmt.Sprintf("%06d.sst", uint64(n))
	case FileTypeValues:
		return fmt.Sprintf("%06d.val", uint64(n))
	case FileTypeManifest:
		return fmt.Sprintf("MANIFEST-%06d", uint64(n))
	case FileTypeTemp:
		return fmt.Sprintf("%06d.tmp", uint64(n))
	case FileTypePack:
		return fmt.Sprintf("%06d.pack", uint64(n))
	case FileTypeCurrent:
		return "CURRENT"
	case FileTypeLock:
		return "LOCK"
	case FileTypeReserve:
		return "RESERVE"
	}
	return ""
}

// ParseFileName is the inverse of FileName. It accepts only names that FileName
// produces, so that the database never takes a foreign file for its own.
func ParseFileName(name string) (FileType, FileNum, bool) {
	switch name {
	case "CURRENT":
		return FileTypeCurrent, 0, true
	case "LOCK":
		return FileTypeLock, 0, true
	case "RESERVE":
		return FileTypeReserve, 0, true
	}
	t, digits := FileTypeUnknown, ""
	if d, ok := strings.CutPrefix(name, "MANIFEST-"); ok {
		t, digits = FileTypeManifest, d
	} else if d, ext, ok := strings.Cut(name, "."); ok {
		digits = d
		switch ext {
		case "wal":
			t = FileTypeLog
		case "sst":
			t = FileTypeTable
		case "val":
			t = FileTypeValues
		case "tmp":
			t = FileTypeTemp
		case "pack":
			t = FileTypePack
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if t == FileTypeUnknown || err != nil || FileName(t, FileNum(n)) != name {
		return FileTypeUnknown, 0, false
	}
	return t, FileNum(n), true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Identity says which file some bytes belong to. Every checksum covers it
// together with their offset, so that a block copied from another file,
// database or offset fails its check.
type Identity struct {
	DB   uint64 // random, chosen when the database is created
	Type FileType
	Num  FileNum
	// Incarnation is random, chosen at each Open, and tells apart files of two
	// copies of one database: both may go on from the same state and number
	// their files alike. It is 0 in format 1.
	Incarnation uint64
}

// Name returns the file's name inside the database directory.
func (id Identity) Name() string { return FileName(id.Type, id.Num) }

// Format returns the format version of a file with this identity.
func (id Identity) Format() FormatVersion {
	if id.Incarnation == 0 {
		return FormatV1
	}
	return FormatV2
}

func (id Identity) String() string {
	return fmt.Sprintf("%s of incarnation %016x of database %016x", id.Name(), id.Incarnation, id.DB)
}

// Mistaken returns the error for a file whose bytes are sound but whose header
// names another file than id.
func (id Identity) Mistaken(off int64, other Identity) *CorruptionError {
	return Corruptf(id.Name(), off, "the file is %v, expected %v: it was renamed or copied here", other, id)
}

// Checksum returns the CRC-32C of data, seeded with a mix of the identity and
// the offset. CRC is a bijection of its start value, so the same bytes at
// another offset or in another file pass only if the seeds collide (2^-32).
// Seeding costs a few ns and, unlike hashing a header, no allocation.
func (id Identity) Checksum(off int64, data []byte) uint32 {
	h := mix(id.DB ^ uint64(id.Type)<<56)
	if id.Incarnation != 0 {
		h = mix(h ^ id.Incarnation)
	}
	h = mix(h ^ uint64(id.Num))
	h = mix(h ^ uint64(off))
	return crc32.Update(uint32(h), castagnoli, data)
}

// ExtendChecksum continues a checksum over more data.
func ExtendChecksum(sum uint32, data []byte) uint32 { return crc32.Update(sum, castagnoli, data) }

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// FormatVersion is the version of everything on disk. A database records the
// version it was written with; an engine refuses versions newer than it knows.
type FormatVersion uint32

const (
	// FormatV1 is the first version: log, tables, value files and manifest as
	// docs/FORMAT.md draws them.
	FormatV1 FormatVersion = 1
	// FormatV2 adds the incarnation to the identity of every file, and to
	// CURRENT the lengths of the logs of a database that was closed.
	FormatV2 FormatVersion = 2
	// FormatNewest is the version of new databases.
	FormatNewest = FormatV2
)
