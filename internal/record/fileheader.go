package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/seerdb-go/seerdb/internal/base"
)

// The payload of the first record of a file names the file in plain form, so
// that a renamed file, or one copied from another database, is not taken for
// one whose first record is torn:
//
//	 0        7      8        12       16       24       32            40
//	+--------+------+--------+--------+--------+--------+-------------+-------+
//	| magic  | type | format | flags  | db     | number | incarnation | extra |
//	| seerdb0| u8   | u32 LE | u32 LE | u64 LE | u64 LE | u64 LE      |       |
//	+--------+------+--------+--------+--------+--------+-------------+-------+
//
// Flags are reserved; readers refuse those they do not know. Format 1 has no
// incarnation.
const (
	magic          = "seerdb\x00"
	fileHeaderV1   = 32
	fileHeaderSize = 40
	// extraMax bounds the extra part, so that little of a foreign file is read
	// before it is recognised.
	extraMax = 256
)

// AppendFileHeader appends the first record of a file.
func AppendFileHeader(dst []byte, id base.Identity, format base.FormatVersion, extra []byte) []byte {
	p := make([]byte, 0, fileHeaderSize+len(extra))
	p = append(p, magic...)
	p = append(p, byte(id.Type))
	p = binary.LittleEndian.AppendUint32(p, uint32(format))
	p = binary.LittleEndian.AppendUint32(p, 0)
	p = binary.LittleEndian.AppendUint64(p, id.DB)
	p = binary.LittleEndian.AppendUint64(p, uint64(id.Num))
	if format > base.FormatV1 {
		p = binary.LittleEndian.AppendUint64(p, id.Incarnation)
	}
	return Append(dst, id, 0, KindHeader, 0, append(p, extra...))
}

// FileHeader is the decoded first record of a file.
type FileHeader struct {
	ID     base.Identity
	Format base.FormatVersion
	Extra  []byte
}

func parseFileHeader(p []byte) (h FileHeader, ok bool) {
	if len(p) < fileHeaderV1 || len(p) > fileHeaderSize+extraMax || string(p[:7]) != magic {
		return h, false
	}
	h.ID = base.Identity{
		Type: base.FileType(p[7]),
		DB:   binary.LittleEndian.Uint64(p[16:]),
		Num:  base.FileNum(binary.LittleEndian.Uint64(p[24:])),
	}
	h.Format = base.FormatVersion(binary.LittleEndian.Uint32(p[8:]))
	if h.Format <= base.FormatV1 {
		h.Extra = p[fileHeaderV1:]
		return h, true
	}
	if len(p) < fileHeaderSize {
		return h, false
	}
	h.ID.Incarnation = binary.LittleEndian.Uint64(p[fileHeaderV1:])
	h.Extra = p[fileHeaderSize:]
	return h, true
}

// ReadFileHeader reads the first record, before any Next. In addition to the
// errors of Next it returns base.ErrFormatTooNew, and a *base.CorruptionError
// for an intact file that is not the one its name says.
func (r *Reader) ReadFileHeader() (FileHeader, error) {
	p, _, err := r.Next()
	if errors.Is(err, ErrTorn) || errors.Is(err, base.ErrCorruption) {
		if other, ok := Identify(r.r, r.size); ok && other.ID != r.id {
			err = r.id.Mistaken(0, other.ID)
			r.fail(err)
		}
	}
	if err != nil {
		return FileHeader{}, err
	}
	h, ok := parseFileHeader(p)
	switch {
	case ok && h.Format > base.FormatNewest:
		err = fmt.Errorf("%w: %s has format %d, the newest known is %d", base.ErrFormatTooNew, r.id.Name(), h.Format, base.FormatNewest)
	case !ok || h.Format == 0 || h.ID != r.id || binary.LittleEndian.Uint32(p[12:]) != 0:
		err = base.Corruptf(r.id.Name(), 0, "the file header is malformed")
	default:
		return h, nil
	}
	r.off = 0
	r.fail(err)
	return FileHeader{}, err
}

// Identify returns the header of a file, if its first record is intact,
// whatever the file is called now. It serves tools and error messages.
func Identify(r io.ReaderAt, size int64) (FileHeader, bool) {
	p := make([]byte, min(size, HeaderSize+fileHeaderSize+extraMax))
	if n, _ := r.ReadAt(p, 0); n < len(p) || n < HeaderSize {
		return FileHeader{}, false
	}
	h := decodeHeader(p)
	if h.kind != KindHeader || HeaderSize+h.length > int64(len(p)) {
		return FileHeader{}, false
	}
	p = p[:HeaderSize+h.length]
	f, ok := parseFileHeader(p[HeaderSize:])
	return f, ok && f.ID.Checksum(0, p[lengthOffset:]) == h.crc
}
