package compaction

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// IngestLevel returns the level for tables from outside the tree that are newer
// than everything in it and have keys from lo to end. That is the deepest level
// in use such that no table of the keyspace at or above it overlaps the keys,
// and no running job writes there. If there is none it is level 0, in a run
// that the caller chooses.
//
// The caller ensures that nothing newer than these tables is installed before
// them.
func IngestLevel(v *manifest.Version, busy Busy, keyspace uint32, lo []byte, end base.End, cfg Config) (level int, run uint64) {
	t := newTree(v.Tree(keyspace), busy, Workload{}, cfg)
	free := 0 // levels above this one have nothing there
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
