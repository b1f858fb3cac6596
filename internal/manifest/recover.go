package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/record"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Recover reads what CURRENT names, and changes nothing. A torn end is cut:
// the edit there was never acknowledged. Damage to what was durable is a
// *base.CorruptionError; no database is base.ErrNotExist.
func Recover(fsys vfs.FS, dir string) (*State, error) {
	c, err := readCurrent(fsys, dir)
	if err != nil {
		return nil, err
	}
	return recoverFrom(fsys, dir, &c, 0)
}

// recoverFrom reads the manifest that c names, of which the first length bytes are
// meant; 0 is all.
func recoverFrom(fsys vfs.FS, dir string, c *current, length int64) (*State, error) {
	s := &State{DBID: c.db, Format: c.format, Incarnation: c.incarnation, ManifestNum: c.manifest, Closed: c.closed}
	id := s.identity()
	f, err := fsys.Open(fsys.PathJoin(dir, id.Name()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, base.Corruptf(id.Name(), -1, "the file is missing, but %s names it", base.FileName(base.FileTypeCurrent, 0))
	}
	if err != nil {
		return nil, wrap(id, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if length > 0 {
		size = min(size, length)
	}
	r := record.NewReader(f, size, id)
	r.KnowDurable(max(c.synced, length))
	if err := s.read(r, id); err != nil {
		return nil, err
	}
	return s, nil
}

// read applies the edits of a manifest to an empty state.
func (s *State) read(r *record.Reader, id base.Identity) error {
	b := newBuilder(&Version{}, nil)
	err := eachEdit(r, id, func(e *Edit, off int64) error {
		err := b.apply(e)
		if err == nil {
			err = s.advance(e)
		}
		if err != nil && !errors.Is(err, base.ErrFormatTooNew) {
			return base.Corruptf(id.Name(), off, "impossible edit: %v", err)
		}
		return err
	})
	s.Version = b.finish()
	return err
}

// eachEdit calls fn for the edits of a manifest, up to a clean or a torn end.
func eachEdit(r *record.Reader, id base.Identity, fn func(e *Edit, off int64) error) error {
	_, err := r.ReadFileHeader()
	for err == nil {
		var p []byte
		var off int64
		p, off, err = r.Next()
		if err != nil || r.Kind() != record.KindData {
			continue
		}
		var e *Edit
		if e, err = DecodeEdit(p); err != nil {
			var c *base.CorruptionError
			if errors.As(err, &c) {
				c.File, c.Offset = id.Name(), c.Offset+off+record.HeaderSize
			}
			return err
		}
		if err = fn(e, off); err != nil {
			return err
		}
	}
	if err == io.EOF || err == record.ErrTorn {
		return nil
	}
	return err
}

// wrap names the file in an error.
func wrap(id base.Identity, err error) error {
	return fmt.Errorf("%s: %w", id.Name(), vfs.NoSpace(err))
}

// FreeAbove returns a number above next and above those of all files among
// names, so that the name of a file that a crash left half written is not used
// again.
func FreeAbove(names []string, next base.FileNum) base.FileNum {
	for _, name := range names {
		t, num, ok := base.ParseFileName(name)
		if ok && t != base.FileTypeManifest && t != base.FileTypeTemp && num < foreignNumMax {
			next = max(next, num+1)
		}
	}
	return next
}

// foreignNumMax is so far below fileNumMax that a file which only looks like
// ours does not use the numbers up.
const foreignNumMax = fileNumMax >> 8

// Identify returns which manifest a file of size bytes was written as, whatever
// it is called now, if its header is sound.
func Identify(f io.ReaderAt, size int64) (base.Identity, bool) {
	h, ok := record.Identify(f, size)
	return h.ID, ok && h.ID.Type == base.FileTypeManifest
}

// Reserved returns the file numbers that the opening which wrote the manifest id
// may have handed out, as far as it can be read.
func Reserved(fsys vfs.FS, dir string, id base.Identity) (first, next base.FileNum) {
	f, err := fsys.Open(fsys.PathJoin(dir, id.Name()))
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, 0
	}
	_ = eachEdit(record.NewReader(f, size, id), id, func(e *Edit, _ int64) error {
		first, next = max(first, e.FirstFile), max(next, e.NextFile)
		return nil
	})
	return first, next
}
