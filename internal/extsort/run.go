package extsort

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

const (
	headSize = 4 + 4 + 1
	sumSize  = 4
	// maxCompressed is the largest block that is compressed, so that a huge
	// value does not take a second buffer of its size.
	maxCompressed = 16 << 20
)

var le = binary.LittleEndian

// run is a file of sorted rows.
type run struct {
	s    *Sorter
	id   base.Identity
	f    File // nil while it is being written
	size int64
}

// remove closes the file, where a failure loses nothing, and removes it.
func (r *run) remove() error {
	if r.f != nil {
		_ = r.f.Close()
	}
	if err := r.s.o.FS.Remove(r.s.path(r.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fileError("remove", r.id, err)
	}
	return nil
}

func (s *Sorter) path(id base.Identity) string { return s.o.FS.PathJoin(s.o.Dir, id.Name()) }

// runWriter writes a run.
type runWriter struct {
	*run
	file vfs.File
	raw  []byte // the block so far
	out  []byte
}

// writeRun writes the rows that next returns. If it fails it removes the file.
func (s *Sorter) writeRun(next func() (key, value []byte, ok bool, err error)) (*run, error) {
	id, err := s.o.NewID()
	if err != nil {
		return nil, err
	}
	f, err := s.o.FS.Create(s.path(id))
	if err != nil {
		return nil, fileError("create", id, err)
	}
	s.stats.Runs++
	w := runWriter{run: &run{s: s, id: id}, file: f}
	err = w.write(next)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fileError("write", id, cerr)
	}
	if err == nil {
		if w.f, err = s.o.Open(s.path(id)); err != nil {
			err = fileError("open", id, err)
		}
	}
	if err != nil {
		_ = w.remove()
		return nil, err
	}
	return w.run, nil
}

