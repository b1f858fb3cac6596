package compaction

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// tree is one keyspace's part of a version with what Pick needs. Each keyspace
// is a tree of its own, with its own base level and scores.
type tree struct {
	*manifest.Tree
	cfg      Config
	busy     Busy
	running  []runningJob // of this keyspace
	expireAt uint64

	// Set by plan.
	base  int     // the level that level 0 is merged into
	drain bool    // there are more inner levels than plan wants
	room  float64 // bytes that may lie above the last level
	// lowestRuns is how many runs the lowest inner level of a lazy-leveled tree
	// gathers: enough to fill the room.
	lowestRuns int
}

// newTree returns a tree with its plan.
func newTree(of *manifest.Tree, busy Busy, w Workload, cfg Config) *tree {
	return newTreeBeside(running(busy), of, busy, w, cfg)
}

// newTreeBeside is newTree for a caller that makes many trees and has listed
// the running jobs.
func newTreeBeside(jobs map[uint32][]runningJob, of *manifest.Tree, busy Busy, w Workload, cfg Config) *tree {
	t := &tree{Tree: of, cfg: cfg, busy: busy, running: jobs[of.Keyspace], expireAt: w.ExpireAt}
	t.plan(w)
	return t
}

// isQuiescent reports whether a tree needs no job except to collect garbage in
// value files: all tables are in the last level, and have no tombstones and no
// expiries. Of ten thousand keyspaces most are quiescent most of the time.
func isQuiescent(t *manifest.Tree) bool {
	for l := range lastLevel {
		if len(t.Levels[l]) > 0 {
			return false
		}
	}
	s := &t.Sums[lastLevel]
	return s.Deletes == 0 && s.Ranges == 0 && s.Expiring == 0
}

// hiddenValues is how large the values above the last level may be, as a part
// of those in it. It is small beside SpaceTarget: finding out which values are
// dead only takes merging tables of pointers, while the space left for known
// garbage sets the price of collecting it.
const hiddenValues = 0.08

// freshRoom bounds how much more room there is when writes hide nothing. How
// much they hide is known only for writes that reached the last level.
const freshRoom = 2

// plan decides how many levels lie between level 0 and the last.
//
// In the worst case everything above the last level hides something there, so
// its room is a part of the last level (Config.SpaceTarget), and more if writes
// are known to hide little. Level 0 brings BaseLevelBytes, a batch, at a time.
// If a batch takes all the room, level 0 is merged into the last level
// directly.
//
// Otherwise an inner level gathers batches. That costs one more write, but each
// component is then merged with the last level when it has twice its share of
// the room less one batch (see pickSpace), and not at every batch. That pays
// from 1.25 batches of room on. When the inner level has more than 1.5 MaxRuns
// runs on top of each other, another level is added.
func (t *tree) plan(w Workload) {
	var last extent
	last.addAll(&t.Sums[lastLevel])
	granted := last.tables*(t.cfg.SpaceTarget-1) + last.values*min(hiddenValues, t.cfg.SpaceTarget-1)
	t.room = min(granted/max(1-w.freshness(), 0.01), granted*freshRoom)
	t.base = lastLevel
	batch := float64(max(t.cfg.BaseLevelBytes, 1))
	if t.room >= batch*t.hold(lastLevel-1, 1.25, 1.05) {
		t.base--
		for t.base > 1 && 2*t.room >= batch*t.growth()*t.hold(t.base-1, 1.5, 1.2) {
			t.base--
			batch *= t.growth()
		}
	}
	t.lowestRuns = int(min(2*t.room/batch, 1e6)) + 1
	for level := 1; level < t.base; level++ {
		if len(t.Levels[level]) > 0 {
			// The tree shrank, or its writes hide more than before. Level 0
			// must not pass the tables here, which are merged down first.
			t.base, t.drain = level, true
			break
		}
	}
}

// hold returns the threshold for having a level: keep if the level exists, else
// add, so that it does not come and go.
func (t *tree) hold(level int, add, keep float64) float64 {
	if len(t.Levels[level]) > 0 {
		return keep
	}
	return add
}

// growth returns the ratio of what an inner level gathers to what the level
// above it gathers.
func (t *tree) growth() float64 {
	if t.cfg.Style == Leveled {
		return float64(max(t.cfg.SizeRatio, 2))
	}
	return float64(max(t.cfg.MaxRuns, 2))
}

