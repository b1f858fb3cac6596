package filecache

import (
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// File is a file that is opened when it is read. It is safe for concurrent use.
type File struct {
	c     *Cache                   // immutable
	again func() (vfs.File, error) // immutable; opens the file again

	state atomic.Uint64 // see reads

	opening sync.Mutex // held by one opener at a time, and by Close
	closed  bool       // guarded by opening

	// file is the open file. It is written with c.mu held while no read is
	// counted, and used by counted reads.
	file       vfs.File
	next, prev *File // in the ring; guarded by c.mu
}

// The state of a file: the number of reads under way, and
const (
	reads  = uint64(1)<<32 - 1
	recent = uint64(1) << 32 // read since the hand last passed
	opened = uint64(1) << 33 // file can be read
)

// File returns a File that is not open yet. It calls open each time that it
// needs the file, which must always have the same bytes.
func (c *Cache) File(open func() (vfs.File, error)) *File { return &File{c: c, again: open} }

// ReadAt implements io.ReaderAt. It returns errors of opening the file
// unchanged.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if err := f.begin(); err != nil {
		return 0, err
	}
	defer f.end()
	return f.file.ReadAt(p, off)
}

// begin counts a read, and opens the file if necessary.
func (f *File) begin() error {
	for {
		s := f.state.Load()
		switch {
		case s&opened == 0:
			if counted, err := f.reopen(); counted || err != nil {
				return err
			}
		case f.state.CompareAndSwap(s, (s|recent)+1):
			return nil
		}
	}
}

// end ends a counted read.
func (f *File) end() {
	f.state.Add(^uint64(0))
	if f.c.waiting.Load() != 0 {
		f.c.mu.Lock()
		f.c.changed.Broadcast()
		f.c.mu.Unlock()
	}
}

// reopen opens the file and counts the read that needs it, so that the file is
// not closed before it is read. If another goroutine has just opened it, reopen
// does neither.
func (f *File) reopen() (counted bool, err error) {
	f.opening.Lock()
	defer f.opening.Unlock()
	switch {
	case f.closed:
		return false, fs.ErrClosed
	case f.state.Load()&opened != 0:
		return false, nil
	}
	c := f.c
	c.take()
	var file vfs.File
	err = c.retry(1, func() (err error) {
		file, err = f.again()
		return err
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.give()
		return false, err
	}
	f.file = file
	f.state.Store(opened | recent | 1)
	c.link(f)
	return true, nil
}

// Close closes the file for good. The caller ensures that no read is under way;
// later reads return fs.ErrClosed.
func (f *File) Close() error {
	f.opening.Lock()
	defer f.opening.Unlock()
	f.closed = true
	c := f.c
	c.mu.Lock()
	var file vfs.File
	if f.state.Swap(0)&opened != 0 {
		file = c.unlink(f)
	}
	c.mu.Unlock()
	if file == nil {
		return nil
	}
	err := file.Close()
	c.mu.Lock()
	c.freed.Add(1)
	c.give()
	c.mu.Unlock()
	return err
}
