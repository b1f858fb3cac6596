package vfs

import (
	"io"
	"path"
	"path/filepath"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
)

// CountingFS counts operations by type of file. Amplification is computed from
// these figures: counts at a higher level would miss some. It also turns errors
// for lack of room into base.ErrNoSpace, so that none is missed.
type CountingFS struct {
	FS                          // immutable; operations other than on files pass through
	counts *[numTypes]ioCounter // immutable; atomic
}

const numTypes = base.NumFileTypes

// IOStats are the operations on files of one type. A call that failed half way
// counts with the bytes it moved. Directories are not files: their syncs count
// for base.FileTypeUnknown.
type IOStats struct {
	BytesWritten uint64
	BytesRead    uint64
	Writes       uint64 // calls of Write
	Reads        uint64 // calls of ReadAt
	Syncs        uint64 // calls of Sync
}

// ioCounter counts for an IOStats. It fills a cache line of common size, so
// that readers of tables and writers of the log do not slow each other down.
type ioCounter struct {
	bytesWritten, bytesRead, writes, reads, syncs atomic.Uint64
	_                                             [64 - 5*8]byte
}

// NewCounting wraps a file system.
func NewCounting(inner FS) *CountingFS { return &CountingFS{inner, new([numTypes]ioCounter)} }

// Stats returns the counts of one type so far.
func (c *CountingFS) Stats(t base.FileType) IOStats {
	if int(t) >= numTypes {
		return IOStats{}
	}
	n := &c.counts[t]
	return IOStats{
		BytesWritten: n.bytesWritten.Load(),
		BytesRead:    n.bytesRead.Load(),
		Writes:       n.writes.Load(),
		Reads:        n.reads.Load(),
		Syncs:        n.syncs.Load(),
	}
}

// Total returns the sum of the counts of all types.
func (c *CountingFS) Total() IOStats {
	var sum IOStats
	for t := range numTypes {
		s := c.Stats(base.FileType(t))
		sum.BytesWritten += s.BytesWritten
		sum.BytesRead += s.BytesRead
		sum.Writes += s.Writes
		sum.Reads += s.Reads
		sum.Syncs += s.Syncs
	}
	return sum
}

// counter returns the counter for a file.
func (c *CountingFS) counter(name string) *ioCounter {
	t, _, _ := base.ParseFileName(path.Base(filepath.ToSlash(name)))
	return &c.counts[t]
}

// Create implements FS.
func (c *CountingFS) Create(name string) (File, error) {
	f, err := c.FS.Create(name)
	if err != nil {
		return nil, NoSpace(err)
	}
	return &countingFile{File: f, n: c.counter(name)}, nil
}

// Open implements FS.
func (c *CountingFS) Open(name string) (File, error) {
	f, err := c.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return &countingFile{File: f, n: c.counter(name)}, nil
}

// OpenDir implements FS.
func (c *CountingFS) OpenDir(name string) (Dir, error) {
	d, err := c.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &countingDir{Dir: d, n: &c.counts[base.FileTypeUnknown]}, nil
}

// OpenRoot implements FS. The root shares the counters.
func (c *CountingFS) OpenRoot(name string) (Root, error) {
	r, err := c.FS.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &countingRoot{CountingFS{r, c.counts}, r}, nil
}

// countingRoot is a directory of a CountingFS.
type countingRoot struct {
	CountingFS
	root Root // immutable
}

// Lock implements Root.
func (r *countingRoot) Lock(name string) (io.Closer, error) { return r.root.Lock(name) }

// LockShared implements Root.
func (r *countingRoot) LockShared(name string) (io.Closer, error) { return r.root.LockShared(name) }

// Close implements Root.
func (r *countingRoot) Close() error { return r.root.Close() }

// Rename implements FS.
func (c *CountingFS) Rename(oldName, newName string) error {
	return NoSpace(c.FS.Rename(oldName, newName))
}

// MkdirAll implements FS.
func (c *CountingFS) MkdirAll(name string) error { return NoSpace(c.FS.MkdirAll(name)) }

// countingFile is a file of a CountingFS.
type countingFile struct {
	File            // immutable
	n    *ioCounter // immutable
}

// ReadAt implements File.
func (f *countingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.n.reads.Add(1)
	f.n.bytesRead.Add(uint64(n))
	return n, err
}

// Write implements File.
func (f *countingFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.n.writes.Add(1)
	f.n.bytesWritten.Add(uint64(n))
	return n, NoSpace(err)
}

// Preallocate implements File.
func (f *countingFile) Preallocate(size int64) error { return NoSpace(f.File.Preallocate(size)) }

// Sync implements File.
func (f *countingFile) Sync() error {
	f.n.syncs.Add(1)
	return f.File.Sync()
}

// countingDir is a directory of a CountingFS.
type countingDir struct {
	Dir            // immutable
	n   *ioCounter // immutable
}

// Sync implements Dir.
func (d *countingDir) Sync() error {
	d.n.syncs.Add(1)
	return d.Dir.Sync()
}
