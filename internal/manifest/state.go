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

// State is all that a manifest says (invariant I12: every counter that must
// not start over is in it).
type State struct {
	Version *Version
	DBID    uint64
	Format  base.FormatVersion // of the manifest
	// Incarnation is the opening that wrote the manifest.
	Incarnation uint64

	// NextFile is above the number of every file that the manifest ever named, and
	// in format 2 above every number that its opening handed out. FirstFile is the
	// first of these; 0 in format 1.
	FirstFile, NextFile base.FileNum
	LastSeq             base.SeqNum
	// LogNum is the oldest log segment that is still needed.
	LogNum base.FileNum
	// LogIncarnation is the opening that wrote the segments that are needed: the
	// one that wrote the manifest or, until it has made its first segment, the one
	// before it.
	LogIncarnation uint64

	Keyspaces    []Keyspace // ascending by number; immutable
	NextKeyspace uint32     // above the number of every keyspace there ever was
	// Clock is the latest time, in Unix milliseconds, at which something was
	// seen to have expired. Time never goes back before it.
	Clock uint64

	// Closed is the logs that are needed, ascending by number, if the database was
	// closed; else nil.
	Closed []ClosedLog

	// ManifestNum is the manifest that was read or is being written. Manifests
	// are numbered by themselves.
	ManifestNum base.FileNum
}

// advance takes over the counters of an edit.
func (s *State) advance(e *Edit) error {
	if e.LogNum != nil {
		if *e.LogNum < s.LogNum {
			return fmt.Errorf("oldest log goes back from %d to %d", s.LogNum, *e.LogNum)
		}
		s.LogNum = *e.LogNum
	}
	if e.LogIncarnation != 0 {
		s.LogIncarnation = e.LogIncarnation
	}
	if e.FirstFile != 0 {
		s.FirstFile = e.FirstFile
	}
	s.NextFile = max(s.NextFile, e.NextFile, s.LogNum+1)
	s.LastSeq = max(s.LastSeq, e.LastSeq)
	for _, m := range e.AddValues {
		s.NextFile = max(s.NextFile, m.Num+1)
	}
	for _, n := range e.Add {
		s.NextFile = max(s.NextFile, n.Meta.Num+1, n.Meta.Pack+1)
		s.LastSeq = max(s.LastSeq, n.Meta.LargestSeq)
	}
	s.Clock = max(s.Clock, e.Clock)
	if err := s.advanceKeyspaces(e); err != nil {
		return err
	}
	if s.NextFile > fileNumMax || s.LastSeq > base.SeqNumMax {
		return fmt.Errorf("next file %d or last sequence %d is past the limit", s.NextFile, s.LastSeq)
	}
	return nil
}

// apply returns the state after e.
func (s *State) apply(e *Edit) (*State, error) {
	next := *s
	var err error
	if next.Version, err = s.Version.Apply(e); err == nil {
		err = next.advance(e)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: impossible edit: %w", err)
	}
	return &next, nil
}

// snapshot is the edit that makes s from nothing.
func (s *State) snapshot() *Edit {
	e := &Edit{
		LogNum: &s.LogNum, LogIncarnation: s.LogIncarnation, FirstFile: s.FirstFile, NextFile: s.NextFile, LastSeq: s.LastSeq,
		SetKeyspaces: s.Keyspaces, NextKeyspace: s.NextKeyspace, Clock: s.Clock,
	}
	for _, vf := range s.Version.Values {
		e.AddValues = append(e.AddValues, vf.ValueMeta)
	}
	s.Version.All(func(level int, f *FileMeta) bool {
		e.Add = append(e.Add, NewFile{level, f})
		return true
	})
	return e
}

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

// identity is that of the manifest.
func (s *State) identity() base.Identity {
	return base.Identity{DB: s.DBID, Type: base.FileTypeManifest, Num: s.ManifestNum, Incarnation: s.Incarnation}
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

// FreeAbove is a number above next and above those of all files among names, so
// that the name of a file that a crash left half written is not used again.
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
