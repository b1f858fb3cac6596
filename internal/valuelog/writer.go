package valuelog

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
)

// writeSize is how much a Writer gathers before it writes: large enough to make
// the cost of the call negligible, small enough to stay in the second-level
// cache.
const writeSize = 256 << 10

// minSaving is the share of a value that compression must save, as a divisor:
// an eighth. Less is not worth the time of every read.
const minSaving = 8

// maxCompressed is the largest value that is compressed. It bounds the codec's
// scratch buffer, which no budget counts.
const maxCompressed = 16 << 20

// Writer writes one value file. It is used by one goroutine.
type Writer struct {
	w     io.Writer
	id    base.Identity
	codec compress.Codec

	buf    []byte                 // gathered, not yet written; record headers are in it whole
	off    uint64                 // file offset of the end of buf
	packed []byte                 // scratch of the codec
	head   [recordHeaderSize]byte // scratch
	info   Info
	err    error // sticky
	done   bool
}

// Info describes a finished file.
type Info struct {
	Size  uint64 // of the file
	Bytes uint64 // of the records
	Count uint64 // of the records
	Raw   uint64 // sum of the lengths of the values
}

// NewWriter starts a value file on w. It compresses values with codec where
// that pays.
func NewWriter(w io.Writer, id base.Identity, codec compress.Codec) *Writer {
	vw := &Writer{w: w, id: id, codec: codec, buf: make([]byte, 0, writeSize)}
	vw.buf = appendHeader(vw.buf, id)
	vw.off = uint64(len(vw.buf))
	return vw
}

func appendHeader(dst []byte, id base.Identity) []byte {
	n := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, headerMagic)
	dst = binary.LittleEndian.AppendUint32(dst, 0) // placeholder for the checksum
	dst = binary.LittleEndian.AppendUint32(dst, uint32(id.Format()))
	dst = binary.LittleEndian.AppendUint64(dst, id.DB)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(id.Num))
	if id.Format() > base.FormatV1 {
		dst = binary.LittleEndian.AppendUint64(dst, id.Incarnation)
	}
	binary.LittleEndian.PutUint32(dst[n+8:], id.Checksum(0, dst[n+12:]))
	return dst
}

// Add appends a value and returns its position. Errors are sticky.
func (w *Writer) Add(key, value []byte) (Pointer, error) {
	if len(key) > base.MaxKeySize || len(value) > base.MaxValueSize {
		return Pointer{}, fmt.Errorf("valuelog: key of %d or value of %d bytes is over the limit", len(key), len(value))
	}
	stored, codec := value, compress.None
	if w.codec != compress.None && len(value) <= maxCompressed {
		w.packed = compress.Encode(w.packed[:0], value, w.codec)
		if len(w.packed) <= len(value)-len(value)/minSaving-1 {
			stored, codec = w.packed, w.codec
		}
	}
	return w.addStored(key, stored, codec, len(value))
}

// addStored appends a record whose value is already encoded.
func (w *Writer) addStored(key, stored []byte, codec compress.Codec, raw int) (Pointer, error) {
	if w.err != nil {
		return Pointer{}, w.err
	}
	if w.done {
		panic("valuelog: Add after Finish")
	}
	h := w.head[:]
	binary.LittleEndian.PutUint32(h[4:], uint32(len(key))<<8|uint32(codec))
	binary.LittleEndian.PutUint32(h[8:], uint32(len(stored)))
	binary.LittleEndian.PutUint32(h[12:], uint32(raw))
	sum := w.id.Checksum(int64(w.off), h[4:])
	sum = base.ExtendChecksum(base.ExtendChecksum(sum, key), stored)
	binary.LittleEndian.PutUint32(h, sum)
	length := recordHeaderSize + len(key) + len(stored)
	p := Pointer{File: w.id.Num, Offset: w.off, Length: uint32(length), RawLength: uint32(raw), Checksum: sum}

	w.write(h)
	w.write(key)
	w.write(stored)
	w.off += uint64(length)
	w.info.Bytes += uint64(length)
	w.info.Raw += uint64(raw)
	w.info.Count++
	return p, w.err
}

// write gathers b. It writes what is larger than the buffer directly.
func (w *Writer) write(b []byte) {
	if len(w.buf)+len(b) > cap(w.buf) {
		w.flush()
		if len(b) >= cap(w.buf) {
			if w.err == nil {
				_, w.err = w.w.Write(b)
			}
			return
		}
	}
	w.buf = append(w.buf, b...)
}

func (w *Writer) flush() {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

// Size returns the length that the file would have if it were finished now.
func (w *Writer) Size() uint64 { return w.off + footerSize }

// Count returns the number of values added.
func (w *Writer) Count() uint64 { return w.info.Count }

// Finish writes the rest and the footer. It does not sync.
func (w *Writer) Finish() (Info, error) {
	if w.err != nil {
		return Info{}, w.err
	}
	w.done = true
	w.info.Size = w.off + footerSize
	var f [footerSize]byte
	binary.LittleEndian.PutUint64(f[0:], w.info.Count)
	binary.LittleEndian.PutUint64(f[8:], w.info.Bytes)
	binary.LittleEndian.PutUint64(f[16:], w.info.Raw)
	binary.LittleEndian.PutUint64(f[24:], footerMagic)
	binary.LittleEndian.PutUint32(f[32:], w.id.Checksum(int64(w.off), f[:32]))
	w.write(f[:])
	w.flush()
	w.buf, w.packed = nil, nil
	return w.info, w.err
}
