package valuelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/compress"
)

// File is what a Reader needs from an open file. ReadAt may be called
// concurrently.
type File interface {
	io.ReaderAt
	io.Closer
}

// ReaderOptions say which file it is and where its values are cached.
type ReaderOptions struct {
	ID base.Identity
	// Cache keeps values that were read, unless it is nil.
	Cache *cache.Cache
}

// Reader reads values from one file. It is safe for concurrent use.
type Reader struct {
	// Immutable after Open.
	f       File
	id      base.Identity
	cache   *cache.Cache
	cacheID uint64
	info    Info
	begin   uint64 // of the records
	end     uint64 // of the records
}

// Open checks the header and footer of the file, which has size bytes, and
// returns a Reader that owns f. If it fails f stays open.
func Open(f File, size int64, o ReaderOptions) (*Reader, error) {
	r := &Reader{f: f, id: o.ID, cache: o.Cache, begin: uint64(headerSize(o.ID))}
	if uint64(size) < r.begin+footerSize {
		return nil, r.corrupt(-1, "a file of %d bytes is too short for a value file", size)
	}
	r.end = uint64(size) - footerSize
	if err := r.readHeader(); err != nil {
		return nil, err
	}
	if err := r.readFooter(size); err != nil {
		return nil, err
	}
	if r.cache != nil {
		r.cacheID = cache.NewFileID()
	}
	return r, nil
}

func (r *Reader) readHeader() error {
	h := make([]byte, r.begin)
	if err := r.readAt(h, 0); err != nil {
		return err
	}
	le := binary.LittleEndian
	switch {
	case le.Uint64(h[0:]) != headerMagic:
		return r.corrupt(0, "the file is not a value file: its magic is wrong")
	case le.Uint32(h[8:]) != r.id.Checksum(0, h[12:]):
		// The checksum covers the identity that the file should have, so a
		// sound file with another identity fails it. Report that if it looks
		// like one.
		if other, ok := Identify(r.f, int64(r.end)); ok && other != r.id {
			return r.id.Mistaken(0, other)
		}
		return r.corrupt(0, "header checksum mismatch")
	case le.Uint32(h[12:]) > uint32(base.FormatNewest):
		return fmt.Errorf("%w: %s has format %d, this version knows %d",
			base.ErrFormatTooNew, r.id.Name(), le.Uint32(h[12:]), base.FormatNewest)
	}
	return nil
}

// Identify returns the identity in the header of a value file of size bytes,
// whatever the file is called now. ok is false if the header is not sound; the
// rest of the file does not matter.
func Identify(f io.ReaderAt, size int64) (id base.Identity, ok bool) {
	h := make([]byte, min(max(size, 0), headerMax))
	if n, _ := f.ReadAt(h, 0); n < len(h) || n < headerV1 {
		return id, false
	}
	le := binary.LittleEndian
	id = base.Identity{DB: le.Uint64(h[16:]), Type: base.FileTypeValues, Num: base.FileNum(le.Uint64(h[24:]))}
	if le.Uint32(h[12:]) == uint32(base.FormatV1) {
		h = h[:headerV1]
	} else if len(h) == headerMax {
		id.Incarnation = le.Uint64(h[headerV1:])
	}
	return id, le.Uint64(h) == headerMagic && le.Uint32(h[8:]) == id.Checksum(0, h[12:])
}

func (r *Reader) readFooter(size int64) error {
	var f [footerSize]byte
	off := int64(r.end)
	if err := r.readAt(f[:], off); err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint64(f[24:]) != footerMagic {
		return r.corrupt(off, "the footer is missing")
	}
	if le.Uint32(f[32:]) != r.id.Checksum(off, f[:32]) {
		return r.corrupt(off, "footer checksum mismatch")
	}
	r.info = Info{Size: uint64(size), Count: le.Uint64(f[0:]), Bytes: le.Uint64(f[8:]), Raw: le.Uint64(f[16:])}
	if r.info.Bytes != r.end-r.begin {
		return r.corrupt(off, "footer counts %d bytes of records, the file has %d", r.info.Bytes, r.end-r.begin)
	}
	return nil
}

