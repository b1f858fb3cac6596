package record

import (
	"errors"
	"io"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	// windowSize is how many bytes are read at a time.
	windowSize = 256 << 10

	// A scan for proof of damage may meet many plausible headers in bytes that
	// an attacker chose, each with a long payload to sum. It sums at most
	// scanFactor times the bytes that it scans, plus scanFree; then it gives up
	// and reports damage, which loses nothing.
	scanFactor = 16
	scanFree   = 64 << 20
)

// Reader reads records in order. It is used by one goroutine.
type Reader struct {
	r    io.ReaderAt   // immutable
	size int64         // immutable
	id   base.Identity // immutable

	off     int64 // of the next record
	durable int64 // bytes known to be durable
	kind    Kind  // of the last record
	err     error // sticky; badOff is its offset
	badOff  int64

	window    []byte // bytes from windowOff on
	windowOff int64
	scratch   []byte // for sumMatches
}

// NewReader returns a reader of a file of size bytes.
func NewReader(r io.ReaderAt, size int64, id base.Identity) *Reader {
	return &Reader{r: r, size: size, id: id}
}

// KnowDurable sets that the first n bytes of the file were durable: a bad
// record or an end before n is then damage.
func (r *Reader) KnowDurable(n int64) { r.durable = max(r.durable, n) }

// Kind returns the kind of the record that Next returned.
func (r *Reader) Kind() Kind { return r.kind }

// Durable returns how many bytes are known to have been durable, from
// KnowDurable and the records read so far.
func (r *Reader) Durable() int64 { return r.durable }

// Offset returns the end of the last good record.
func (r *Reader) Offset() int64 { return r.off }

// Next returns the payload of the next record and the record's offset. The
// payload is valid until the next call. The error is io.EOF at a clean end,
// ErrTorn at an end that a crash may have left, a *base.CorruptionError where
// durable bytes were damaged, or an error of the file; the offset is then that
// of the bad record. Errors are sticky.
func (r *Reader) Next() (payload []byte, off int64, err error) {
	if r.err == nil {
		payload, err = r.next()
		if err == nil {
			off = r.off
			r.off += HeaderSize + int64(len(payload))
			return payload, off, nil
		}
		r.fail(err)
	}
	return nil, r.badOff, r.err
}

func (r *Reader) fail(err error) {
	r.err, r.badOff = err, r.off
	r.window, r.scratch = nil, nil
}

func (r *Reader) next() ([]byte, error) {
	left := r.size - r.off
	if left == 0 {
		if r.off < r.durable {
			return nil, r.damaged("the file ends early: %d bytes of it had been synced", r.durable)
		}
		return nil, io.EOF
	}
	if left < HeaderSize {
		return nil, r.bad("%d bytes are no header", left)
	}
	p, err := r.read(r.off, HeaderSize)
	if err != nil {
		return nil, err
	}
	h := decodeHeader(p)
	if !h.plausible(r.off, r.size) {
		return nil, r.bad("no record header")
	}
	// A long record is summed piece by piece before memory is allocated for it.
	if h.length > windowSize {
		ok, err := r.sumMatches(h, r.off)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, r.bad("checksum mismatch over %d bytes", h.length)
		}
	}
	p, err = r.read(r.off, HeaderSize+h.length)
	if err != nil {
		return nil, err
	}
	if r.id.Checksum(r.off, p[lengthOffset:]) != h.crc {
		return nil, r.bad("checksum mismatch over %d bytes", h.length)
	}
	r.kind = h.kind
	r.durable = max(r.durable, h.synced)
	return p[HeaderSize:], nil
}

// read returns n bytes at off, which must exist. They are valid until the next
// read.
func (r *Reader) read(off, n int64) ([]byte, error) {
	if off < r.windowOff || off+n > r.windowOff+int64(len(r.window)) {
		want := min(max(n, windowSize), r.size-off)
		if int64(cap(r.window)) < want {
			r.window = make([]byte, want)
		}
		r.window = r.window[:want]
		r.windowOff = off
		if err := r.readFull(r.window, off); err != nil {
			r.window = r.window[:0]
			return nil, err
		}
	}
	i := off - r.windowOff
	return r.window[i : i+n : i+n], nil
}

// readFull fills p from off. A file that ends before its size is damaged.
func (r *Reader) readFull(p []byte, off int64) error {
	n, err := r.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		e := base.Corruptf(r.id.Name(), off+int64(n), "file ends before its size of %d bytes", r.size)
		e.Err = io.ErrUnexpectedEOF
		return e
	}
	return err
}

// sumMatches checks the sum of a record in pieces, without the window.
func (r *Reader) sumMatches(h header, off int64) (bool, error) {
	if r.scratch == nil {
		r.scratch = make([]byte, min(windowSize, r.size))
	}
	end := off + HeaderSize + h.length
	var sum uint32
	for pos := off; pos < end; {
		p := r.scratch[:min(int64(len(r.scratch)), end-pos)]
		if err := r.readFull(p, pos); err != nil {
			return false, err
		}
		if pos == off {
			sum = r.id.Checksum(off, p[lengthOffset:])
		} else {
			sum = base.ExtendChecksum(sum, p)
		}
		pos += int64(len(p))
	}
	return sum == h.crc, nil
}

func (r *Reader) damaged(format string, args ...any) error {
	return base.Corruptf(r.id.Name(), r.off, format, args...)
}

// bad returns the error for a bad record at the current offset: torn or
// damaged.
func (r *Reader) bad(format string, args ...any) error {
	if r.off < r.durable {
		return r.damaged(format, args...)
	}
	proof, err := r.findProof()
	if err != nil {
		return err
	}
	if proof >= 0 {
		return r.damaged(format+"; the record at %d says that it had been synced", append(args, proof)...)
	}
	return ErrTorn
}

// findProof looks after a bad record for a good one that says that the bad
// one's offset had been synced, and returns its offset, or -1.
func (r *Reader) findProof() (int64, error) {
	budget := scanFree + scanFactor*(r.size-r.off)
	buf := make([]byte, min(windowSize, r.size-r.off))
	// Records are not aligned, so every offset is tried. A chunk overlaps the
	// next by one byte less than a header.
	for start := r.off + 1; start+HeaderSize <= r.size; {
		p := buf[:min(int64(len(buf)), r.size-start)]
		if err := r.readFull(p, start); err != nil {
			return -1, err
		}
		for i := 0; i+HeaderSize <= len(p); i++ {
			if k := Kind(p[i+metaOffset]); k < KindHeader || k >= kindEnd {
				continue
			}
			h, off := decodeHeader(p[i:]), start+int64(i)
			if h.synced <= r.off || !h.plausible(off, r.size) {
				continue
			}
			if budget -= HeaderSize + h.length; budget < 0 {
				return -1, r.damaged("bad record, followed by too many that may be good")
			}
			if ok, err := r.matches(h, off, p[i:]); ok || err != nil {
				return off, err
			}
		}
		start += int64(len(p)) - HeaderSize + 1
	}
	return -1, nil
}

// matches is sumMatches for a record of which p has at least the beginning.
func (r *Reader) matches(h header, off int64, p []byte) (bool, error) {
	if n := HeaderSize + h.length; n <= int64(len(p)) {
		return r.id.Checksum(off, p[lengthOffset:n]) == h.crc, nil
	}
	return r.sumMatches(h, off)
}
