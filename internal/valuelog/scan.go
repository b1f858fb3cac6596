package valuelog

import "context"

// Record is one value of a Scan. The slices are valid during the call.
type Record struct {
	Pointer Pointer
	Key     []byte
	Value   []byte // decompressed
}

// scanSize is how much a scan reads at a time.
const scanSize = 256 << 10

// Scan reads the whole file in order and checks every byte of it: each record,
// and the footer against their totals. It stops at the first error of fn or of
// the file, or when ctx ends. A nil fn only checks.
func (r *Reader) Scan(ctx context.Context, fn func(Record) error) error {
	var (
		w     = window{r: r, off: r.begin}
		value []byte
		sum   = Info{Size: r.info.Size}
	)
	for off := r.begin; off < r.end; off = w.off {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, h, err := w.next()
		if err != nil {
			return err
		}
		if value, err = r.appendDecoded(value[:0], rec, h, int64(off)); err != nil {
			return err
		}
		if fn != nil {
			p := Pointer{File: r.id.Num, Offset: off, Length: uint32(h.size()), RawLength: uint32(h.raw), Checksum: h.sum}
			if err := fn(Record{Pointer: p, Key: rec[recordHeaderSize : recordHeaderSize+h.key], Value: value}); err != nil {
				return err
			}
		}
		sum.Count, sum.Bytes, sum.Raw = sum.Count+1, sum.Bytes+uint64(h.size()), sum.Raw+uint64(h.raw)
	}
	if sum != r.info {
		return r.corrupt(int64(r.end), "footer counts %d values of %d bytes, the file has %d of %d",
			r.info.Count, r.info.Raw, sum.Count, sum.Raw)
	}
	return nil
}

// window is the part of a file that a scan has read and not yet passed to fn.
type window struct {
	r    *Reader
	off  uint64 // file offset of rest
	rest []byte
	buf  []byte // contains rest
}

// next returns the record at off, checked, and advances past it. The record is
// valid until the next call.
func (w *window) next() ([]byte, recordHeader, error) {
	if err := w.fill(recordHeaderSize); err != nil {
		return nil, recordHeader{}, err
	}
	h, err := decodeRecordHeader(w.rest)
	if err != nil {
		return nil, h, w.r.corrupt(int64(w.off), "%v", err)
	}
	if err := w.fill(h.size()); err != nil {
		return nil, h, err
	}
	rec := w.rest[:h.size()]
	if _, err := w.r.checkRecord(rec, int64(w.off)); err != nil {
		return nil, h, err
	}
	w.off += uint64(len(rec))
	w.rest = w.rest[len(rec):]
	return rec, h, nil
}

// fill makes rest at least n bytes long.
func (w *window) fill(n int) error {
	if n <= len(w.rest) {
		return nil
	}
	if uint64(n) > w.r.end-w.off {
		return w.r.corrupt(int64(w.off), "a record of %d bytes runs past the end of the records", n)
	}
	size := int(min(w.r.end-w.off, uint64(max(n, scanSize))))
	if size > cap(w.buf) {
		grown := make([]byte, size)
		copy(grown, w.rest)
		w.buf = grown
	} else {
		copy(w.buf[:len(w.rest)], w.rest) // copy is a memmove: overlap is fine
	}
	have := len(w.rest)
	w.rest = w.buf[:size]
	return w.r.readAt(w.rest[have:], int64(w.off)+int64(have))
}
