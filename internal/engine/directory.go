package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pack"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/wal"
	"github.com/seerdb-go/seerdb/observe"
)

// directory is the directory of a database. The path is used only to create and open the
// directory. All other calls use the open handle, so that a different directory later put at
// the path is left alone.
type directory struct {
	// Immutable once open has returned.
	name   string           // as the user gave it, for messages
	fs     *filecache.FS    // over io
	io     *vfs.CountingFS  // counts bytes read and written; over root
	files  *filecache.Cache // the open tables and value files
	root   vfs.Root
	handle vfs.Dir // for syncs
	lock   io.Closer
}

// open opens the directory, and creates it if needed unless mustExist is true.
func (d *directory) open(fsys vfs.FS, mustExist bool) error {
	if !mustExist {
		if err := vfs.MkdirAllDurable(fsys, d.name); err != nil {
			return vfs.Cannot("make the directory "+d.name, err)
		}
	}
	root, err := fsys.OpenRoot(d.name)
	switch {
	case err == nil:
	case mustExist && errors.Is(err, fs.ErrNotExist):
		return d.noDatabase()
	default:
		return vfs.Cannot("open the directory "+d.name, err)
	}
	d.root = root
	d.io = vfs.NewCounting(root)
	d.fs = filecache.NewFS(d.io, d.files)
	return nil
}

// take locks the directory, exclusively or shared.
func (d *directory) take(shared bool) (err error) {
	lock := d.root.Lock
	if shared {
		lock = d.root.LockShared
	}
	if d.lock, err = lock(base.FileName(base.FileTypeLock, 0)); err != nil {
		return vfs.Cannot("lock "+d.name, err)
	}
	if d.handle, err = d.fs.OpenDir(vfs.Top); err != nil {
		return vfs.Cannot("open the directory "+d.name, err)
	}
	return nil
}

// release closes what open and take opened. The directory is not touched afterwards.
func (d *directory) release() {
	if d.handle != nil {
		_ = d.handle.Close()
	}
	if d.lock != nil {
		_ = d.lock.Close()
	}
	if d.root != nil {
		_ = d.root.Close()
	}
}

func (d *directory) noDatabase() error {
	return fmt.Errorf("%w: there is no seerdb database in %s", base.ErrNotExist, d.name)
}

// remove removes a file that no state names, and reports that to r. A failure costs
// space, not data: the next Open removes the file.
func (d *directory) remove(t base.FileType, n base.FileNum, size int64, r *report.Reporter) {
	if failpoint.Hit(failpoint.SweepBeforeRemove) != nil {
		return
	}
	name := base.FileName(t, n)
	switch err := d.fs.Remove(name); {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		r.FileRemoved(t, n, size)
	case errors.Is(err, fs.ErrClosed):
		// An iterator outlived the database, and the directory may have a new owner.
	default:
		r.Logger.Warn("seerdb: cannot remove an obsolete file", "file", name, "err", err)
	}
}

// identify returns the identity in the header of the file called name, if there is one
// and it has type t.
func (d *directory) identify(t base.FileType, name string) (id base.Identity, ok bool) {
	f, err := d.fs.Open(name)
	if err != nil {
		return id, false
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return id, false
	}
	switch t {
	case base.FileTypeLog:
		id, ok = wal.Identify(f, size)
	case base.FileTypeManifest:
		id, ok = manifest.Identify(f, size)
	case base.FileTypeTable:
		id, ok = sstable.Identify(f, size)
	case base.FileTypePack:
		id, ok = pack.Identify(f, size)
	case base.FileTypeValues:
		id, ok = valuelog.Identify(f, size)
	}
	return id, ok
}

// foreign adds files that are not of this database to a report.
func (d *directory) foreign(r *observe.Report) error {
	names, err := d.fs.List(vfs.Top)
	if err != nil {
		return vfs.Cannot("list the directory", err)
	}
	for _, name := range names {
		if _, _, ours := base.ParseFileName(name); !ours {
			r.Foreign = append(r.Foreign, name)
		}
	}
	return nil
}
