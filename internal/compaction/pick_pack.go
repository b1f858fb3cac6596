package compaction

import (
	"cmp"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Many small keyspaces. A job writes the tables of thousands of keyspaces into
// packs, files that several tables share. So the jobs that are due in thousands
// of keyspaces are picked together, and done with one sync and one edit.

const (
	// PackSize is the size at which a pack is full. Its space is freed when its
	// last table is removed or rewritten elsewhere.
	PackSize = 2 << 20

	// maxTogether and maxTogetherBytes bound the jobs that are picked together.
	maxTogether      = 4096
	maxTogetherBytes = 2 * PackSize
	// looseTables is how many times Config.PackFrom small tables with files of
	// their own justify a job that packs them.
	looseTables = 32
)

// small reports whether a job should be done together with others, because its
// cost is in syncs and not in bytes.
func (j *Job) small(cfg *Config) bool {
	return j.Written() <= cfg.PackedMax && len(j.RewriteValues) == 0
}

// pickPacks maintains packs when nothing else is due. If packs hold too much
// garbage it rewrites together the tables of the packs with the most; otherwise
// it packs the small tables with files of their own, if there are many.
func pickPacks(v *manifest.Version, busy Busy, w Workload, cfg Config) []Job {
	p := packPicker{busy: busy, w: w, cfg: cfg}
	garbage, live := p.measure(v)
	switch {
	case garbage > live+cfg.PackSlack:
		worst := p.worst(garbage - live)
		return p.rewrite(v, func(f *manifest.FileMeta) bool { return worst[f.Pack] })
	case len(p.loose) >= looseTables*cfg.PackFrom:
		if jobs := p.rewrite(v, func(f *manifest.FileMeta) bool { return p.loose[f.Num] }); len(jobs) > cfg.PackFrom {
			return jobs // fewer would get files of their own again
		}
	}
	return nil
}

// packPicker examines the packs of a version once.
type packPicker struct {
	busy  Busy
	w     Workload
	cfg   Config
	packs map[base.FileNum]packUse
	loose map[base.FileNum]bool // small tables with files of their own, alone in their keyspaces
}

// packUse is what tables use of a pack. free is set if no job is busy with one
// of them.
type packUse struct {
	size, live uint64
	free       bool
}

func (u packUse) garbage() uint64 { return u.size - u.live }

// lone reports whether a keyspace has one table, which is small. No other job
// will ever pick it.
func (c *Config) lone(t *manifest.Tree) bool {
	n, size := 0, uint64(0)
	for l := range t.Sums {
		n, size = n+t.Sums[l].Tables, size+t.Sums[l].Bytes
	}
	return n == 1 && size <= c.PackedMax
}

// measure returns the bytes of garbage and of live tables in packs.
func (p *packPicker) measure(v *manifest.Version) (garbage, live uint64) {
	p.packs, p.loose = make(map[base.FileNum]packUse), make(map[base.FileNum]bool)
	for _, t := range v.Trees() {
		alone := p.cfg.lone(t)
		t.All(func(_ int, f *manifest.FileMeta) bool {
			if f.Pack != 0 {
				u, seen := p.packs[f.Pack]
				u.size, u.live = f.PackSize, u.live+f.Size
				u.free = (u.free || !seen) && p.busy[f.Num] == nil
				p.packs[f.Pack] = u
			} else if alone && len(f.ValueRefs) == 0 && p.busy[f.Num] == nil {
				p.loose[f.Num] = true
			}
			return true
		})
	}
	for _, u := range p.packs {
		live += u.live
		garbage += u.garbage()
	}
	return garbage, live
}

// worst chooses packs to be rewritten: among those that are mostly garbage and
// in which no job is busy, the ones with the most garbage for each live byte,
// until excess bytes are freed or the job is large enough. A pack whose tables
// cannot be read does not hold up the others for ever.
func (p *packPicker) worst(excess uint64) map[base.FileNum]bool {
	var all []base.FileNum
	for num, u := range p.packs {
		if u.free && u.garbage() > u.live {
			all = append(all, num)
		}
	}
	gain := func(num base.FileNum) float64 { return float64(p.packs[num].garbage()) / float64(p.packs[num].live) }
	slices.SortFunc(all, func(a, b base.FileNum) int { return cmp.Or(cmp.Compare(gain(b), gain(a)), cmp.Compare(a, b)) })
	chosen := make(map[base.FileNum]bool)
	var live, garbage uint64
	for _, num := range all {
		u := p.packs[num]
		if live += u.live; len(chosen) > 0 && (garbage >= excess || live > maxTogetherBytes) {
			break
		}
		garbage += u.garbage()
		chosen[num] = true
	}
	return chosen
}

// rewrite returns jobs that rewrite the wanted tables in place.
func (p *packPicker) rewrite(v *manifest.Version, wanted func(f *manifest.FileMeta) bool) []Job {
	var jobs []Job
	size := uint64(0)
	beside := running(p.busy)
	victims := victimValues(v.Values, nil, p.cfg)
	full := func() bool { return size >= maxTogetherBytes || len(jobs) >= maxTogether }
	for _, mt := range v.Trees() {
		if full() {
			break
		}
		if p.w.Held[mt.Keyspace] {
			continue
		}
		var t *tree
		mt.All(func(level int, f *manifest.FileMeta) bool {
			if !wanted(f) || p.busy[f.Num] != nil {
				return true
			}
			if t == nil {
				t = newTreeBeside(beside, mt, p.busy, p.w, p.cfg)
			}
			if t.blocked(level, f.Smallest, f.End()) {
				return true
			}
			jobs = append(jobs, t.completeWith(v, t.inPlace(ReasonJoin, level, f.Run, []*manifest.FileMeta{f}), victims))
			size += f.Size
			return !full()
		})
	}
	slices.SortStableFunc(jobs, func(a, b Job) int { return cmp.Compare(a.Keyspace, b.Keyspace) })
	return jobs
}
