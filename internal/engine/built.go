package engine

import (
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/outputs"
)

// outputEnv is what the outputs of jobs need of the engine.
func (e *Engine) outputEnv() outputs.Env {
	return outputs.Env{
		FS: e.fs, Room: e.room.Over(e.fs), Dir: e.dirHandle,
		Reserve: e.versions.Reserve, NewIdentity: e.versions.NewIdentity,
		Made: e.versions.Made, Created: e.report.FileCreated, Remove: e.removeFile,
		Poison: e.commit.Poison, Poisoned: func() bool { return e.latch.Cause() != nil },
		Built: e.noteBuilt, Logger: e.report.Logger,
		PageSize: e.opts.PageSize, FilterBits: e.opts.FilterBits, Index: e.opts.Index,
		ValueFileSize: e.opts.valueFileSize(), PackFrom: e.opts.PackFrom, PackedMax: e.opts.PackedMax,
	}
}

// noteBuilt counts what a job did with versions and values, and reports what
// its user did not mean.
func (e *Engine) noteBuilt(job int, st *compaction.Stats) {
	e.stats.rewritten.Add(int64(st.RewrittenBytes))
	e.stats.versions.add(st)
	if n := st.SingleDeleteMisuse; n > 0 {
		e.report.Logger.Warn("seerdb: a key was put more than once under a single delete, which was taken for a delete",
			"job", job, "keys", n)
	}
}
