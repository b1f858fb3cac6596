package jobs

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// byHand is what a call of Compact has yet to do: tables that hold something
// which was there when it began, and are not where it shall be. Other jobs go on
// beside it. What one of them makes of such tables takes their place, so that
// there are never more to come than there were, however fast others write. A nil
// byHand has nothing to do. It is guarded by Jobs.mu.
type byHand struct {
	k      *keyspace.Keyspace
	all    bool // there is a filter, which all has to pass
	tables map[base.FileNum]bool
	waits  bool // for jobs that are in the way: no more of them may begin
}

const lastLevel = base.NumLevels - 1

// rewrites reports whether a table of the last level has something that a
// rewrite may drop.
func (h *byHand) rewrites(f *manifest.FileMeta) bool {
	return h.all || f.Deletes+f.Ranges+f.Expiring > 0
}

// follow takes note of a job that was installed.
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

// held are the keyspaces in which no job may begin.
func (h *byHand) held() map[uint32]bool {
	if h == nil || !h.waits {
		return nil
	}
	return map[uint32]bool{h.k.ID(): true}
}

// pick chooses the next job. Where there is none although there are tables left,
// others are in the way.
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