func (w *runWriter) write(next func() (key, value []byte, ok bool, err error)) error {
	for {
		key, value, ok, err := next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		w.raw = binary.AppendUvarint(w.raw, uint64(len(key)))
		w.raw = binary.AppendUvarint(w.raw, uint64(len(value)))
		w.raw = append(append(w.raw, key...), value...)
		if len(w.raw) >= w.s.blockSize {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	if len(w.raw) == 0 {
		return nil
	}
	return w.flush()
}

// flush writes a block. It does not sync the file, which is useless after a
// crash.
func (w *runWriter) flush() error {
	s := w.s
	s.maxBlock = max(s.maxBlock, len(w.raw))
	w.out = append(w.out[:0], make([]byte, headSize)...)
	codec := s.o.Codec
	if len(w.raw) > maxCompressed {
		codec = compress.None
	}
	w.out = compress.Encode(w.out, w.raw, codec)
	if len(w.out)-headSize >= len(w.raw) {
		codec = compress.None
		w.out = append(w.out[:headSize], w.raw...)
	}
	le.PutUint32(w.out, uint32(len(w.out)-headSize))
	le.PutUint32(w.out[4:], uint32(len(w.raw)))
	w.out[8] = byte(codec)
	w.out = le.AppendUint32(w.out, w.id.Checksum(w.size, w.out))
	if _, err := w.file.Write(w.out); err != nil {
		return fileError("write", w.id, err)
	}
	w.size += int64(len(w.out))
	s.stats.Spilled += uint64(len(w.out))
	w.raw = w.raw[:0]
	if s.o.Poll != nil {
		return s.o.Poll()
	}
	return nil
}

// runReader reads a run from its beginning.
type runReader struct {
	*run
	age        int // larger means newer
	off        int64
	stored     []byte
	raw        []byte
	rest       []byte // of raw
	key, value []byte
}

// next goes to the next row, or returns false at the end.
func (r *runReader) next() (bool, error) {
	if len(r.rest) == 0 {
		if r.off == r.size {
			return false, nil
		}
		if err := r.load(); err != nil {
			return false, err
		}
	}
	kn, n := binary.Uvarint(r.rest)
	vn, m := binary.Uvarint(r.rest[max(n, 0):])
	if n <= 0 || m <= 0 || kn > base.MaxKeySize || vn > base.MaxValueSize || kn+vn > uint64(len(r.rest)-n-m) {
		return false, base.Corruptf(r.id.Name(), r.off, "malformed row before this offset")
	}
	b := r.rest[n+m:]
	r.key, r.value, r.rest = b[:kn:kn], b[kn:kn+vn:kn+vn], b[kn+vn:]
	return true, nil
}

// load reads the next block.
func (r *runReader) load() error {
	var head [headSize]byte
	if err := r.read(head[:], r.off); err != nil {
		return err
	}
	n, raw, codec := int64(le.Uint32(head[:])), le.Uint32(head[4:]), compress.Codec(head[8])
	if r.size-r.off < headSize+n+sumSize {
		return base.Corruptf(r.id.Name(), r.off, "block of %d bytes, but only %d are left", n, r.size-r.off)
	}
	r.stored = grown(r.stored, int(n)+sumSize)
	if err := r.read(r.stored, r.off+headSize); err != nil {
		return err
	}
	data := r.stored[:n]
	if sum := base.ExtendChecksum(r.id.Checksum(r.off, head[:]), data); sum != le.Uint32(r.stored[n:]) {
		return base.Corruptf(r.id.Name(), r.off, "block checksum mismatch")
	}
	if codec == compress.None {
		r.rest = data
	} else {
		if int64(raw) > int64(r.s.maxBlock) {
			return base.Corruptf(r.id.Name(), r.off, "block of %d bytes before compression, more than the largest that was written, %d", raw, r.s.maxBlock)
		}
		r.raw = grown(r.raw, int(raw))
		if err := compress.Decode(r.raw, data, codec); err != nil {
			return base.Corruptf(r.id.Name(), r.off, "block: %v", err)
		}
		r.rest = r.raw
	}
	r.off += headSize + n + sumSize
	return nil
}

func grown(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

func (r *runReader) read(b []byte, off int64) error {
	n, err := r.f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	return fileError("read", r.id, err)
}

// merger merges runs: a heap of readers, the smallest key on top, and the
// newest run first among equals.
type merger struct {
	s     *Sorter
	heap  []*runReader
	begun bool
	last  []byte // the key returned last
}

func (s *Sorter) newMerger(runs []*run) (*merger, error) {
	m := &merger{s: s}
	for i, r := range runs {
		rd := &runReader{run: r, age: i}
		if ok, err := rd.next(); err != nil {
			return nil, err
		} else if ok {
			m.heap = append(m.heap, rd)
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return m, nil
}

// next returns the next key, each once.
func (m *merger) next() (key, value []byte, ok bool, err error) {
	for len(m.heap) > 0 {
		top := m.heap[0]
		if !m.begun {
			m.begun = true
			return top.key, top.value, true, nil
		}
		// The top was returned, or is older than a row that was.
		m.last = append(m.last[:0], top.key...)
		if err := m.advance(); err != nil {
			return nil, nil, false, err
		}
		for len(m.heap) > 0 && bytes.Equal(m.heap[0].key, m.last) {
			m.s.stats.Duplicates++
			if err := m.advance(); err != nil {
				return nil, nil, false, err
			}
		}
		if len(m.heap) > 0 {
			return m.heap[0].key, m.heap[0].value, true, nil
		}
	}
	return nil, nil, false, nil
}

// advance moves the reader on top to its next row.
func (m *merger) advance() error {
	ok, err := m.heap[0].next()
	if err != nil {
		return err
	}
	if !ok {
		n := len(m.heap) - 1
		m.heap[0] = m.heap[n]
		m.heap[n] = nil
		m.heap = m.heap[:n]
	}
	m.down(0)
	return nil
}

func (m *merger) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(m.heap) {
			return
		}
		if c+1 < len(m.heap) && m.less(c+1, c) {
			c++
		}
		if !m.less(c, i) {
			return
		}
		m.heap[i], m.heap[c] = m.heap[c], m.heap[i]
		i = c
	}
}

func (m *merger) less(i, j int) bool {
	a, b := m.heap[i], m.heap[j]
	if c := bytes.Compare(a.key, b.key); c != 0 {
		return c < 0
	}
	return a.age > b.age
}
