package compaction

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// maxGarbageTables is how many tables a job that only collects garbage takes at
// most. Such jobs are never urgent; small ones hold nobody up.
const maxGarbageTables = 16

// victimValues are the value files to leave: the fewest, those with most
// garbage first, without whose garbage the files would be back well within the
// space target. It is empty while they are within it: until then dead values
// cost space that was granted and no work at all.
func victimValues(v *manifest.Version, cfg Config) map[base.FileNum]bool {
	if cfg.ValueSpaceTarget <= 1 {
		return nil
	}
	var total, live float64
	files := make([]*manifest.ValueFile, 0, len(v.Values))
	for _, f := range v.Values {
		total += float64(f.Bytes)
		live += float64(f.LiveBytes)
		files = append(files, f)
	}
	if total <= live*cfg.ValueSpaceTarget {
		return nil
	}
	slices.SortFunc(files, func(a, b *manifest.ValueFile) int {
		if c := cmp.Compare(garbageRatio(b), garbageRatio(a)); c != 0 {
			return c
		}
		return cmp.Compare(a.Num, b.Num)
	})
	victims := make(map[base.FileNum]bool)
	calm := live * (1 + (cfg.ValueSpaceTarget-1)*valueCalm)
	for _, f := range files {
		if total <= calm {
			break
		}
		victims[f.Num] = true
		total -= float64(f.Garbage())
	}
	return victims
}

// valueCalm is how far back into the space target, as a part of the granted
// garbage, the choice of victims aims. Aiming at the target itself would start
// a job for every few bytes of garbage.
const valueCalm = 0.9

func garbageRatio(f *manifest.ValueFile) float64 { return float64(f.Garbage()) / float64(f.Bytes) }

// pickValues rewrites tables in place to get their values out of victims. It
// takes neighbours of one run, where there is most to gain.
func pickValues(ts []*tree, victims map[base.FileNum]bool) (Job, *tree, bool) {
	if len(victims) == 0 {
		return Job{}, nil, false
	}
	var (
		best      Job
		bestTree  *tree
		bestBytes uint64
	)
	for _, t := range ts {
		for level := range t.levels {
			for i := range t.levels[level] {
				r := &t.levels[level][i]
				files, n := t.mostVictimBytes(r, victims)
				if n > bestBytes {
					bestTree, bestBytes = t, n
					best = Job{Reason: ReasonValues, Score: 1, OutputLevel: level, OutputRun: r.id,
						Inputs: []Input{{level, r.id, files}}}
				}
			}
		}
	}
	return best, bestTree, bestTree != nil
}

// mostVictimBytes finds the neighbouring tables of a run, each with references
// to victims, that together have most of them.
func (t *tree) mostVictimBytes(r *run, victims map[base.FileNum]bool) (files []*manifest.FileMeta, most uint64) {
	begin, n := 0, uint64(0)
	for i, f := range r.files {
		b := victimBytes(f, victims)
		if b == 0 || t.busy[f.Num] {
			begin, n = i+1, 0
			continue
		}
		n += b
		if i-begin == maxGarbageTables {
			n -= victimBytes(r.files[begin], victims)
			begin++
		}
		if n > most {
			files, most = r.files[begin:i+1:i+1], n
		}
	}
	return files, most
}

func victimBytes(f *manifest.FileMeta, victims map[base.FileNum]bool) uint64 {
	var n uint64
	for _, ref := range f.ValueRefs {
		if victims[ref.File] {
			n += ref.Bytes
		}
	}
	return n
}

// pickTombstones picks a table whose tombstones are worth their way down, or
// one of the last level that kept some for a snapshot that is gone.
func (t *tree) pickTombstones(w Workload) (Job, bool) {
	var (
		best      Job
		bestScore = t.cfg.TombstoneDensity
	)
	if bestScore <= 0 {
		return Job{}, false
	}
	for level := range t.levels {
		for i := range t.levels[level] {
			r := &t.levels[level][i]
			for k, f := range r.files {
				if f.Deletes == 0 || t.busy[f.Num] {
					continue
				}
				j, cost, ok := t.tombstoneJob(r, k, w)
				if !ok {
					continue
				}
				if score := t.tombstoneGain(&j) / float64(cost); score > bestScore {
					best, bestScore = j, score
				}
			}
		}
	}
	if best.Inputs == nil {
		return Job{}, false
	}
	best.Score = bestScore
	return best, true
}

// tombstoneJob is the job that takes table k of a run one level down, or in the
// last level rewrites it, and what it costs.
func (t *tree) tombstoneJob(r *run, k int, w Workload) (Job, uint64, bool) {
	f := r.files[k]
	j := Job{Reason: ReasonTombstones, OutputLevel: t.below(r.level)}
	switch {
	case r.level == lastLevel:
		if f.LargestSeq > w.OldestSnapshot || len(t.levels[lastLevel]) > 1 {
			return Job{}, 0, false
		}
		j.OutputRun, j.Inputs = r.id, []Input{{r.level, r.id, r.files[k : k+1 : k+1]}}
	case t.maxRuns(r.level) > 1 || len(t.levels[r.level]) > 1 || t.maxRuns(j.OutputLevel) > 1:
		return t.tombstoneComponent(j, r.level, f)
	default:
		dst := t.newestRun(j.OutputLevel)
		over, _ := dst.overlapping(f.Smallest, f.Largest)
		if t.anyBusy(over) {
			return Job{}, 0, false
		}
		j = t.mergeDown(j, []Input{{r.level, r.id, r.files[k : k+1 : k+1]}}, dst, over)
	}
	return j, j.Size(), true
}

// tombstoneComponent is tombstoneJob where several runs must move together.
func (t *tree) tombstoneComponent(j Job, level int, f *manifest.FileMeta) (Job, uint64, bool) {
	if t.maxRuns(j.OutputLevel) > 1 {
		j, ok := t.pickWholeLevel(j, level)
		return j, j.Size(), ok
	}
	dst := t.newestRun(j.OutputLevel)
	for _, c := range t.components(level, dst) {
		if bytes.Compare(c.hi, f.Smallest) < 0 {
			continue
		}
		if c.busy {
			return Job{}, 0, false
		}
		j.OutputRun, j.Inputs = dst.id, t.inputs(level, dst, []component{c})
		return j, j.Size(), true
	}
	return Job{}, 0, false
}

// tombstoneGain estimates what a job's tombstones free: each meets one other
// entry of average size, with its value in a value file, and both go.
func (t *tree) tombstoneGain(j *Job) float64 {
	var deletes, puts, bytes float64
	j.Files(func(_ int, f *manifest.FileMeta) {
		deletes += float64(f.Deletes)
		puts += float64(f.Entries - f.Deletes)
		bytes += float64(f.Size)
		for _, ref := range f.ValueRefs {
			bytes += float64(ref.Bytes)
		}
	})
	return bytes * min(1, 2*deletes/max(puts+deletes, 1))
}
