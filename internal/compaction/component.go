package compaction

import (
	"bytes"
	"cmp"
	"slices"
	"sort"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Levels are merged by components: sets of tables of neighbouring levels that
// are connected by overlaps. A component moves as a whole, so no version passes
// another version of its key (I6), and no other table lies within the range of
// its keys (I5). Components are independent, so several jobs may merge
// different ones at once, and a job takes no more extra space than its
// component. Guards keep components small: they are keys that no table of the
// inner levels spans, because every table written ends there.

// placed is a table and its position in the tree.
type placed struct {
	f     *manifest.FileMeta
	level int
	run   int // index into the runs of the level
}

// component is a set of connected tables, or a group of neighbouring
// components.
type component struct {
	tables      []placed // ascending by smallest key
	end         base.End // where the keys end
	bytes       uint64   // of all tables
	upper       extent   // tables above the lowest level
	deletes     bool     // it has tombstones or expired entries
	depth       int      // runs of the uppermost level
	busy        bool     // a running job has one of the tables
	trivialMove bool     // one large table, or a group of such components
	apart       bool     // a table of the lowest level lies between it and the component before it
}

func (c *component) lo() []byte { return c.tables[0].f.Smallest }

// span names the levels that a merge takes its tables from and the level where
// it puts them.
type span struct {
	from, to int
}

// components lists the components of the levels of s that have tables above the
// lowest level. The lowest level takes part if it is leveled. Since it has most
// of the tables, only those that overlap tables above are visited.
func (t *tree) components(s span) []component {
	upper, lower := t.collect(s)
	slices.SortStableFunc(upper, func(a, b placed) int { return bytes.Compare(a.f.Smallest, b.f.Smallest) })
	var out []component
	all := make([]placed, 0, len(upper)+len(lower))
	for at := 0; len(upper) > 0; {
		first := upper[0].f.Smallest
		skipped := sort.Search(len(lower)-at, func(i int) bool { return !lower[at+i].f.EndsBefore(first) })
		at += skipped
		start, end := len(all), base.End{}
		for {
			// The next table of either list, if it begins before the component
			// ends.
			from := &upper
			rest := lower[at:]
			if len(upper) == 0 || len(rest) > 0 && bytes.Compare(rest[0].f.Smallest, upper[0].f.Smallest) <= 0 {
				from = &rest
			}
			if len(*from) == 0 || len(all) > start && end.Before((*from)[0].f.Smallest) {
				break
			}
			p := (*from)[0]
			if *from = (*from)[1:]; from == &rest {
				at++
			}
			if all = append(all, p); len(all) == start+1 || p.f.End().Compare(end) > 0 {
				end = p.f.End()
			}
		}
		c := t.component(s, all[start:len(all):len(all)], end)
		c.apart = skipped > 0
		out = append(out, c)
	}
	return out
}

// collect lists, ascending, the tables above the lowest level of s and, if that
// is leveled, those of the lowest level. The latter go to lower if they are one
// run, else to upper.
func (t *tree) collect(s span) (upper, lower []placed) {
	for level := s.from; level <= s.to; level++ {
		into := &upper
		if level == s.to {
			if !t.leveled(level) {
				break
			}
			if len(t.Levels[level]) == 1 {
				into = &lower
			}
		}
		for i := range t.Levels[level] {
			for _, f := range t.Levels[level][i].Files {
				*into = append(*into, placed{f, level, i})
			}
		}
	}
	return upper, lower
}

func (t *tree) component(s span, tables []placed, end base.End) component {
	c := component{tables: tables, end: end}
	var runs []int
	for _, p := range tables {
		c.bytes += p.f.Size
		c.busy = c.busy || t.busy[p.f.Num] != nil
		c.deletes = c.deletes || t.hasGarbage(p.f)
		if p.level != s.to {
			c.upper.add(p.f)
		}
		if p.level == s.from && !slices.Contains(runs, p.run) {
			runs = append(runs, p.run)
		}
	}
	c.depth = len(runs)
	c.busy = c.busy || t.blocked(s.to, c.lo(), end)
	if p := tables[0]; len(tables) == 1 && p.level != s.to {
		c.trivialMove = p.f.Size >= t.cfg.TableSize/4 || totalSize(t.Levels[p.level][p.run].Files) >= 4*t.cfg.TableSize
	}
	return c
}

// groups joins neighbouring components that have something to merge, so that
// many small components do not become as many small tables. No table outside a
// group lies within it. Components of one large table each are not grouped with
// components that must be rewritten, since they can move as they are.
func (t *tree) groups(s span, cs []component) []component {
	var out []component
	joins := false // further components may join the last one of out
	for _, c := range cs {
		if c.upper.tables == 0 || c.busy {
			joins = false
			continue
		}
		if n := len(out) - 1; joins && !c.apart && out[n].trivialMove == c.trivialMove && t.mayJoin(s, &out[n], &c) {
			out[n] = join(out[n], c)
			continue
		}
		out = append(out, c)
		joins = true
	}
	return out
}

// mayJoin reports whether a component may join a group. In a leveled target
// only small components are joined, since each is merged for what it gains by
// itself; in a tiered target all are merged at the same cost.
func (t *tree) mayJoin(s span, group, c *component) bool {
	switch {
	case c.trivialMove:
		return true
	case t.leveled(s.to):
		return group.bytes < t.cfg.TableSize && c.bytes < t.cfg.TableSize
	}
	return group.bytes+c.bytes <= 8*t.cfg.TableSize
}

func join(a, b component) component {
	a.tables = append(slices.Clip(a.tables), b.tables...)
	a.end = b.end
	a.bytes += b.bytes
	a.upper.tables += b.upper.tables
	a.upper.values += b.upper.values
	a.deletes = a.deletes || b.deletes
	a.depth = max(a.depth, b.depth)
	return a
}

// job returns the job that merges a group.
func (t *tree) job(reason Reason, score float64, s span, g component) Job {
	j := Job{
		Reason: reason, Score: score, Keyspace: t.Keyspace,
		OutputLevel: s.to, OutputRun: t.outputRun(s.to, g.lo(), g.end),
		Move: g.trivialMove,
	}
	tables := slices.Clone(g.tables)
	slices.SortStableFunc(tables, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.run, b.run))
	})
	for i, p := range tables {
		if i == 0 || tables[i-1].level != p.level || tables[i-1].run != p.run {
			j.Inputs = append(j.Inputs, Input{Level: p.level, Run: t.Levels[p.level][p.run].ID})
		}
		in := &j.Inputs[len(j.Inputs)-1]
		in.Files = append(in.Files, p.f)
	}
	return j
}
