package engine

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/bulk"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// numberSpan holds the file numbers in [first, next).
type numberSpan struct{ first, next base.FileNum }

// sweeper decides, at open, which unnamed files may be removed.
type sweeper struct {
	e  *Engine
	st *manifest.State // as recovered
	// unfinished are the numbers of files of this database that may lack a valid
	// header because a kill left them half written.
	unfinished []numberSpan
}

// newSweeper finds the numbers that were in use when a process ended without closing
// the database: those of the Open that wrote the manifest, and those of later Opens
// that ended before CURRENT named their manifest.
func newSweeper(e *Engine, names []string, st *manifest.State) *sweeper {
	s := &sweeper{e: e, st: st}
	switch {
	case st.Format == base.FormatV1:
		s.unfinished = append(s.unfinished, numberSpan{0, st.NextFile})
	case st.Closed == nil:
		s.unfinished = append(s.unfinished, numberSpan{st.FirstFile, st.NextFile})
	}
	for _, name := range names {
		t, n, _ := base.ParseFileName(name)
		if t != base.FileTypeManifest || n <= st.ManifestNum {
			continue
		}
		if id, ok := e.dir.identify(t, name); ok && id.DB == e.versions.DB() && id.Num == n {
			first, next := manifest.Reserved(e.dir.fs, vfs.Top, id)
			s.unfinished = append(s.unfinished, numberSpan{first, next})
		}
	}
	return s
}

// owns reports whether an unnamed file was made by this database: its header says so,
// whatever its name is, or a killed process left it half written. A file whose header
// names another database is not owned.
func (s *sweeper) owns(t base.FileType, n base.FileNum, name string) bool {
	if t == base.FileTypeTemp {
		return s.ownsTemp(n, name)
	}
	if id, ok := s.e.dir.identify(t, name); ok {
		return id.DB == s.e.versions.DB()
	}
	if t == base.FileTypeManifest {
		return s.ownsManifest(n)
	}
	return s.half(n)
}

// half reports whether a file with this number may have been left half written.
func (s *sweeper) half(n base.FileNum) bool {
	return slices.ContainsFunc(s.unfinished, func(u numberSpan) bool { return n >= u.first && n < u.next })
}

// ownsManifest is owns for a half-written manifest n, or the temporary CURRENT that
// names it: a power cut may leave one numbered between the last manifest and the
// new one.
func (s *sweeper) ownsManifest(n base.FileNum) bool {
	return s.st.Closed == nil && n >= s.st.ManifestNum && n <= s.e.versions.Manifest().State().ManifestNum
}

func (s *sweeper) ownsTemp(n base.FileNum, name string) bool {
	if n >= bulk.SpillNum {
		return s.half(n - bulk.SpillNum)
	}
	return manifest.IsCurrentOf(s.e.dir.fs, name, s.e.versions.DB()) || s.ownsManifest(n)
}

// sweep removes, at open, unnamed files of this database: outputs of jobs that did
// not finish, logs whose content is in tables, old manifests. It only lists foreign
// files.
func (o *opening) sweep(names []string, st *manifest.State) (removed, foreign []string) {
	e := o.e
	s := newSweeper(e, names, st)
	for _, name := range names {
		t, n, ours := base.ParseFileName(name)
		switch {
		case !ours:
			foreign = append(foreign, name)
		case live(e, t, n):
		case s.owns(t, n, name):
			removed = append(removed, name)
		default:
			foreign = append(foreign, name)
		}
	}
	for _, name := range removed {
		t, n, _ := base.ParseFileName(name)
		e.dir.remove(t, n, 0, e.report)
	}
	return removed, foreign
}

// halfWritten returns the name of a file that a job since Open left half written
// because its removal failed, or "".
func halfWritten(e *Engine) string {
	names, err := e.dir.fs.List(vfs.Top)
	if err != nil {
		return ""
	}
	first, next := e.versions.Numbers()
	s := &sweeper{e: e, unfinished: []numberSpan{{first, next}}}
	for _, name := range names {
		switch t, n, _ := base.ParseFileName(name); t {
		case base.FileTypeTemp:
			if n >= bulk.SpillNum && s.half(n-bulk.SpillNum) {
				return name
			}
		case base.FileTypeTable, base.FileTypePack, base.FileTypeValues:
			if live(e, t, n) || !s.half(n) {
				continue
			}
			if _, ok := e.dir.identify(t, name); !ok {
				return name
			}
		}
	}
	return ""
}

// live reports whether the database uses a file, right after Open.
func live(e *Engine, t base.FileType, n base.FileNum) bool {
	switch t {
	case base.FileTypeCurrent, base.FileTypeLock, base.FileTypeReserve:
		return true
	case base.FileTypeManifest:
		return n == e.versions.Manifest().State().ManifestNum
	case base.FileTypeLog:
		return n == e.store.Current().Active.Num
	}
	return e.store.Names(t, n)
}
