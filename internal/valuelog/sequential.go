package valuelog

import "github.com/seerdb-go/seerdb/internal/base"

// Sequential reads values in roughly their order in the file, as a compaction
// or a long scan over the output of one job does. It reads ahead, further the
// longer the order holds, and without the cache. It is used by one goroutine.
// The zero value with a Reader is ready.
type Sequential struct {
	Reader *Reader

	buf   []byte
	off   uint64 // file offset of buf
	next  uint64 // where the last record ended
	ahead int    // how much to read while the order holds
}

const (
	// minAhead and maxAhead bound how much Sequential reads ahead.
	minAhead = 16 << 10
	maxAhead = 256 << 10
	// maxGap is how much unwanted data it reads to save a call: roughly what a
	// device reads in the time of one more request.
	maxGap = 32 << 10
)

// AppendValue appends the value that p points to.
func (s *Sequential) AppendValue(dst []byte, p Pointer) ([]byte, error) {
	r := s.Reader
	if err := r.checkPointer(p); err != nil {
		return dst, err
	}
	if !s.holds(p) {
		inOrder := p.Offset >= s.next && p.Offset-s.next <= maxGap
		if !inOrder || p.Length > maxAhead {
			s.next, s.ahead = p.Offset+uint64(p.Length), 0
			return r.AppendUncached(dst, p)
		}
		if err := s.fill(p); err != nil {
			return dst, err
		}
	}
	s.next = p.Offset + uint64(p.Length)
	rec := s.buf[p.Offset-s.off:]
	return r.appendRecordValue(dst, rec[:p.Length], p)
}

// holds reports whether the record of p was read ahead.
func (s *Sequential) holds(p Pointer) bool {
	return p.Offset >= s.off && p.Offset+uint64(p.Length) <= s.off+uint64(len(s.buf))
}

// Key returns the key of the record that p points to, whose value AppendValue
// has just returned, so that the record is known to be sound. It is valid until
// the next call.
func (s *Sequential) Key(p Pointer) ([]byte, error) {
	r := s.Reader
	if err := r.checkPointer(p); err != nil {
		return nil, err
	}
	var rec []byte
	if s.holds(p) {
		rec = s.buf[p.Offset-s.off:][:p.Length]
	} else {
		rec = make([]byte, min(p.Length, recordHeaderSize+base.MaxKeySize))
		if err := r.readAt(rec, int64(p.Offset)); err != nil {
			return nil, err
		}
	}
	h, err := decodeRecordHeader(rec)
	if err != nil || recordHeaderSize+h.key > len(rec) {
		return nil, r.corrupt(int64(p.Offset), "the record changed while it was read")
	}
	return rec[recordHeaderSize : recordHeaderSize+h.key], nil
}

// fill reads from p on.
func (s *Sequential) fill(p Pointer) error {
	s.ahead = min(max(2*s.ahead, minAhead), maxAhead)
	n := int(min(uint64(max(s.ahead, int(p.Length))), s.Reader.end-p.Offset))
	if cap(s.buf) < n {
		s.buf = make([]byte, n, max(n, min(2*n, maxAhead)))
	}
	s.buf, s.off = s.buf[:n], p.Offset
	if err := s.Reader.readAt(s.buf, int64(p.Offset)); err != nil {
		s.buf = s.buf[:0]
		return err
	}
	return nil
}
