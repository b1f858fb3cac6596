package compaction

import (
	"maps"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// joinBytes bounds, in table sizes, the jobs that join value files as they
// pass: a larger job may not write the values of neighbouring tables side by
// side.
const joinBytes = 4

// complete sets the parts of a job that depend on the whole version: the value
// files to rewrite, and where the outputs end.
func (t *tree) complete(v *manifest.Version, j Job, w Workload) Job {
	if j.Drop {
		return j
	}
	return t.completeWith(v, j, victimValues(v.Values, hiddenBy(&j, w), t.cfg))
}

// completeWith is complete for a caller that has chosen the value files to
// rewrite.
func (t *tree) completeWith(v *manifest.Version, j Job, victims map[base.FileNum]bool) Job {
	if j.Drop {
		return j
	}
	rewrite := maps.Clone(j.RewriteValues)
	if rewrite == nil {
		rewrite = make(map[base.FileNum]bool)
	}
	var tables []*manifest.FileMeta
	j.Files(func(_ int, f *manifest.FileMeta) {
		tables = append(tables, f)
		for _, ref := range f.ValueRefs {
			if victims[ref.File] {
				rewrite[ref.File] = true
			}
		}
	})
	j.Move = j.Move && len(rewrite) == 0
	if !j.Move && j.Size() <= joinBytes*t.cfg.TableSize {
		small, _ := joinValues(v, tables, joinGrowth, t.cfg)
		for _, num := range small {
			rewrite[num] = true
		}
	}
	if len(rewrite) > 0 {
		j.RewriteValues = rewrite
	}
	if j.Reason != ReasonJoin || j.OutputLevel == 0 { // a join below level 0 has no guards between its inputs
		j.Guards = t.guards(j.OutputLevel, j.Size())
	}
	return j
}
