package compaction

import "github.com/seerdb-go/seerdb/internal/manifest"

// Backlog is how many bytes a tree is past its limits: what lies above the last
// level beyond the room there is, and garbage of value files beyond the space
// target. It is near 0 while compactions keep up. Whoever paces writers by it
// keeps the space that the database takes bounded under overload too, which
// counting the runs of level 0 does not: those can be merged away quickly, to
// where they still take space.
func Backlog(v *manifest.Version, w Workload, cfg Config) uint64 {
	var over float64
	for _, t := range trees(v, nil, w, cfg) {
		var upper extent
		for level := range lastLevel {
			for i := range t.levels[level] {
				for _, f := range t.levels[level][i].files {
					upper.add(f)
				}
			}
		}
		// What level 0 gathers before it is due is no backlog.
		over += max(upper.sum()-max(t.room, float64(cfg.BaseLevelBytes)), 0)
	}
	if cfg.ValueSpaceTarget > 1 {
		var total, live float64
		for _, f := range v.Values {
			total += float64(f.Bytes)
			live += float64(f.LiveBytes)
		}
		over += max(total-live*cfg.ValueSpaceTarget, 0)
	}
	return uint64(over)
}
