package compaction

import "github.com/seerdb-go/seerdb/internal/manifest"

// Backlogs returns by how many bytes the tree of each keyspace exceeds its
// limits: the bytes above the last level less the room for them. Trees without
// a backlog are left out. values is how much more garbage the value files of
// all keyspaces hold than the space target allows. Both are near 0 while
// compactions keep up.
//
// A pacer of writers that goes by these figures bounds the space of the
// database under overload too. Counting the runs of level 0 does not: those are
// quickly merged away, to a level where they still take space.
func Backlogs(v *manifest.Version, w Workload, cfg Config) (trees map[uint32]uint64, values uint64) {
	for _, of := range v.Trees() {
		var upper extent
		for level := range lastLevel {
			upper.addAll(&of.Sums[level])
		}
		if upper.sum() == 0 {
			continue
		}
		if over := upper.sum() - roomOf(of, w, cfg); over >= 1 {
			if trees == nil {
				trees = make(map[uint32]uint64)
			}
			trees[of.Keyspace] = uint64(over)
		}
	}
	if cfg.ValueSpaceTarget > 1 {
		var total, live float64
		for _, f := range v.Values {
			total += float64(f.Bytes)
			live += float64(f.LiveBytes)
		}
		values = uint64(max(total-live*cfg.ValueSpaceTarget, 0))
	}
	return trees, values
}

// Room returns how many bytes, values included, may lie above the last level of a
// tree before they count as a backlog.
func Room(of *manifest.Tree, w Workload, cfg Config) uint64 { return uint64(roomOf(of, w, cfg)) }

// roomOf is Room before rounding. What level 0 gathers before it is due does
// not count as a backlog.
func roomOf(of *manifest.Tree, w Workload, cfg Config) float64 {
	t := tree{Tree: of, cfg: cfg}
	t.plan(w)
	return max(t.room, float64(cfg.BaseLevelBytes))
}
