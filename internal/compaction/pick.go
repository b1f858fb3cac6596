package compaction

import "github.com/seerdb-go/seerdb/internal/manifest"

// Pick returns the most urgent job that can run beside the busy ones. If that
// is a small one, Pick adds small jobs of other keyspaces that are due, to be
// done with it. It returns none when nothing is due. It is pure: the result
// depends on the arguments alone. Repeated on what the jobs leave behind, it
// ends.
func Pick(v *manifest.Version, busy Busy, w Workload, cfg Config) []Job {
	due := dueJobs(v, busy, w, cfg)
	if len(due) == 0 {
		if j, of := pickElsewhere(v, busy, w, cfg); of != nil {
			return []Job{of.complete(v, j, Workload{})}
		}
		return pickPacks(v, busy, w, cfg)
	}
	first := mostUrgent(due)
	jobs := []Job{due[first].of.complete(v, due[first].job, w)}
	if !jobs[0].small(&cfg) {
		return jobs
	}
	size := jobs[0].Written()
	victims := victimValues(v.Values, nil, cfg) // once for all jobs, although that ignores the garbage that each will uncover
	for i, d := range due {
		if i == first || !d.job.small(&cfg) {
			continue
		}
		j := d.of.completeWith(v, d.job, victims)
		if !j.small(&cfg) {
			continue
		}
		if size += j.Written(); size > maxTogetherBytes || len(jobs) == maxTogether {
			break
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// due is a job of one keyspace that is not yet complete.
type due struct {
	job Job
	of  *tree
}

// dueJobs picks the most urgent job of each keyspace that has one.
func dueJobs(v *manifest.Version, busy Busy, w Workload, cfg Config) []due {
	var all []due
	jobs := running(busy)
	for _, mt := range v.Trees() {
		if isQuiescent(mt) || w.Held[mt.Keyspace] {
			continue
		}
		t := newTreeBeside(jobs, mt, busy, w, cfg)
		if j, ok := t.pick(w); ok {
			all = append(all, due{j, t})
		}
	}
	return all
}

// mostUrgent returns the index of the most urgent job.
func mostUrgent(all []due) int {
	best := 0
	for i := range all {
		if moreUrgent(&all[i].job, &all[best].job) {
			best = i
		}
	}
	return best
}

// pickElsewhere picks a job that is due because of value files or small files.
// A nil tree means that there is none.
func pickElsewhere(v *manifest.Version, busy Busy, w Workload, cfg Config) (Job, *tree) {
	if j, of := pickValues(v, busy, w, cfg); of != nil {
		return j, of
	}
	return pickJoin(v, busy, w, cfg)
}

// moreUrgent orders jobs: those that cost nothing come first, then level 0,
// since writers wait for it.
func moreUrgent(a, b *Job) bool {
	if a.Drop != b.Drop {
		return a.Drop
	}
	if a0, b0 := a.relieves(), b.relieves(); a0 != b0 {
		return a0
	}
	return a.Score > b.Score
}

// relieves reports whether a job reduces the runs of level 0 because there are
// too many.
func (j *Job) relieves() bool {
	return j.Reason == ReasonL0 || j.Reason == ReasonJoin && j.OutputLevel == 0
}

// pick chooses the most urgent job of one keyspace.
func (t *tree) pick(w Workload) (Job, bool) {
	if j, ok := t.pickDrop(w); ok {
		return j, true
	}
	if j, ok := t.pickRuns(0); ok {
		if !t.thin(&j) {
			return j, true
		}
		if j, ok = t.joinRuns(); ok {
			return j, true
		}
	}
	var best Job
	found := false
	for level := t.base; level < lastLevel; level++ {
		if j, ok := t.pickRuns(level); ok && (!found || j.Score > best.Score) {
			best, found = j, true
		}
	}
	if j, ok := t.pickSpace(); ok && (!found || j.Score > best.Score) {
		best, found = j, true
	}
	if found {
		return best, true
	}
	if j, ok := t.pickTombstones(w); ok || !w.Idle {
		return j, ok
	}
	return t.pickIdle()
}

// pickRuns merges a group out of a level that has too many runs, one with a
// component of that many runs.
func (t *tree) pickRuns(level int) (Job, bool) {
	if len(t.Levels[level]) == 0 {
		return Job{}, false
	}
	if level > 0 && t.leveled(level) && len(t.Levels[level]) == 1 {
		return t.pickFull(level)
	}
	s := span{level, t.below(level)}
	limit := t.maxRuns(level)
	groups := t.groups(s, t.components(s))
	var best component
	for _, g := range groups {
		if g.depth >= limit && g.upper.sum() > best.upper.sum() {
			best = g
		}
	}
	depth := max(best.depth, limit)
	if best.tables == nil && level == 0 {
		best = t.pickWide(groups, limit)
	}
	if best.tables == nil {
		return Job{}, false
	}
	reason := ReasonRuns
	if level == 0 {
		reason = ReasonL0
	}
	return t.job(reason, float64(depth)/float64(limit), s, best), true
}

// pickWide picks from a level 0 that has many runs but few on top of each
// other. From the limit on it picks a group that can move; from twice the limit
// on, where runs cost writers and readers, the largest group.
func (t *tree) pickWide(groups []component, limit int) (best component) {
	runs := t.freeRuns(0)
	for _, g := range groups {
		if runs >= limit && g.trivialMove || runs >= 2*limit {
			if best.tables == nil || g.trivialMove && !best.trivialMove || g.trivialMove == best.trivialMove && g.upper.sum() > best.upper.sum() {
				best = g
			}
		}
	}
	return best
}

// pickFull picks the group of a full leveled inner level that is cheapest to
// merge. The lowest inner level is left to pickSpace.
func (t *tree) pickFull(level int) (Job, bool) {
	limit := float64(max(t.cfg.BaseLevelBytes, 1))
	for l := t.base; l <= level; l++ {
		limit *= t.growth()
	}
	s := span{level, level + 1}
	var upper float64
	var best component
	most := 0.0
	for _, g := range t.groups(s, t.components(s)) {
		upper += g.upper.sum()
		if gain := g.upper.sum() / float64(g.bytes); gain > most {
			best, most = g, gain
		}
	}
	if level+1 == lastLevel || upper <= limit {
		return Job{}, false
	}
	return t.job(ReasonRuns, upper/limit, s, best), true
}

// pickSpace merges into the last level when there is more above it than there
// is room for. It picks the component that brings down the most for its cost.
// The tree as a whole is then always just at its limit, and components are
// merged when they are well past their share. That costs half as much as
// merging everything each time the limit is reached, at the same average space.
func (t *tree) pickSpace() (Job, bool) {
	s := span{0, lastLevel}
	var upper float64
	if t.base < lastLevel {
		s.from = t.base
		for _, c := range t.components(span{0, t.base}) {
			if !c.trivialMove && !c.busy {
				upper += c.upper.sum()
			}
		}
	}
	cs := t.components(s)
	for i := range cs {
		if !cs[i].trivialMove && !cs[i].busy {
			upper += cs[i].upper.sum()
		}
	}
	if upper <= t.room && !t.drain || t.room == 0 {
		return Job{}, false
	}
	var best component
	most := 0.0
	for _, g := range t.groups(s, cs) {
		if gain := g.upper.sum() / float64(g.bytes); gain > most {
			best, most = g, gain
		}
	}
	if best.tables == nil {
		return Job{}, false
	}
	return t.job(ReasonSize, max(upper/t.room, 1), s, best), true
}

// minIdleGain is the part of an idle job's bytes that must come from above the
// last level. A pause in the writes then costs at most ten bytes written for
// each byte from above.
const minIdleGain = 0.1

// pickIdle merges data that lies in several runs, for later reads.
func (t *tree) pickIdle() (Job, bool) {
	s := span{0, lastLevel}
	var best component
	most := minIdleGain
	for _, g := range t.groups(s, t.components(s)) {
		if gain := float64(g.upper.tables) / float64(g.bytes); !g.trivialMove && gain >= most {
			best, most = g, gain
		}
	}
	if best.tables == nil {
		return Job{}, false
	}
	return t.job(ReasonIdle, most, s, best), true
}
