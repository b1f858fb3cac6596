// Package reserve keeps room on the disk. A full disk takes no delete, no flush
// and no new manifest: nothing that would free space. So the database keeps a
// file that has blocks allocated and no bytes, with enough room to write what
// is in the logs to tables, and some more. When the disk is full the reserve is
// given up to operations that free space, at once or in the end. From then on
// commits that only take space are refused, until the reserve has been taken
// again.
//
// A tiny database has no reserve, and neither has one on a file system that
// does not preallocate.
package reserve

import (
	"errors"
	"io/fs"
	"path"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Reserve is the reserve of one database. It is safe for concurrent use after
// Init and Adopt.
type Reserve struct {
	root vfs.FS        // immutable once set in Open: the directory, without counting, but with giving up descriptors
	kick chan struct{} // of capacity one; wakes the keeper. Immutable

	// short is why commits that take space are refused, or nil. Stored under
	// mu.
	short atomic.Pointer[error]

	mu      sync.Mutex // leaf lock; held while the file is made, grown or removed
	file    vfs.File   // guarded by mu; nil if there is none
	size    int64      // guarded by mu; the bytes allocated to it
	uses    int        // guarded by mu; running operations that may have been given it
	left    bool       // guarded by mu; an earlier process left one
	opening bool       // guarded by mu; Open is running, and may take it for any purpose
	off     bool       // guarded by mu; there can be no reserve
}

// Init makes the reserve usable.
func (r *Reserve) Init() { r.kick = make(chan struct{}, 1) }

// Due returns a channel that receives when the keeper is to call Keep.
func (r *Reserve) Due() <-chan struct{} { return r.kick }

// Lacking returns why commits that take space are refused, or nil.
func (r *Reserve) Lacking() error {
	if err := r.short.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *Reserve) name() string { return base.FileName(base.FileTypeReserve, 0) }

// Adopt notes a reserve that an earlier process left in root. Open has begun.
func (r *Reserve) Adopt(root vfs.FS) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := root.Stat(r.name())
	r.root, r.opening = root, true
	r.left = err == nil && info.Size() == 0 && !info.IsDir() // a file with bytes is not a reserve
}

// Opened notes that Open has ended.
func (r *Reserve) Opened() {
	r.mu.Lock()
	r.opening = false
	r.mu.Unlock()
	r.Wake()
}

// Wake wakes the keeper. It never waits.
func (r *Reserve) Wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// GiveUp removes the file, because of cause, and reports whether there was one.
// From then on commits that take space are refused, unless Open is still
// running.
func (r *Reserve) GiveUp(cause error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off || r.file == nil && !r.left {
		return false
	}
	r.removeLocked()
	if !r.opening {
		cause = vfs.NoSpace(cause)
		r.short.Store(&cause)
		r.Wake()
	}
	return true
}

// Use keeps the space that an operation got from the reserve from being taken
// back before done is called.
func (r *Reserve) Use() (done func()) {
	r.mu.Lock()
	r.uses++
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		r.uses--
		r.mu.Unlock()
		if r.short.Load() != nil {
			r.Wake()
		}
	}
}

// Lend gives the reserve up until done is called. It returns nil if there is no
// reserve and nothing left of one.
func (r *Reserve) Lend(cause error) (done func()) {
	done = r.Use()
	if r.GiveUp(cause) || r.short.Load() != nil {
		return done
	}
	done()
	return nil
}

func (r *Reserve) removeLocked() {
	if r.file != nil {
		_ = r.file.Close()
	}
	if r.file != nil || r.left {
		_ = r.root.Remove(r.name())
	}
	r.file, r.size, r.left = nil, 0, false
}

// Keep makes the reserve at least want bytes, and shrinks it to most if it is
// larger. If there is no room it returns an error, and commits that take space
// are refused. If it fails for another reason, the database works without a
// reserve: again says that the reason may pass and Keep is to be called again.
func (r *Reserve) Keep(want, most int64) (again bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err = r.keepLocked(want, most)
	if err != nil && vfs.IsNoSpace(err) {
		err = vfs.NoSpace(err)
		r.short.Store(&err)
		return true, err
	}
	if err != nil {
		r.removeLocked()
		r.off = lasts(err)
	}
	r.short.Store(nil)
	return err != nil && !r.off, nil
}