// leveled reports whether a level has one run, into which jobs merge.
func (t *tree) leveled(level int) bool {
	return level == lastLevel || level > 0 && t.cfg.Style == Leveled
}

// maxRuns returns how many runs a level may gather before it is due.
func (t *tree) maxRuns(level int) int {
	switch {
	case level == 0:
		return max(t.cfg.L0Trigger, 1)
	case t.leveled(level):
		return 1
	case level == lastLevel-1:
		return max(t.cfg.MaxRuns, t.lowestRuns, 2)
	}
	return max(t.cfg.MaxRuns, 2)
}

// freeRuns returns how many runs of a level have a table that is not busy.
func (t *tree) freeRuns(level int) int {
	n := 0
	for i := range t.Levels[level] {
		if slices.ContainsFunc(t.Levels[level][i].Files, func(f *manifest.FileMeta) bool { return t.busy[f.Num] == nil }) {
			n++
		}
	}
	return n
}

// below returns the level that a level is merged into.
func (t *tree) below(level int) int {
	if level == 0 {
		return t.base
	}
	return min(level+1, lastLevel)
}

// outputRun returns the output run of a merge of a component into a level. In a
// leveled level that is its newest run, which is an input too. In a tiered
// level it is a new run, or one of the newest runs if none of those has tables
// in the component's range: then reads search fewer runs.
func (t *tree) outputRun(level int, lo []byte, end base.End) uint64 {
	runs := t.Levels[level]
	if len(runs) == 0 {
		return 1
	}
	if t.leveled(level) {
		return runs[0].ID
	}
	id := runs[0].ID + 1
	for i := range runs {
		if len(runs[i].Overlapping(lo, end)) > 0 {
			break
		}
		id = runs[i].ID
	}
	return id
}

// hasGarbage reports whether a table has tombstones or expired entries.
func (t *tree) hasGarbage(f *manifest.FileMeta) bool {
	return f.Deletes > 0 || f.Ranges > 0 || t.expired(f) > 0
}

// expired returns roughly how many entries of a table have expired, taking
// their expiries to be spread evenly.
func (t *tree) expired(f *manifest.FileMeta) float64 {
	switch {
	case f.Expiring == 0 || t.expireAt < f.MinExpiry:
		return 0
	case t.expireAt >= f.MaxExpiry:
		return float64(f.Expiring)
	}
	return float64(f.Expiring) * float64(t.expireAt-f.MinExpiry+1) / float64(f.MaxExpiry-f.MinExpiry+1)
}

// blocked reports whether a running job writes into a level between lo and end.
// The job's output may span gaps between its inputs in which tables were
// installed after it was picked.
func (t *tree) blocked(level int, lo []byte, end base.End) bool {
	return slices.ContainsFunc(t.running, func(r runningJob) bool {
		return r.level == level && !end.Before(r.lo) && !r.end.Before(lo)
	})
}

// parted reports whether a running job writes between two neighbouring tables
// of a level. A job that took both could overlap the outputs of that one.
func (t *tree) parted(level int, a, b *manifest.FileMeta) bool {
	return t.blocked(level, a.Smallest, b.End())
}

// inPlace returns a job that rewrites neighbouring tables in place.
func (t *tree) inPlace(reason Reason, level int, id uint64, files []*manifest.FileMeta) Job {
	return Job{Reason: reason, Score: 1, Keyspace: t.Keyspace, OutputLevel: level, OutputRun: id,
		Inputs: []Input{{level, id, files}}}
}

// runningJob is the output range of a running job.
type runningJob struct {
	level int
	lo    []byte
	end   base.End
}

// running lists the running jobs by keyspace. It derives them from the busy
// tables, since the tables of a load that is being installed are in no version
// yet.
func running(busy Busy) map[uint32][]runningJob {
	seen := make(map[*Job]bool)
	jobs := make(map[uint32][]runningJob)
	for _, j := range busy {
		if j != nil && !j.Drop && !seen[j] {
			seen[j] = true
			lo, end := j.Bounds()
			jobs[j.Keyspace] = append(jobs[j.Keyspace], runningJob{j.OutputLevel, lo, end})
		}
	}
	return jobs
}
