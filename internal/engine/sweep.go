package engine

import (
	"errors"
	"io/fs"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/wal"
	"github.com/seerdb-go/seerdb/observe"
)

// removeFile removes a file that nothing names any more. A failure costs
// space, not data: the next Open sweeps what is left.
func (e *Engine) removeFile(t base.FileType, n base.FileNum, size int64) {
	if failpoint.Hit(failpoint.SweepBeforeRemove) != nil {
		return
	}
	name := base.FileName(t, n)
	switch err := e.fs.Remove(e.path(name)); {
	case err == nil || errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, fs.ErrClosed):
		return // an iterator outlived the database, whose directory may have another owner now
	default:
		e.opts.Logger.Warn("seerdb: cannot remove an obsolete file", "file", name, "err", err)
		return
	}
	ev := observe.FileEvent{Name: name, Size: size}
	switch t {
	case base.FileTypeTable:
		e.listener.tableRemoved(ev)
	case base.FileTypeValues:
		e.listener.valueFileRemoved(ev)
	}
}

// dropLogs removes the logs of generations whose tables are installed (I11:
// the edit that makes them useless is durable).
func (e *Engine) dropLogs(gens []*generation) {
	for _, g := range gens {
		var size int64
		if g.log != nil {
			size = g.log.Size()
		}
		g.abandonLog()
		e.removeFile(base.FileTypeLog, g.logNum, size)
	}
}

// identify returns which file the one called name was written as, if it is of
// type t and says so itself.
func (e *Engine) identify(t base.FileType, name string) (id base.Identity, ok bool) {
	f, err := e.fs.Open(e.path(name))
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
	case base.FileTypeValues:
		id, ok = valuelog.Identify(f, size)
	}
	return id, ok
}

// sweep removes, at open, what carries our names and is named by nothing: the
// outputs of jobs that did not finish, logs whose content is in tables, old
// manifests. Foreign files are only listed.
func (e *Engine) sweep(names []string, keep func(base.FileType, base.FileNum) bool) (removed, foreign []string) {
	for _, name := range names {
		t, n, ours := base.ParseFileName(name)
		switch {
		case !ours:
			foreign = append(foreign, name)
		case keep(t, n):
		default:
			e.removeFile(t, n, 0)
			removed = append(removed, name)
		}
	}
	return removed, foreign
}
