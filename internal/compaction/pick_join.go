package compaction

import (
	"cmp"
	"slices"
	"sort"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Joining keeps the number of files in proportion to the data. Every flush
// makes files, however little is in it, and where nothing overlaps or becomes
// garbage no other job would ever merge them.
//
// A join rewrites small neighbours into something at least joinGrowth times as
// large as the largest of them. So joins rewrite a byte at most log(n) times,
// to the base joinGrowth, where n of the smallest files make one that is not
// small any more. Few neighbours that cannot be joined remain, since their
// sizes grow as powers of joinGrowth.

// joinGrowth is the least ratio of a join's output to each of its inputs.
const joinGrowth = 3

// pickJoin joins neighbouring tables of a run, or the value files that they
// refer to, where that leaves the fewest files.
func pickJoin(v *manifest.Version, busy Busy, w Workload, cfg Config) (best Job, of *tree) {
	most := 0
	jobs := running(busy)
	for _, mt := range v.Trees() {
		if w.Held[mt.Keyspace] {
			continue
		}
		var t *tree
		for level := 1; level <= lastLevel; level++ {
			for i := range mt.Levels[level] {
				r := &mt.Levels[level][i]
				if len(r.Files) < joinGrowth && mt.Sums[level].Values == 0 {
					continue // most of ten thousand keyspaces end here
				}
				if t == nil {
					t = newTreeBeside(jobs, mt, busy, w, cfg)
				}
				if files, n := t.bestJoin(v, level, r); n > most {
					best, of, most = t.inPlace(ReasonJoin, level, r.ID, files), t, n
					best.Dense = true
				}
			}
		}
	}
	return best, of
}

// bestJoin returns the neighbouring tables of a run that are best rewritten in
// place, and how many files that removes.
func (t *tree) bestJoin(v *manifest.Version, level int, r *manifest.Run) (best []*manifest.FileMeta, most int) {
	t.neighbours(level, r.Files, func(f *manifest.FileMeta) bool { return f.Size < t.cfg.smallTable() }, func(files []*manifest.FileMeta) {
		if files = growing(files, t.cfg.TableSize); len(files)-1 > most {
			best, most = files, len(files)-1
		}
	})
	if t.Sums[level].Values == 0 {
		return best, most
	}
	refers := func(f *manifest.FileMeta) bool {
		return slices.ContainsFunc(f.ValueRefs, func(ref manifest.ValueRef) bool { return t.cfg.isSmall(v, ref) })
	}
	t.neighbours(level, r.Files, refers, func(files []*manifest.FileMeta) {
		for len(files) > 0 {
			n := t.fitting(files)
			if values, bytes := joinValues(v, files[:n], joinGrowth, t.cfg); len(values)-1 > most && bytes >= totalSize(files[:n]) {
				best, most = files[:n], len(values)-1
			}
			files = files[n:]
		}
	})
	return best, most
}

// fitting returns how many of the first tables of a list one job takes to join
// their value files: at least one.
func (t *tree) fitting(files []*manifest.FileMeta) int {
	n, sum := 1, files[0].Size
	for n < len(files) && sum+files[n].Size <= t.cfg.TableSize {
		sum += files[n].Size
		n++
	}
	return n
}

// neighbours calls fn for every maximal sequence of neighbouring tables,
// ascending, that all satisfy pass and that one job may rewrite.
func (t *tree) neighbours(level int, files []*manifest.FileMeta, pass func(*manifest.FileMeta) bool, fn func([]*manifest.FileMeta)) {
	begin := 0
	for i, f := range files {
		ok := pass(f) && t.busy[f.Num] == nil && !t.blocked(level, f.Smallest, f.End())
		if begin < i && !(ok && t.together(level, files[i-1], f)) {
			fn(files[begin:i:i])
			begin = i
		}
		if !ok {
			begin = i + 1
		}
	}
	if begin < len(files) {
		fn(files[begin:len(files):len(files)])
	}
}

// together reports whether two neighbouring tables of a level may become one:
// no running job writes between them, and no deeper table begins there, which
// would make the result part of a larger component.
func (t *tree) together(level int, a, b *manifest.FileMeta) bool {
	if t.parted(level, a, b) {
		return false
	}
	for l := level + 1; l <= lastLevel; l++ {
		for i := range t.Levels[l] {
			files := t.Levels[l][i].Files
			n := sort.Search(len(files), func(n int) bool { return a.EndsBefore(files[n].Smallest) })
			if n < len(files) && !files[n].StartsAfter(b.Smallest) {
				return false
			}
		}
	}
	return true
}

// growing returns neighbours that together are at least joinGrowth times as
// large as the largest of them: as many as fit into limit, which is at least
// joinGrowth+1 times the size of each. It returns nil if there are none.
func growing(files []*manifest.FileMeta, limit uint64) []*manifest.FileMeta {
	for len(files) >= joinGrowth {
		total, largest := uint64(0), 0
		for i, f := range files {
			if total += f.Size; f.Size > files[largest].Size {
				largest = i
			}
		}
		if total >= joinGrowth*files[largest].Size {
			for total > limit {
				total -= files[len(files)-1].Size
				files = files[:len(files)-1]
			}
			return files
		}
		// None that include the largest, so look on one side of it.
		less, more := files[:largest], files[largest+1:]
		if len(less) > len(more) {
			less, more = more, less
		}
		if found := growing(less, limit); found != nil {
			return found
		}
		files = more
	}
	return nil
}

// joinValues chooses small value files of some tables whose values become one
// file, growth times as large as the largest of them, and returns how many
// bytes that copies. Only values that these tables refer to count: the others
// stay in their files.
func joinValues(v *manifest.Version, tables []*manifest.FileMeta, growth uint64, cfg Config) (chosen []base.FileNum, bytes uint64) {
	live := make(map[base.FileNum]uint64)
	for _, f := range tables {
		for _, ref := range f.ValueRefs {
			if cfg.isSmall(v, ref) {
				live[ref.File] += ref.Bytes
			}
		}
	}
	if len(live) < 2 {
		return nil, 0
	}
	files := make([]base.FileNum, 0, len(live))
	for num := range live {
		files = append(files, num)
	}
	slices.SortFunc(files, func(a, b base.FileNum) int {
		return cmp.Or(cmp.Compare(v.Values[a].Bytes, v.Values[b].Bytes), cmp.Compare(a, b))
	})
	n, sum := 0, uint64(0)
	for i, num := range files {
		if sum+live[num] > cfg.ValueFileSize {
			break
		}
		if sum += live[num]; sum >= growth*v.Values[num].Bytes {
			n, bytes = i+1, sum
		}
	}
	if n < 2 {
		return nil, 0
	}
	return files[:n], bytes
}

// A flush much smaller than a memtable makes a thin run of level 0. Merging a
// few of those with all that they overlap costs far more than it brings down,
// so they are joined within level 0, as tables are, until it is worth it:
// several thin runs become one.

// thinCost is the cost of a job, in bytes for each byte that it brings down,
// from which thin runs are not merged down.
const thinCost = 4

// thin reports whether a job that merges runs of level 0 because they are many
// costs too much for their size.
func (t *tree) thin(j *Job) bool {
	if j.Move || len(t.Levels[0]) < 2 || t.Sums[0].Bytes+t.Sums[0].Values >= t.cfg.BaseLevelBytes/2 {
		return false
	}
	var upper uint64
	j.Files(func(level int, f *manifest.FileMeta) {
		if level == 0 {
			upper += f.Size
		}
	})
	return !t.leveled(j.OutputLevel) || j.Size() > thinCost*upper
}

// joinRuns joins the neighbouring runs of level 0 that grow most by it. If
// there are so many runs that writers would soon be slowed, it accepts any
// growth.
func (t *tree) joinRuns() (Job, bool) {
	runs, limit := t.Levels[0], t.maxRuns(0)
	most := float64(joinGrowth)
	if len(runs) >= 2*limit {
		most = 1
	}
	j := Job{Reason: ReasonJoin, Score: float64(len(runs)) / float64(limit), Keyspace: t.Keyspace}
	from, to := 0, 0
	for i := range runs {
		var sum, largest uint64
		for n := i; n < len(runs) && t.freeRun(&runs[n]); n++ {
			size := runs[n].Size()
			sum, largest = sum+size, max(largest, size)
			if growth := float64(sum) / float64(largest); n > i && growth >= most {
				from, to, most = i, n+1, growth
			}
		}
	}
	for _, r := range runs[from:to] {
		j.Inputs = append(j.Inputs, Input{Level: 0, Run: r.ID, Files: r.Files})
	}
	if to > from {
		j.OutputRun = runs[from].ID
	}
	return j, to > from
}

// freeRun reports whether no job works on any table of a run.
func (t *tree) freeRun(r *manifest.Run) bool {
	return !slices.ContainsFunc(r.Files, func(f *manifest.FileMeta) bool { return t.busy[f.Num] != nil })
}
