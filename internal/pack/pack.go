package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/seerdb-go/seerdb/internal/base"
)

var le = binary.LittleEndian

const (
	// magic ends every pack.
	magic = "seerpak\x01"
	// entrySize is the size of a table's entry in the directory: u64 number,
	// u64 offset, u64 size.
	entrySize = 24
	sumSize   = 4
	// footerSize never changes: a reader of any version finds the format
	// version in the footer.
	//
	//	 0  u64 tables              how many entries the directory has
	//	 8  u64 database            the identity, repeated for a better message
	//	16  u64 file number
	//	24  u64 incarnation
	//	32  u32 format version
	//	36  u32 checksum            of the footer before it
	//	40  magic
	footerSize = 48
)

// Table is the position of a table in a pack.
type Table struct {
	Num          base.FileNum
	Offset, Size uint64
}

// Writer writes a pack. It is used by one goroutine and does not buffer.
type Writer struct {
	w      io.Writer
	id     base.Identity
	size   uint64
	tables []Table
}

// NewWriter returns a writer of the pack id to w, whose first byte is at offset
// 0 of its file.
func NewWriter(w io.Writer, id base.Identity) *Writer { return &Writer{w: w, id: id} }

// Add appends a whole table, and returns its offset.
func (w *Writer) Add(num base.FileNum, table []byte) (offset uint64, err error) {
	offset = w.size
	if err := w.write(table); err != nil {
		return 0, err
	}
	w.tables = append(w.tables, Table{Num: num, Offset: offset, Size: uint64(len(table))})
	return offset, nil
}

// Size returns how many bytes were written.
func (w *Writer) Size() uint64 { return w.size }

// Finish writes the directory and the footer, and returns the size of the file.
// It neither syncs nor closes it.
func (w *Writer) Finish() (size uint64, err error) {
	b := make([]byte, 0, len(w.tables)*entrySize+sumSize+footerSize)
	for _, t := range w.tables {
		b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, uint64(t.Num)), t.Offset), t.Size)
	}
	b = le.AppendUint32(b, w.id.Checksum(int64(w.size), b))
	b = appendFooter(b, w.id, int64(w.size)+int64(len(b)), uint64(len(w.tables)))
	err = w.write(b)
	return w.size, err
}

func (w *Writer) write(b []byte) error {
	_, err := w.w.Write(b)
	w.size += uint64(len(b))
	return err
}

func appendFooter(dst []byte, id base.Identity, off int64, tables uint64) []byte {
	start := len(dst)
	for _, v := range []uint64{tables, id.DB, uint64(id.Num), id.Incarnation} {
		dst = le.AppendUint64(dst, v)
	}
	dst = le.AppendUint32(dst, uint32(id.Format()))
	dst = le.AppendUint32(dst, id.Checksum(off, dst[start:]))
	return append(dst, magic...)
}

// Read returns the directory of the pack id, whose file has size bytes. If that
// is damaged the error is a *base.CorruptionError.
func Read(r io.ReaderAt, size int64, id base.Identity) ([]Table, error) {
	name := id.Name()
	end := size - footerSize
	b, err := readAt(r, name, end, footerSize)
	if err != nil {
		return nil, err
	}
	switch other, ok := identify(b, end); {
	case !ok:
		return nil, base.Corruptf(name, end, "the footer of the pack is missing or damaged")
	case other != id:
		return nil, id.Mistaken(end, other)
	}
	n := le.Uint64(b)
	if n == 0 || n > uint64(end)/entrySize {
		return nil, base.Corruptf(name, end, "the footer claims %d tables, too many for a file of %d bytes", n, size)
	}
	at := end - sumSize - int64(n)*entrySize
	if b, err = readAt(r, name, at, int(end-at)); err != nil {
		return nil, err
	}
	dir := b[:len(b)-sumSize]
	if le.Uint32(b[len(dir):]) != id.Checksum(at, dir) {
		return nil, base.Corruptf(name, at, "checksum mismatch in the directory")
	}
	return parse(dir, name, uint64(at))
}

// parse reads a directory, which begins at end. The tables fill the file up to
// there.
func parse(dir []byte, name string, end uint64) ([]Table, error) {
	tables := make([]Table, 0, len(dir)/entrySize)
	next := uint64(0)
	for ; len(dir) > 0; dir = dir[entrySize:] {
		t := Table{Num: base.FileNum(le.Uint64(dir)), Offset: le.Uint64(dir[8:]), Size: le.Uint64(dir[16:])}
		if t.Offset != next || t.Size > end-next {
			return nil, base.Corruptf(name, int64(end), "table %d of %d bytes is listed at offset %d; expected %d, within %d bytes", t.Num, t.Size, t.Offset, next, end)
		}
		next += t.Size
		tables = append(tables, t)
	}
	if next != end {
		return nil, base.Corruptf(name, int64(end), "the directory begins at offset %d, but the tables end at %d", end, next)
	}
	return tables, nil
}

func readAt(r io.ReaderAt, name string, off int64, n int) ([]byte, error) {
	if off < 0 {
		return nil, base.Corruptf(name, -1, "the file is too short for a pack")
	}
	b := make([]byte, n)
	switch got, err := r.ReadAt(b, off); {
	case got == n:
		return b, nil
	case err == nil || errors.Is(err, io.EOF):
		return nil, base.Corruptf(name, off, "the file ends %d bytes early", n-got)
	default:
		return nil, fmt.Errorf("seerdb: read %s at %d: %w", name, off, err)
	}
}

// Identify returns the identity of a pack of size bytes, whatever the file is
// called now. ok is false unless it ends in a sound footer.
func Identify(r io.ReaderAt, size int64) (id base.Identity, ok bool) {
	b, err := readAt(r, "", size-footerSize, footerSize)
	if err != nil {
		return id, false
	}
	return identify(b, size-footerSize)
}

func identify(b []byte, off int64) (id base.Identity, ok bool) {
	id = base.Identity{
		DB: le.Uint64(b[8:]), Type: base.FileTypePack, Num: base.FileNum(le.Uint64(b[16:])), Incarnation: le.Uint64(b[24:]),
	}
	return id, string(b[40:]) == magic && le.Uint32(b[36:]) == id.Checksum(off, b[:36])
}

// Section is a table in a pack, readable like a file of its own.
type Section struct {
	*io.SectionReader
	io.Closer
}

// NewSection returns size bytes of f from offset on. Closing the section closes
// f.
func NewSection(f File, offset, size uint64) Section {
	return Section{io.NewSectionReader(f, int64(offset), int64(size)), f}
}

// File is what a section needs from its file.
type File interface {
	io.ReaderAt
	io.Closer
}

// Shared is a file that several sections read and none closes.
type Shared struct{ io.ReaderAt }

// Close does nothing.
func (Shared) Close() error { return nil }
