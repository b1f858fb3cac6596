package compaction

import (
	"cmp"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Shape is how runs are arranged in levels.
type Shape uint8

// The shapes.
const (
	Leveled     Shape = iota // one run in every level below 0
	LazyLeveled              // several runs in the inner levels, one in the last
)

// Config are the numbers that Pick works with.
type Config struct {
	Shape Shape
	// L0Trigger is the number of runs in level 0 from which they are merged
	// down.
	L0Trigger int
	// SizeRatio bounds how much larger a level is than the one above it, and
	// with it the number of levels.
	SizeRatio int
	// BaseLevelBytes is about what level 0 holds when it is merged down: the
	// trigger times the size of a flush.
	BaseLevelBytes uint64
	// TableSize is the length at which a table ends.
	TableSize uint64
	// MaxRuns is the number of runs of an inner level that is tiered.
	MaxRuns int
	// TombstoneDensity is how many bytes a table's tombstones must promise to
	// free for each byte that their way down costs.
	TombstoneDensity float64
	// ValueSpaceTarget is how many bytes value files may take for each byte
	// that is alive in them; 0 collects nothing.
	ValueSpaceTarget float64
}

// DefaultConfig is for a memtable of 64 MiB.
func DefaultConfig() Config {
	return Config{
		Shape:            Leveled,
		L0Trigger:        4,
		SizeRatio:        10,
		BaseLevelBytes:   256 << 20,
		TableSize:        8 << 20,
		MaxRuns:          4,
		TombstoneDensity: 0.5,
		ValueSpaceTarget: 1.25,
	}
}

// Busy names the tables that running jobs have as inputs.
type Busy map[base.FileNum]bool

// Workload is what the database does lately, as decayed rates a second.
type Workload struct {
	WriteBytes float64 // by users
	Gets       float64
	Scans      float64
	// OldestSnapshot is the oldest sequence that is still read: that of the
	// oldest snapshot, or else the visible one.
	OldestSnapshot base.SeqNum
}

// candidate is a level that may be due.
type candidate struct {
	tree   *tree
	level  int
	score  float64
	reason Reason
}

// Pick chooses the most urgent job that can run beside the busy ones, or
// answers false when nothing is due. It is pure: the answer depends on the
// arguments alone, and repeating it on what each job leaves behind comes to an
// end.
func Pick(v *manifest.Version, busy Busy, w Workload, cfg Config) (Job, bool) {
	ts := trees(v, busy, cfg)
	victims := victimValues(v, cfg)
	for _, c := range candidates(ts) {
		if j, ok := c.tree.pickLevel(c); ok {
			return complete(c.tree, j, victims), true
		}
	}
	for _, t := range ts {
		if j, ok := t.pickTombstones(w); ok {
			return complete(t, j, victims), true
		}
	}
	if j, t, ok := pickValues(ts, victims); ok {
		return complete(t, j, victims), true
	}
	return Job{}, false
}

// candidates are the levels that are due, the most urgent first. Level 0 comes
// before all others, since writers wait for it.
func candidates(ts []*tree) []candidate {
	var out []candidate
	for _, t := range ts {
		for level := range t.levels {
			if c := t.score(level); c.score >= 1 {
				out = append(out, c)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b candidate) int {
		if a0, b0 := a.level == 0, b.level == 0; a0 != b0 {
			if a0 {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.score, a.score)
	})
	return out
}

// score says how due a level is.
func (t *tree) score(level int) candidate {
	c := candidate{tree: t, level: level}
	switch n := t.freeRuns(level); {
	case level == 0:
		c.reason, c.score = ReasonL0, float64(n)/float64(t.maxRuns(0))
	case level < lastLevel && t.maxRuns(level) > 1:
		c.reason, c.score = ReasonRuns, float64(n)/float64(t.maxRuns(level))
		if level < t.restBase() && n > 0 {
			c.score = max(c.score, 1)
		}
	case len(t.levels[level]) > 1:
		c.reason, c.score = ReasonRuns, float64(len(t.levels[level]))
	case level < lastLevel:
		c.reason, c.score = ReasonSize, float64(t.freeSize(level))/max(t.targets[level], 1)
	}
	return c
}

// restBase is the base level that the tree would choose if it had no tables
// above it.
func (t *tree) restBase() int {
	for level := 1; level < lastLevel; level++ {
		if t.targets[level] > 0 {
			return level
		}
	}
	return lastLevel
}

// pickLevel picks a job that takes tables out of a level that is due.
func (t *tree) pickLevel(c candidate) (Job, bool) {
	j := Job{Reason: c.reason, Score: c.score, OutputLevel: t.below(c.level)}
	if c.reason == ReasonSize {
		return t.pickTable(j, c.level)
	}
	if c.level < lastLevel && t.maxRuns(j.OutputLevel) > 1 {
		return t.pickWholeLevel(j, c.level)
	}
	return t.pickComponents(j, c.level)
}

// pickWholeLevel merges all runs of a level to a new run of the tiered level
// below.
func (t *tree) pickWholeLevel(j Job, level int) (Job, bool) {
	for i := range t.levels[level] {
		r := &t.levels[level][i]
		if t.anyBusy(r.files) {
			// Two new runs could be installed in the wrong order.
			return Job{}, false
		}
		j.Inputs = append(j.Inputs, Input{level, r.id, r.files})
	}
	j.OutputRun = t.freshRun(j.OutputLevel)
	return j, true
}

// pickTable picks the table of a leveled level that meets the least below it,
// by size, and its neighbours when they come for free.
func (t *tree) pickTable(j Job, level int) (Job, bool) {
	src, dst := &t.levels[level][0], t.newestRun(j.OutputLevel)
	best, bestCost := -1, 0.0
	for i, f := range src.files {
		over, _ := dst.overlapping(f.Smallest, f.Largest)
		if t.busy[f.Num] || t.anyBusy(over) {
			continue
		}
		if cost := float64(totalSize(over)) / float64(f.Size+f.Size*f.Deletes/f.Entries); best < 0 || cost < bestCost {
			best, bestCost = i, cost
		}
	}
	if best < 0 {
		return Job{}, false
	}
	lo, hi := best, best+1
	over, _ := dst.overlapping(src.files[lo].Smallest, src.files[hi-1].Largest)
	// A neighbour that meets only tables that are read anyway costs nothing
	// below.
	for hi < len(src.files) && t.addsNothing(&dst, src.files[lo], src.files[hi], over) {
		hi++
	}
	for lo > 0 && t.addsNothing(&dst, src.files[lo-1], src.files[hi-1], over) {
		lo--
	}
	return t.mergeDown(j, []Input{{level, src.id, src.files[lo:hi:hi]}}, dst, over), true
}

// addsNothing reports whether tables from first to last meet nothing below but
// over, and are free.
func (t *tree) addsNothing(dst *run, first, last *manifest.FileMeta, over []*manifest.FileMeta) bool {
	now, _ := dst.overlapping(first.Smallest, last.Largest)
	return len(over) > 0 && len(now) == len(over) && !t.busy[first.Num] && !t.busy[last.Num]
}

// mergeDown completes a job that merges inputs with tables of a run below.
func (t *tree) mergeDown(j Job, inputs []Input, dst run, over []*manifest.FileMeta) Job {
	j.Inputs, j.OutputRun = inputs, dst.id
	if len(over) > 0 {
		j.Inputs = append(j.Inputs, Input{dst.level, dst.id, over})
	}
	return j
}

// complete fills in what all jobs have: the keyspace, the value files to leave,
// the split keys, and whether the tables can simply move.
func complete(t *tree, j Job, victims map[base.FileNum]bool) Job {
	j.Keyspace = t.keyspace
	lo, hi := j.Bounds()
	j.SplitKeys = t.splitKeys(j.OutputLevel, lo, hi)
	j.Files(func(_ int, f *manifest.FileMeta) {
		for _, ref := range f.ValueRefs {
			if victims[ref.File] {
				if j.RewriteValues == nil {
					j.RewriteValues = make(map[base.FileNum]bool)
				}
				j.RewriteValues[ref.File] = true
			}
		}
	})
	j.Move = t.canMove(&j)
	return j
}

// canMove reports whether the inputs can become the output as they are: one
// run, no merging, no tombstones or values to get rid of, and not so small
// that they would litter the level, nor so wide that their next compaction
// would be huge.
func (t *tree) canMove(j *Job) bool {
	if len(j.Inputs) != 1 || j.Inputs[0].Level == j.OutputLevel || len(j.RewriteValues) > 0 || j.Reason == ReasonTombstones {
		return false
	}
	files := j.Inputs[0].Files
	small := 0
	for _, f := range files {
		if f.Size < t.cfg.TableSize/4 {
			small++
		}
	}
	if small > 1 {
		return false
	}
	return len(j.SplitKeys) <= maxSplitKeys*len(files)
}

func totalSize(files []*manifest.FileMeta) uint64 {
	var n uint64
	for _, f := range files {
		n += f.Size
	}
	return n
}
