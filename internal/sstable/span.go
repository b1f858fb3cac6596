package sstable

import (
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// spanSize is how much an iterator with Bypass reads at a time.
const spanSize = 256 << 10

// spans reads pages in large pieces into memory of its own.
type spans struct {
	buf      []byte // the stored bytes of pages first to end-1
	first    int
	end      int
	off      int64  // offset of buf in the file
	unpacked []byte // the page that was decompressed last
}

func (s *spans) reset() { s.first, s.end = 0, 0 }

// load makes p a view of page n, valid until the next load.
func (s *spans) load(r *Reader, n int, p *block.Page) error {
	if n < s.first || n >= s.end {
		if err := s.read(r, n); err != nil {
			s.reset()
			return err
		}
	}
	off := r.index.offset(n)
	b := s.buf[off-s.off : r.index.offset(n+1)-s.off]
	rawLen := r.index.rawLen(n)
	if rawLen == 0 {
		if err := r.checkPage(b, off, compress.None); err != nil {
			return err
		}
		return r.openPage(b, off, p)
	}
	if cap(s.unpacked) < rawLen {
		s.unpacked = make([]byte, rawLen)
	}
	raw := s.unpacked[:rawLen]
	if err := r.unpack(raw, b, off); err != nil {
		return err
	}
	return r.openPage(raw, off, p)
}

// read reads page n and as many after it as fit; going backward, as many before
// it.
func (s *spans) read(r *Reader, n int) error {
	x := r.index
	first, end := n, n+1
	if s.end > 0 && n == s.first-1 {
		for first > 0 && x.offset(end)-x.offset(first-1) <= spanSize {
			first--
		}
	} else {
		for end < x.pages && x.offset(end+1)-x.offset(first) <= spanSize {
			end++
		}
	}
	off := x.offset(first)
	size := int(x.offset(end) - off)
	if cap(s.buf) < size {
		s.buf = make([]byte, max(size, int(min(spanSize, x.offset(x.pages)))))
	}
	s.buf = s.buf[:size]
	if err := r.readAt(s.buf, off); err != nil {
		return err
	}
	s.first, s.end, s.off = first, end, off
	return nil
}