// Info returns the content of the file's footer.
func (r *Reader) Info() Info { return r.info }

// Close closes the file and drops its values from the cache.
func (r *Reader) Close() error {
	if r.cache != nil {
		r.cache.Drop(r.cacheID)
	}
	return r.f.Close()
}

// maxCached is the largest value that is cached. Reading a larger one takes so
// long (256 KiB: 40 µs from the page cache of the system) that finding it
// hardly matters, and a few of them would push out thousands of pages.
const maxCached = 256 << 10

// AppendValue appends the value that p points to, through the cache. It
// allocates only when dst lacks room.
func (r *Reader) AppendValue(dst []byte, p Pointer) ([]byte, error) {
	if r.cache == nil || p.RawLength == 0 || p.RawLength > maxCached {
		return r.AppendUncached(dst, p)
	}
	if err := r.checkPointer(p); err != nil {
		return dst, err
	}
	h, state := r.cache.Acquire(cache.Key{File: r.cacheID, Off: p.Offset}, int(p.RawLength), false)
	if state == cache.Fill {
		frame := h.Bytes()
		out, err := r.AppendUncached(frame[:0:len(frame)], p)
		if err != nil {
			h.Abort()
			return dst, err
		}
		_ = out // out exactly fills frame: checkRecord compared the lengths
		h.Publish()
	}
	if len(h.Bytes()) != int(p.RawLength) {
		// Two pointers to one offset disagree about the length: one of them was
		// not made for this file.
		h.Release()
		return dst, r.corrupt(int64(p.Offset), "pointer and cached value differ in length")
	}
	dst = append(dst, h.Bytes()...)
	h.Release()
	return dst, nil
}

// scratch holds buffers for whole records.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch is the largest buffer that goes back to the pool.
const maxScratch = 1 << 20

// AppendUncached is AppendValue without the cache: for compactions, which would
// fill it with values they read once.
func (r *Reader) AppendUncached(dst []byte, p Pointer) ([]byte, error) {
	if err := r.checkPointer(p); err != nil {
		return dst, err
	}
	if p.Length > maxScratch {
		return r.appendLarge(dst, p)
	}
	buf := scratch.Get().(*[]byte)
	*buf = slices.Grow((*buf)[:0], int(p.Length))[:p.Length]
	err := r.readAt(*buf, int64(p.Offset))
	if err == nil {
		dst, err = r.appendRecordValue(dst, *buf, p)
	}
	scratch.Put(buf)
	return dst, err
}

// appendLarge reads the record of a large value straight into its destination,
// so that memory does not hold it twice.
func (r *Reader) appendLarge(dst []byte, p Pointer) ([]byte, error) {
	n := len(dst)
	dst = slices.Grow(dst, int(p.Length))
	rec := dst[n : n+int(p.Length)]
	if err := r.readAt(rec, int64(p.Offset)); err != nil {
		return dst[:n], err
	}
	h, err := r.checkPointed(rec, p)
	if err != nil {
		return dst[:n], err
	}
	if h.codec == compress.None {
		return dst[:n+copy(rec, h.value(rec))], nil
	}
	out, err := r.appendDecoded(nil, rec, h, int64(p.Offset))
	if err != nil {
		return dst[:n], err
	}
	return append(dst[:n], out...), nil
}

// checkPointer returns an error for a pointer that is not inside this file.
func (r *Reader) checkPointer(p Pointer) error {
	if p.File != r.id.Num {
		panic(fmt.Sprintf("valuelog: pointer %v followed into %s", p, r.id.Name()))
	}
	if p.Length < recordHeaderSize || p.Length > maxRecordSize || p.RawLength > base.MaxValueSize ||
		p.Offset < r.begin || p.Offset > r.end || uint64(p.Length) > r.end-p.Offset {
		return r.corrupt(int64(min(p.Offset, 1<<62)), "a pointer to %d bytes is not within the %d bytes of records", p.Length, r.end)
	}
	return nil
}

