package compaction

import (
	"cmp"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Limits of a job that only collects garbage: it takes at most maxGarbageTables
// tables and, if it takes more than one, copies values of at most
// maxGarbageValues table sizes. Such jobs are never urgent, and small ones
// delay no others.
const (
	maxGarbageTables = 16
	maxGarbageValues = 32
)

// victimValues returns the value files to rewrite: the fewest, by most garbage
// first, without whose garbage the rest is well within the space target. It
// returns none while all are within the target: until then dead values cost
// space that was granted and no work. hidden is the estimated garbage, by file,
// that is not known yet.
func victimValues(values map[base.FileNum]*manifest.ValueFile, hidden map[base.FileNum]float64, cfg Config) map[base.FileNum]bool {
	if cfg.ValueSpaceTarget <= 1 {
		return nil
	}
	type file struct {
		num            base.FileNum
		bytes, garbage float64
	}
	var total, live float64
	files := make([]file, 0, len(values))
	for _, f := range values {
		garbage := min(float64(f.Garbage())+hidden[f.Num], float64(f.Bytes))
		files = append(files, file{f.Num, float64(f.Bytes), garbage})
		total += float64(f.Bytes)
		live += float64(f.Bytes) - garbage
	}
	if total <= live*cfg.ValueSpaceTarget {
		return nil
	}
	slices.SortFunc(files, func(a, b file) int {
		return cmp.Or(cmp.Compare(b.garbage*a.bytes, a.garbage*b.bytes), cmp.Compare(a.num, b.num))
	})
	victims := make(map[base.FileNum]bool)
	calm := live * (1 + (cfg.ValueSpaceTarget-1)*valueCalm)
	for _, f := range files {
		if total <= calm {
			break
		}
		victims[f.num] = true
		total -= f.garbage
	}
	return victims
}

// hiddenBy estimates, by value file, the garbage that a job will uncover in the
// last level. With it the job rewrites the worst files at once; without it, the
// same tables would be written again right after.
func hiddenBy(j *Job, w Workload) map[base.FileNum]float64 {
	hiding := w.hiding()
	if hiding == 0 || j.OutputLevel != lastLevel {
		return nil
	}
	var upper, lower float64
	refs := make(map[base.FileNum]float64)
	j.Files(func(level int, f *manifest.FileMeta) {
		for _, ref := range f.ValueRefs {
			if level == lastLevel {
				lower += float64(ref.Bytes)
				refs[ref.File] += float64(ref.Bytes)
			} else {
				upper += float64(ref.Bytes)
			}
		}
	})
	part := min(upper*hiding/max(lower, 1), 1)
	for num := range refs {
		refs[num] *= part
	}
	return refs
}

// valueCalm is how far within the space target, as a part of the granted
// garbage, the choice of victims aims. Aiming at the target itself would start
// a job for every few bytes of garbage.
const valueCalm = 0.9

// pickValues rewrites tables in place to copy their values out of victims. It
// takes neighbours of one run, where there is most to gain.
func pickValues(v *manifest.Version, busy Busy, w Workload, cfg Config) (best Job, of *tree) {
	victims := victimValues(v.Values, nil, cfg)
	if len(victims) == 0 {
		return Job{}, nil
	}
	most := uint64(0)
	jobs := running(busy)
	for _, mt := range v.Trees() {
		if w.Held[mt.Keyspace] {
			continue
		}
		t := newTreeBeside(jobs, mt, busy, w, cfg)
		for level := range t.Levels {
			if t.Sums[level].Values == 0 {
				continue
			}
			for i := range t.Levels[level] {
				r := &t.Levels[level][i]
				if files, n := t.mostVictimBytes(level, r, victims); n > most {
					best, of, most = t.inPlace(ReasonValues, level, r.ID, files), t, n
				}
			}
		}
	}
	return best, of
}

// mostVictimBytes returns the neighbouring tables of a run, each with
// references to victims, that together have the most bytes in them.
func (t *tree) mostVictimBytes(level int, r *manifest.Run, victims map[base.FileNum]bool) (files []*manifest.FileMeta, most uint64) {
	begin, n := 0, uint64(0)
	for i, f := range r.Files {
		b := victimBytes(f, victims)
		if b == 0 || t.busy[f.Num] != nil || t.blocked(level, f.Smallest, f.End()) {
			begin, n = i+1, 0
			continue
		}
		if begin < i && t.parted(level, r.Files[i-1], f) {
			begin, n = i, 0
		}
		n += b
		for begin < i && (i-begin == maxGarbageTables || n > maxGarbageValues*t.cfg.TableSize) {
			n -= victimBytes(r.Files[begin], victims)
			begin++
		}
		if n > most {
			files, most = r.Files[begin:i+1:i+1], n
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
