package valuelog

import (
	"context"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Record is one value as Scan shows it. The slices are valid during the call.
type Record struct {
	Pointer Pointer
	Key     []byte
	Value   []byte // decompressed
}

// scanSize is how much Scan reads at a time.
const scanSize = 256 << 10

// Scan reads the whole file in order and checks every byte of it: each record,
// and the footer against the sum of them. It stops at the first error, of fn
// or of the file, or when ctx ends. A nil fn only checks.
func (r *Reader) Scan(ctx context.Context, fn func(Record) error) error {
	var (
		off   = uint64(headerSize)
		buf   []byte // holds the file from off on
		value []byte
		sum   = Info{Size: r.info.Size}
	)
	// fill makes buf at least n bytes long.
	fill := func(n int) error {
		if n <= len(buf) {
			return nil
		}
		if uint64(n) > r.end-off {
			return r.corrupt(int64(off), "record of %d bytes runs past the end of the records", n)
		}
		have := len(buf)
		want := int(min(r.end-off, uint64(max(n, scanSize))))
		grown := slices.Grow(make([]byte, 0, want), want)[:want]
		copy(grown, buf)
		buf = grown
		return r.readAt(buf[have:], int64(off)+int64(have))
	}
	for off < r.end {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fill(recordHeaderSize); err != nil {
			return err
		}
		h, err := decodeRecordHeader(buf)
		if err != nil {
			return r.corrupt(int64(off), "%v", err)
		}
		if err := fill(h.size()); err != nil {
			return err
		}
		if _, err := r.checkRecord(buf, int64(off)); err != nil {
			return err
		}
		if value, err = r.appendDecoded(value[:0], buf, h, int64(off)); err != nil {
			return err
		}
		if len(value) != h.raw {
			return r.corrupt(int64(off), "value of %d bytes where the record says %d", len(value), h.raw)
		}
		if fn != nil {
			rec := Record{Pointer: h.pointer(r.id.Num, off), Key: buf[recordHeaderSize : recordHeaderSize+h.key], Value: value}
			if err := fn(rec); err != nil {
				return err
			}
		}
		sum.Count, sum.Bytes, sum.Raw = sum.Count+1, sum.Bytes+uint64(h.size()), sum.Raw+uint64(h.raw)
		off, buf = off+uint64(h.size()), buf[h.size():]
	}
	if sum != r.info {
		return r.corrupt(int64(r.end), "footer counts %d values of %d bytes, the file has %d of %d",
			r.info.Count, r.info.Raw, sum.Count, sum.Raw)
	}
	return nil
}

// pointer is the pointer to the record with this head.
func (h recordHeader) pointer(num base.FileNum, off uint64) Pointer {
	return Pointer{File: num, Offset: off, Length: uint32(h.size()), RawLength: uint32(h.raw), Checksum: h.sum}
}
