package compaction

import (
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
		return cmp.Or(cmp.Compare(garbageRatio(b), garbageRatio(a)), cmp.Compare(a.Num, b.Num))
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
func pickValues(ts []*tree, victims map[base.FileNum]bool) (best Job, ok bool) {
	if len(victims) == 0 {
		return Job{}, false
	}
	most := uint64(0)
	for _, t := range ts {
		for level := range t.levels {
			for i := range t.levels[level] {
				r := &t.levels[level][i]
				if files, n := t.mostVictimBytes(level, r, victims); n > most {
					best, most = t.inPlace(ReasonValues, level, r.id, files), n
				}
			}
		}
	}
	return best, most > 0
}

// inPlace is a job that rewrites neighbouring tables where they are.
func (t *tree) inPlace(reason Reason, level int, id uint64, files []*manifest.FileMeta) Job {
	return Job{Reason: reason, Score: 1, Keyspace: t.keyspace, OutputLevel: level, OutputRun: id,
		Inputs: []Input{{level, id, files}}}
}

// mostVictimBytes finds the neighbouring tables of a run, each with references
// to victims, that together have most of them.
func (t *tree) mostVictimBytes(level int, r *run, victims map[base.FileNum]bool) (files []*manifest.FileMeta, most uint64) {
	begin, n := 0, uint64(0)
	for i, f := range r.files {
		b := victimBytes(f, victims)
		if b == 0 || t.busy[f.Num] != nil || t.blocked(level, f.Smallest, f.Largest) {
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

// pickTombstones takes tombstones all the way down where they free enough for
// what that costs, and out of the last level where a snapshot that is gone had
// kept them.
func (t *tree) pickTombstones(w Workload) (Job, bool) {
	if t.cfg.TombstoneDensity <= 0 {
		return Job{}, false
	}
	var best Job
	most := t.cfg.TombstoneDensity
	for level := 0; level < lastLevel; level++ {
		if len(t.levels[level]) == 0 {
			continue
		}
		s := span{level, lastLevel}
		for _, g := range t.groups(t.components(s)) {
			if !g.deletes {
				continue
			}
			if gain := tombstoneGain(g.tables) / float64(g.bytes); gain > most {
				best, most = t.job(ReasonTombstones, gain, s, g), gain
				best.Move = false
			}
		}
	}
	if best.Inputs == nil {
		best, most = t.pickBottomTombstones(w, most)
	}
	return best, best.Inputs != nil
}

// pickBottomTombstones rewrites tables of the last level that are full of
// tombstones. All of them go, since every read sees them and nothing is below:
// the same table is not picked again.
func (t *tree) pickBottomTombstones(w Workload, most float64) (best Job, gain float64) {
	if len(t.levels[lastLevel]) != 1 {
		return Job{}, 0
	}
	r := &t.levels[lastLevel][0]
	for i, f := range r.files {
		if f.Deletes == 0 || t.busy[f.Num] != nil || f.LargestSeq > w.OldestSnapshot || t.blocked(lastLevel, f.Smallest, f.Largest) {
			continue
		}
		if gain := float64(f.Deletes) / float64(f.Entries); gain > most {
			best, most = t.inPlace(ReasonTombstones, lastLevel, r.id, r.files[i:i+1:i+1]), gain
			best.Score = gain
		}
	}
	return best, most
}

// tombstoneGain estimates what the tombstones among tables free: each meets one
// other entry of average size, with its value in a value file, and both go.
func tombstoneGain(tables []placed) float64 {
	var deletes, entries, bytes float64
	for _, p := range tables {
		deletes += float64(p.f.Deletes)
		entries += float64(p.f.Entries)
		bytes += float64(p.f.Size)
		for _, ref := range p.f.ValueRefs {
			bytes += float64(ref.Bytes)
		}
	}
	return bytes * min(1, 2*deletes/entries)
}
