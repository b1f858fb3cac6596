package engine

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pack"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// removeFile removes a file that nothing names any more. A failure costs
// space, not data: the next Open sweeps what is left.
func (e *Engine) removeFile(t base.FileType, n base.FileNum, size int64) {
	if failpoint.Hit(failpoint.SweepBeforeRemove) != nil {
		return
	}
	name := base.FileName(t, n)
	switch err := e.fs.Remove(name); {
	case err == nil || errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, fs.ErrClosed):
		return // an iterator outlived the database, whose directory may have another owner now
	default:
		e.report.Logger.Warn("seerdb: cannot remove an obsolete file", "file", name, "err", err)
		return
	}
	e.report.FileRemoved(t, n, size)
}

// dropLogs removes the logs of generations whose tables are installed (I11:
// the edit that makes them useless is durable).
func (e *Engine) dropLogs(gens []*generation.Generation) {
	for _, g := range gens {
		var size int64
		if g.Log != nil {
			size = g.Log.Size()
		}
		g.AbandonLog()
		e.removeFile(base.FileTypeLog, g.Num, size)
	}
}

// identify returns which file the one called name was written as, if it is of
// type t and says so itself.
func (e *Engine) identify(t base.FileType, name string) (id base.Identity, ok bool) {
	f, err := e.fs.Open(name)
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

// numberSpan is file numbers from first up to next.
type numberSpan struct{ first, next base.FileNum }

// sweeper tells, at open, what may be removed of the files that nothing names.
type sweeper struct {
	e  *Engine
	st *manifest.State // what was recovered
	// unfinished are the numbers under which files may lie that are ours and do
	// not say so, because a kill left them half written.
	unfinished []numberSpan
}

// newSweeper finds out which numbers were in use when a process ended that did
// not close the database: those of the opening that wrote the manifest, and
// those of later openings that got no further than to a manifest which CURRENT
// never named.
func (e *Engine) newSweeper(names []string, st *manifest.State) *sweeper {
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
		if id, ok := e.identify(t, name); ok && id.DB == e.versions.DB() && id.Num == n {
			first, next := manifest.Reserved(e.fs, vfs.Top, id)
			s.unfinished = append(s.unfinished, numberSpan{first, next})
		}
	}
	return s
}

// owns reports whether a file that nothing names was made by this database: it
// says so itself, whatever it is called now, or was half written by a process that
// was killed. A file that says that it is of another database is not ours.
func (s *sweeper) owns(t base.FileType, n base.FileNum, name string) bool {
	if t == base.FileTypeTemp {
		return s.ownsTemp(n, name)
	}
	if id, ok := s.e.identify(t, name); ok {
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

// ownsManifest is owns for the manifest n, or the CURRENT that shall name it, if
// it is half written: a power cut may leave one between the last manifest and
// ours.
func (s *sweeper) ownsManifest(n base.FileNum) bool {
	return s.st.Closed == nil && n >= s.st.ManifestNum && n <= s.e.versions.Manifest().State().ManifestNum
}

func (s *sweeper) ownsTemp(n base.FileNum, name string) bool {
	if n >= spillNum {
		return s.half(n - spillNum)
	}
	return manifest.IsCurrentOf(s.e.fs, name, s.e.versions.DB()) || s.ownsManifest(n)
}

// sweep removes, at open, what is ours and named by nothing: the outputs of jobs
// that did not finish, logs whose content is in tables, old manifests. Foreign
// files are only listed.
func (e *Engine) sweep(names []string, st *manifest.State) (removed, foreign []string) {
	s := e.newSweeper(names, st)
	for _, name := range names {
		t, n, ours := base.ParseFileName(name)
		switch {
		case !ours:
			foreign = append(foreign, name)
		case e.live(t, n):
		case s.owns(t, n, name):
			removed = append(removed, name)
		default:
			foreign = append(foreign, name)
		}
	}
	for _, name := range removed {
		t, n, _ := base.ParseFileName(name)
		e.removeFile(t, n, 0)
	}
	return removed, foreign
}

// halfWritten names a file that a job of this opening left half written, because
// removing it failed; "" if there is none.
func (e *Engine) halfWritten() string {
	names, err := e.fs.List(vfs.Top)
	if err != nil {
		return ""
	}
	first, next := e.versions.Numbers()
	s := &sweeper{e: e, unfinished: []numberSpan{{first, next}}}
	for _, name := range names {
		switch t, n, _ := base.ParseFileName(name); t {
		case base.FileTypeTemp:
			if n >= spillNum && s.half(n-spillNum) {
				return name
			}
		case base.FileTypeTable, base.FileTypePack, base.FileTypeValues:
			if e.live(t, n) || !s.half(n) {
				continue
			}
			if _, ok := e.identify(t, name); !ok {
				return name
			}
		}
	}
	return ""
}
