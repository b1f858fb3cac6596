package jobs

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// byHand is the remaining work of a call of Compact: tables that hold entries from
// before the call and are not yet in their final place. Other jobs go on
// beside it. The outputs of a job that reads such tables replace them in the
// list, so the work does not grow, however fast clients write. A nil
// byHand has nothing to do. It is guarded by Jobs.mu.
type byHand struct {
	k      *keyspace.Keyspace
	all    bool // there is a filter, which every entry has to pass
	tables map[base.FileNum]bool
	waits  bool // running jobs are in the way: no new ones may begin in k
}

const lastLevel = base.NumLevels - 1

// rewrites reports whether a table of the last level has entries that a
// rewrite may drop.
func (h *byHand) rewrites(f *manifest.FileMeta) bool {
	return h.all || f.Deletes+f.Ranges+f.Expiring > 0
}

// follow updates the list after the installation of a job.
func (h *byHand) follow(j *compaction.Job, outputs []*manifest.FileMeta) {
	if h == nil || h.k.ID() != j.Keyspace {
		return
	}
	took := false
	j.Files(func(_ int, f *manifest.FileMeta) {
		if !h.tables[f.Num] {
			return
		}
		took = true
		if !j.Move || j.OutputLevel == lastLevel && !h.rewrites(f) {
			delete(h.tables, f.Num)
		}
	})
	if took && j.OutputLevel < lastLevel {
		for _, f := range outputs {
			h.tables[f.Num] = true
		}
	}
}

// held returns the keyspaces in which no job may begin.
func (h *byHand) held() map[uint32]bool {
	if h == nil || !h.waits {
		return nil
	}
	return map[uint32]bool{h.k.ID(): true}
}

// pick chooses the next job. If tables are left but pick finds no job, running jobs are
// in the way.
func (h *byHand) pick(s *readstate.State, busy compaction.Busy, cfg compaction.Config) (j compaction.Job, ok bool) {
	there := make(map[base.FileNum]bool, len(h.tables))
	s.Version().Tree(h.k.ID()).All(func(_ int, f *manifest.FileMeta) bool {
		there[f.Num] = true
		return true
	})
	for num := range h.tables {
		if !there[num] && busy[num] == nil {
			delete(h.tables, num) // its keyspace was dropped
		}
	}
	wanted := func(f *manifest.FileMeta) bool { return h.tables[f.Num] }
	if len(h.tables) > 0 {
		if j, ok = compaction.PickManual(s.Version(), busy, h.k.ID(), wanted, cfg); !ok {
			j, ok = compaction.PickRewrite(s.Version(), busy, h.k.ID(), wanted, cfg)
		}
	}
	h.waits = !ok && len(h.tables) > 0
	return j, ok
}