// lasts reports whether err means that a reserve can never be made: its name is
// taken by a foreign file, or the file system does not preallocate. Other
// failures, such as a lack of descriptors, may pass.
func lasts(err error) bool {
	return errors.Is(err, fs.ErrExist) || errors.Is(err, errors.ErrUnsupported)
}

func (r *Reserve) keepLocked(want, most int64) error {
	switch {
	case r.off:
		return nil
	case r.uses > 0 && r.short.Load() != nil:
		return *r.short.Load()
	case r.left || r.size > most:
		r.removeLocked()
	}
	if want <= r.size {
		return nil
	}
	if r.file == nil {
		f, err := r.root.Create(r.name())
		if err != nil {
			return err
		}
		r.file = f
	}
	if err := r.file.Preallocate(want); err != nil {
		return err
	}
	r.size = want
	return nil
}

// Close closes the file, which stays for the next opening.
func (r *Reserve) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close()
	}
	r.file, r.left, r.off = nil, false, true
}

// The size of a reserve, in bytes except for Share.
const (
	// From is the smallest database that has a reserve: tiny ones stay tiny.
	From = 256 << 10
	// Share is the divisor for the further part of its files that a database
	// keeps free, within Min and Max: room for logs, manifests, and small
	// merges.
	Share = 16
	Min   = 128 << 10
	Max   = 16 << 20
)

// Refused returns why a batch is refused while the reserve is short, or nil.
func (r *Reserve) Refused(b *batch.Batch) error {
	if err := r.short.Load(); err != nil && !Frees(b) {
		return *err
	}
	return nil
}

// Frees reports whether a batch only deletes.
func Frees(b *batch.Batch) bool {
	for r := b.Reader(); ; {
		op, ok, err := r.Next()
		switch {
		case !ok || err != nil:
			return err == nil
		case op.Kind != base.KindDelete && op.Kind != base.KindSingleDelete && op.Kind != base.KindRangeDelete:
			return false
		}
	}
}

// lendingFS gives the reserve to files that do not fit and that free space in
// the end. For a log that is only the header; the keeper of the reserve and the
// deletes take care of the rest.
type lendingFS struct {
	vfs.FS
	r *Reserve
}

// Over returns a file system whose files may take the reserve.
func (r *Reserve) Over(fs vfs.FS) vfs.FS { return &lendingFS{fs, r} }

// again repeats an attempt that failed with err, if that was for lack of room
// and the reserve gives some. It returns the last error.
func (f *lendingFS) again(err error, attempt func() error) error {
	if err == nil || !vfs.IsNoSpace(err) {
		return err
	}
	done := f.r.Lend(err)
	if done == nil {
		return err
	}
	defer done()
	return attempt()
}

// Create implements vfs.FS.
func (f *lendingFS) Create(name string) (vfs.File, error) {
	file, err := f.FS.Create(name)
	err = f.again(err, func() error {
		file, err = f.FS.Create(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	t, _, _ := base.ParseFileName(path.Base(name))
	return &lendingFile{File: file, fs: f, log: t == base.FileTypeLog}, nil
}

// Rename implements vfs.FS.
func (f *lendingFS) Rename(oldName, newName string) error {
	return f.again(f.FS.Rename(oldName, newName), func() error { return f.FS.Rename(oldName, newName) })
}

type lendingFile struct {
	vfs.File
	fs    *lendingFS
	log   bool // immutable
	begun bool // of a log: its header is written; owned by the current writer
}

// Write implements vfs.File.
func (f *lendingFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if err != nil && f.may() {
		err = f.fs.again(err, func() error {
			m, err := f.File.Write(p[n:])
			n += m
			return err
		})
	}
	f.begun = true
	return n, err
}

// may reports whether a write may take the reserve.
func (f *lendingFile) may() bool {
	if !f.log || !f.begun {
		return true
	}
	f.fs.r.mu.Lock()
	defer f.fs.r.mu.Unlock()
	return f.fs.r.opening
}
