package wal

import (
	"encoding/binary"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/record"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Segment is the empty file of a segment that is not yet in use. It can be made
// long before the content of its header is known. After a crash it is a log
// without a header, which has no records.
type Segment struct {
	fs   vfs.FS
	path string
	id   base.Identity
	file vfs.File
}

// NewSegment makes the file of segment id.Num in dir. It does not sync the
// directory: the caller does, before the first commit is acknowledged.
func NewSegment(fs vfs.FS, dir string, id base.Identity) (*Segment, error) {
	id.Type = base.FileTypeLog
	path := fs.PathJoin(dir, id.Name())
	file, err := fs.Create(path)
	if err != nil {
		return nil, wrap(id, err)
	}
	return &Segment{fs: fs, path: path, id: id, file: file}, nil
}

// Num returns the number of the segment.
func (s *Segment) Num() base.FileNum { return s.id.Num }

// Close closes the file and leaves it empty.
func (s *Segment) Close() error {
	if err := s.file.Close(); err != nil {
		return wrap(s.id, err)
	}
	return nil
}

// Discard removes the file.
func (s *Segment) Discard() {
	_ = s.file.Close()
	_ = s.fs.Remove(s.path)
}

// Begin writes the header and returns a Writer for the segment. If it fails it
// removes the file.
func (s *Segment) Begin(prev Prev, o Options) (*Writer, error) {
	if o.BufferMax <= 0 {
		o.BufferMax = bufferMaxDefault
	}
	if o.Preallocate > 0 {
		// Only a hint: without it the file system allocates blocks one by one.
		_ = s.file.Preallocate(o.Preallocate)
	}
	var extra [prevSize]byte
	binary.LittleEndian.PutUint64(extra[:], uint64(prev.Num))
	binary.LittleEndian.PutUint64(extra[8:], uint64(prev.Size))
	head := record.AppendFileHeader(nil, s.id, s.id.Format(), extra[:])
	if _, err := s.file.Write(head); err != nil {
		s.Discard()
		return nil, wrap(s.id, err)
	}
	w := &Writer{file: s.file, id: s.id, opts: o}
	w.cond.L = &w.mu
	n := int64(len(head))
	w.end, w.attempted, w.bufOffset = n, n, n
	w.written.Store(n)
	w.fileWritten.Store(n)
	w.work = startBackground(w)
	return w, nil
}
