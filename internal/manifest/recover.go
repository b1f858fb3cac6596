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

// Recover reads the manifest that CURRENT names, and changes nothing. It cuts
// off a torn end, since the edit there was never acknowledged. It returns a
// *base.CorruptionError for damage to durable bytes, and base.ErrNotExist if
// there is no database.
func Recover(fsys vfs.FS, dir string) (*State, error) {
	c, err := readCurrent(fsys, dir)
	if err != nil {
		return nil, err
	}
	return recoverFrom(fsys, dir, &c, 0)
}

// recoverFrom reads the first length bytes of the manifest that c names, or all
// of it if length is 0.
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
			return base.Corruptf(id.Name(), off, "the edit does not fit the edits before it: %v", err)
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

// wrap adds the file's name to an error.
func wrap(id base.Identity, err error) error {
	return fmt.Errorf("%s: %w", id.Name(), vfs.NoSpace(err))
}

// FreeAbove returns a number >= next and above those of all files in names, so
// that no new file gets the name of a file that a crash left half written.
func FreeAbove(names []string, next base.FileNum) base.FileNum {
	for _, name := range names {
		t, num, ok := base.ParseFileName(name)
		if ok && t != base.FileTypeManifest && t != base.FileTypeTemp && num < foreignNumMax {
			next = max(next, num+1)
		}
	}
	return next
}

// foreignNumMax is far enough below fileNumMax that a foreign file with a
// number in its name does not use the numbers up.
const foreignNumMax = fileNumMax >> 8

// Identify returns the identity in the header of a manifest of size bytes,
// whatever the file is called now, and false if the header is not sound.
func Identify(f io.ReaderAt, size int64) (base.Identity, bool) {
	h, ok := record.Identify(f, size)
	return h.ID, ok && h.ID.Type == base.FileTypeManifest
}

// Reserved returns the range of file numbers that the opening that wrote
// manifest id may have assigned, as far as the manifest can be read.
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
