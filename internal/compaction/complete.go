package compaction

import (
	"maps"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// joinBytes is how many times the size of a table a job may have that joins
// value files as it passes: what a larger one writes is not sure to lie side by
// side.
const joinBytes = 4

// complete fills in what needs the whole picture: the value files to leave, and
// where the outputs end.
func (t *tree) complete(v *manifest.Version, j Job, w Workload) Job {
	if j.Drop {
		return j
	}
	return t.completeWith(v, j, victimValues(v.Values, hiddenBy(&j, w), t.cfg))
}

// completeWith is complete for a caller that has chosen the value files to leave.
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
	if j.Reason != ReasonJoin || j.OutputLevel == 0 { // it has none between its inputs
		j.Guards = t.guards(j.OutputLevel, j.Size())
	}
	return j
}
