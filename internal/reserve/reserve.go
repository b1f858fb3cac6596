// Package reserve keeps room on the disk. A disk that is full to the last byte takes no delete, no flush and no new
// manifest: nothing by which space could come back. So the database keeps room
// for itself, in a file that has blocks and no bytes: enough to write to tables
// what is in the logs, and some more. When the disk is full that file is given
// up to what frees space, or ends in files that do. Commits that only take space
// are refused from then on, until the reserve has been taken again.
//
// A tiny database has none, and where the file system does not preallocate there
// is none at all.
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

// Reserve is the file of one database. It is safe for concurrent use after Init and Adopt.
type Reserve struct {
	root vfs.FS        // immutable once set in Open: the directory, without what counts, but with what gives descriptors up
	kick chan struct{} // of one place; wakes the keeper. Immutable

	// short is why commits that take space are refused, or nil. Stored under mu.
	short atomic.Pointer[error]

	mu      sync.Mutex // leaf; held while the file is made, grown and removed
	file    vfs.File   // guarded by mu; nil when there is none
	size    int64      // guarded by mu; what it was given
	uses    int        // guarded by mu; works in progress that may have been given it
	left    bool       // guarded by mu; a former process left one
	opening bool       // guarded by mu; Open goes on, which may take it for anything
	off     bool       // guarded by mu; there is none and there will be none
}

// Init makes the reserve usable.
func (r *Reserve) Init() { r.kick = make(chan struct{}, 1) }

// Due has something when the keeper is to call Keep.
func (r *Reserve) Due() <-chan struct{} { return r.kick }

// Lacking is why commits that take space are refused, or nil.
func (r *Reserve) Lacking() error {
	if err := r.short.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *Reserve) name() string { return base.FileName(base.FileTypeReserve, 0) }

// Adopt notes a reserve that a former process left in root, and that Open begins.
func (r *Reserve) Adopt(root vfs.FS) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := root.Stat(r.name())
	r.root, r.opening = root, true
	r.left = err == nil && info.Size() == 0 && !info.IsDir() // what has bytes is not ours
}

// Opened notes that Open is done.
func (r *Reserve) Opened() {
	r.mu.Lock()
	r.opening = false
	r.mu.Unlock()
	r.Wake()
}

// Wake makes the keeper look. It never waits.
func (r *Reserve) Wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// GiveUp removes the file, for cause, and reports whether there was one. Commits that take
// space are refused from then on, unless Open still goes on.
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

// Use reports that something may need the reserve until done is called: what it
// was given is not taken back before that.
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

// Lend gives the reserve up until done is called, and is nil where there is
// neither a reserve nor what was left of one.
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

// Keep makes the reserve at least want, and smaller if it is larger than most.
// An error is for lack of room, and then commits that take space are refused. For
// any other reason the database works without a reserve: again says that the
// reason may pass, and Keep is to be called again.
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

// lasts reports whether a reserve that could not be made can never be: the name is
// taken by a file that is not ours, or the file system does not preallocate. What
// else fails, for lack of a descriptor say, may work later.
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

// Close lets go of the file, which stays for the next opening.
func (r *Reserve) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close()
	}
	r.file, r.left, r.off = nil, false, true
}

// How large a reserve is, in bytes, but for Share.
const (
	// From is how much a database must hold to have a reserve: tiny ones
	// stay tiny.
	From = 256 << 10
	// Share is which part of its files a database keeps free besides, within
	// Min and Max: room for logs, manifests, and small merges.
	Share = 16
	Min   = 128 << 10
	Max   = 16 << 20
)

// Refused is why a batch is refused while the reserve is short, or nil.
func (r *Reserve) Refused(b *batch.Batch) error {
	if err := r.short.Load(); err != nil && !Frees(b) {
		return *err
	}
	return nil
}

// Frees reports whether a batch does nothing but delete.
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

// lendingFS is for files that may take the reserve when they do not fit: those
// by which space comes back. Of a log that is the header; the keeper of the
// reserve and the deletes see to what follows.
type lendingFS struct {
	vfs.FS
	r *Reserve
}

// Over returns a directory for files that may take the reserve.
func (r *Reserve) Over(fs vfs.FS) vfs.FS { return &lendingFS{fs, r} }

// again returns the outcome of another attempt at what failed with err, if that
// was for lack of room and there may be some.
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
	begun bool // of a log: its header is written; owned by the one writer at a time
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
