package compaction

import (
	"bytes"
	"slices"

	"github.com/seerdb-go/seerdb/internal/manifest"
)

// A level of several runs is merged into a run below it by components: sets of
// tables that are joined by overlaps, the run below included. Whole components
// move, so no version passes another one of its key (invariant I6), and the
// hull of a component's keys holds no table that is not in it (I5). Components
// are independent: several jobs may take different ones at once.

// component is tables of a source level and of the run below that hang
// together.
type component struct {
	tables []placed
	hi     []byte // the largest key
	source int    // how many tables are from the source level
	busy   bool   // a running job has one of the tables
}

// placed is a table and the run it is from: an index into the runs of the
// source level, or -1 for the run below.
type placed struct {
	f   *manifest.FileMeta
	run int
}

// components splits the tables of a level's runs and of dst.
func (t *tree) components(level int, dst run) []component {
	var all []placed
	for i := range t.levels[level] {
		for _, f := range t.levels[level][i].files {
			all = append(all, placed{f, i})
		}
	}
	if dst.level != level {
		for _, f := range dst.files {
			all = append(all, placed{f, -1})
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return bytes.Compare(a.f.Smallest, b.f.Smallest) })
	var out []component
	for _, p := range all {
		if len(out) == 0 || bytes.Compare(out[len(out)-1].hi, p.f.Smallest) < 0 {
			out = append(out, component{hi: p.f.Largest})
		}
		c := &out[len(out)-1]
		c.tables = append(c.tables, p)
		c.busy = c.busy || t.busy[p.f.Num]
		if p.run >= 0 {
			c.source++
		}
		if bytes.Compare(p.f.Largest, c.hi) > 0 {
			c.hi = p.f.Largest
		}
	}
	return out
}

// pickComponents merges what it can of a level into the run below.
//
// Neighbouring components with no table of the run below between them go in one
// job, so that a level 0 of many small runs does not become as many small
// tables. Components of one large table each are apart: they move. The largest
// group goes first.
func (t *tree) pickComponents(j Job, level int) (Job, bool) {
	dst := t.newestRun(j.OutputLevel)
	var best, group []component
	end := func() {
		if sourceBytes(group) > sourceBytes(best) {
			best = group
		}
		group = nil
	}
	moving := false
	for _, c := range t.components(level, dst) {
		if c.source == 0 || c.busy {
			end()
			continue
		}
		if m := t.movable(&c); m != moving {
			end()
			moving = m
		}
		group = append(group, c)
	}
	end()
	if best == nil {
		return Job{}, false
	}
	j.OutputRun = dst.id
	j.Inputs = t.inputs(level, dst, best)
	return j, true
}

// movable reports whether a component is one table, with nothing below it, that
// is large enough to be left as it is.
func (t *tree) movable(c *component) bool {
	return len(c.tables) == 1 && c.tables[0].f.Size >= t.cfg.TableSize/4
}

func sourceBytes(group []component) uint64 {
	var n uint64
	for _, c := range group {
		for _, p := range c.tables {
			if p.run >= 0 {
				n += p.f.Size
			}
		}
	}
	return n
}

// inputs lists the tables of components by run, newest first.
func (t *tree) inputs(level int, dst run, group []component) []Input {
	byRun := make([]Input, len(t.levels[level])+1)
	for i := range t.levels[level] {
		byRun[i].Level, byRun[i].Run = level, t.levels[level][i].id
	}
	last := len(byRun) - 1
	byRun[last].Level, byRun[last].Run = dst.level, dst.id
	for _, c := range group {
		for _, p := range c.tables {
			i := p.run
			if i < 0 {
				i = last
			}
			byRun[i].Files = append(byRun[i].Files, p.f)
		}
	}
	return slices.DeleteFunc(byRun, func(in Input) bool { return len(in.Files) == 0 })
}