// appendRecordValue appends the value of rec, which must be the record of p.
func (r *Reader) appendRecordValue(dst, rec []byte, p Pointer) ([]byte, error) {
	h, err := r.checkPointed(rec, p)
	if err != nil {
		return dst, err
	}
	return r.appendDecoded(dst, rec, h, int64(p.Offset))
}

// checkPointed checks that rec is the record of p.
func (r *Reader) checkPointed(rec []byte, p Pointer) (recordHeader, error) {
	h, err := r.checkRecord(rec, int64(p.Offset))
	if err == nil && (h.sum != p.Checksum || h.raw != int(p.RawLength) || h.size() != len(rec)) {
		err = r.corrupt(int64(p.Offset), "the record is sound but is not the one pointed to")
	}
	return h, err
}

// appendDecoded appends the value of a record that passed checkRecord.
func (r *Reader) appendDecoded(dst, rec []byte, h recordHeader, off int64) ([]byte, error) {
	stored := h.value(rec)
	if h.codec == compress.None {
		return append(dst, stored...), nil
	}
	n := len(dst)
	dst = slices.Grow(dst, h.raw)[:n+h.raw]
	if err := compress.Decode(dst[n:], stored, h.codec); err != nil {
		e := r.corrupt(off, "value does not decompress")
		e.Err = err
		return dst[:n], e
	}
	return dst, nil
}

// recordHeader is the decoded header of a record.
type recordHeader struct {
	sum              uint32
	key, stored, raw int // lengths; each within the limits of package base
	codec            compress.Codec
}

func (h recordHeader) size() int { return recordHeaderSize + h.key + h.stored }

// value returns the stored value of rec.
func (h recordHeader) value(rec []byte) []byte { return rec[recordHeaderSize+h.key : h.size()] }

// decodeRecordHeader decodes b, of at least recordHeaderSize bytes, and checks
// it as far as possible without the rest.
func decodeRecordHeader(b []byte) (recordHeader, error) {
	le := binary.LittleEndian
	kc, stored, raw := le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])
	h := recordHeader{sum: le.Uint32(b), codec: compress.Codec(kc & 0xff)}
	if kc>>8 > base.MaxKeySize || stored > base.MaxValueSize || raw > base.MaxValueSize {
		return h, errors.New("record with impossible lengths")
	}
	h.key, h.stored, h.raw = int(kc>>8), int(stored), int(raw)
	if !h.codec.Valid() || h.codec == compress.None && h.raw != h.stored {
		return h, errors.New("record with an impossible codec")
	}
	return h, nil
}

// checkRecord checks the record at the start of rec, which is at off in the
// file.
func (r *Reader) checkRecord(rec []byte, off int64) (recordHeader, error) {
	h, err := decodeRecordHeader(rec)
	if err != nil {
		return h, r.corrupt(off, "%v", err)
	}
	if h.size() > len(rec) {
		return h, r.corrupt(off, "the record claims %d bytes, more than the %d read", h.size(), len(rec))
	}
	if r.id.Checksum(off, rec[4:h.size()]) != h.sum {
		return h, r.corrupt(off, "record checksum mismatch")
	}
	return h, nil
}

// readAt fills b. A file that ends too early is damaged, since its length was
// checked when it was opened.
func (r *Reader) readAt(b []byte, off int64) error {
	n, err := r.f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return r.corrupt(off+int64(n), "the file ends before byte %d", off+int64(len(b)))
	}
	var c *base.CorruptionError
	if errors.As(err, &c) {
		return err // the file is missing, and the error says so
	}
	return fmt.Errorf("read %s: %w", r.id.Name(), err)
}

func (r *Reader) corrupt(off int64, format string, args ...any) *base.CorruptionError {
	return base.Corruptf(r.id.Name(), off, format, args...)
}
