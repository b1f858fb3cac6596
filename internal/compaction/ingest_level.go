package compaction

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// IngestLevel chooses where tables go that came from outside, newer than everything
// in the tree, with keys from lo to end: the deepest level in use down to which
// nothing of the keyspace overlaps them and into which no running job writes
// there; or level 0, in a run that is up to the caller.
//
// Nothing newer than they are may reach the tables of v before they do.
func IngestLevel(v *manifest.Version, busy Busy, keyspace uint32, lo []byte, end base.End, cfg Config) (level int, run uint64) {
	t := newTree(v.Tree(keyspace), busy, Workload{}, cfg)
	free := 0 // levels above it have nothing there
	for free < base.NumLevels && !t.overlaps(free, lo, end) {
		free++
	}
	for level = min(free, base.NumLevels) - 1; level >= t.base; level-- {
		if !t.blocked(level, lo, end) {
			return level, t.outputRun(level, lo, end)
		}
	}
	return 0, 0
}

func (t *tree) overlaps(level int, lo []byte, end base.End) bool {
	for i := range t.Levels[level] {
		if len(t.Levels[level][i].Overlapping(lo, end)) > 0 {
			return true
		}
	}
	return false
}
