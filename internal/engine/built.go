package engine

import (
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/outputs"
)

// outputEnv is what the outputs of jobs need of the engine.
func (e *Engine) outputEnv() outputs.Env {
	return outputs.Env{
		FS: e.fs, Room: e.room.Over(e.fs), Dir: e.dirHandle,
		Reserve: e.reserveNumbers, NewIdentity: e.newIdentity,
		Made: e.noteMade, Created: e.fileCreated, Remove: e.removeFile,
		Poison: e.poison, Poisoned: func() bool { return e.poisoned.Load() != nil },
		Built: e.noteBuilt, Logger: e.opts.Logger,
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
		e.opts.Logger.Warn("seerdb: a key was put more than once under a single delete, which was taken for a delete",
			"job", job, "keys", n)
	}
}
