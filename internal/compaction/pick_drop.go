package compaction

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// pickDrop removes tables in which nothing is live. That costs one edit and may
// spare other jobs their reading, so it comes first.
func (t *tree) pickDrop(w Workload) (Job, bool) {
	if w.ExpireAt > 0 {
		if j, ok := t.dropAll(ReasonExpired, func(f *manifest.FileMeta) (dead, bottom bool) {
			return f.Ranges == 0 && f.Expiring == f.Entries && f.MaxExpiry <= w.ExpireAt && f.LargestSeq <= w.OldestSnapshot, true
		}); ok {
			return j, true
		}
	}
	if len(w.RangeDeleted) == 0 {
		return Job{}, false
	}
	return t.dropAll(ReasonRanges, func(f *manifest.FileMeta) (dead, bottom bool) {
		c := w.RangeDeleted[f.Num]
		return c == RangeDeletedAll || c == RangeDeletedOwn && f.LargestSeq <= w.OldestSnapshot, c == RangeDeletedOwn
	})
}

// dropAll makes one job of all dead tables. classify also returns bottom for
// tables that still hide older entries, as tombstones do: such a table stays
// while it overlaps an older table that stays.
func (t *tree) dropAll(reason Reason, classify func(*manifest.FileMeta) (dead, bottom bool)) (Job, bool) {
	gone := make(map[base.FileNum]bool)
	j := Job{Reason: reason, Score: 1, Keyspace: t.Keyspace, Drop: true}
	for level := lastLevel; level >= 0; level-- {
		for i, r := range slices.Backward(t.Levels[level]) {
			in := Input{Level: level, Run: r.ID}
			for _, f := range r.Files {
				if t.busy[f.Num] != nil {
					continue
				}
				if dead, bottom := classify(f); dead && !(bottom && t.overOlder(level, i, f, gone)) {
					in.Files = append(in.Files, f)
					gone[f.Num] = true
				}
			}
			if len(in.Files) > 0 {
				j.Inputs = append(j.Inputs, in)
			}
		}
	}
	if len(j.Inputs) == 0 {
		return Job{}, false
	}
	j.OutputLevel, j.OutputRun = j.Inputs[0].Level, j.Inputs[0].Run
	slices.Reverse(j.Inputs)
	return j, true
}

// overOlder reports whether a table, of the i-th run of a level, overlaps an
// older one that is not in gone.
func (t *tree) overOlder(level, i int, f *manifest.FileMeta, gone map[base.FileNum]bool) bool {
	for l := level; l <= lastLevel; l++ {
		runs := t.Levels[l]
		if l == level {
			runs = runs[i+1:]
		}
		for k := range runs {
			for _, o := range runs[k].Overlapping(f.Smallest, f.End()) {
				if !gone[o.Num] {
					return true
				}
			}
		}
	}
	return false
}
