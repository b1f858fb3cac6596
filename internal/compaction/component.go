package compaction

import (
	"bytes"
	"cmp"
	"slices"
	"sort"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Merging goes by components: the tables of neighbouring levels that hang
// together by overlaps. A component moves as a whole, so no version passes
// another one of its key (invariant I6), and the hull of its keys holds no
// table that is not part of it (I5). Components are independent, so several
// jobs may take different ones at once, and a job takes up no more extra space
// than its component. Guards keep components small: keys that no table of the
// inner levels spans, because every table written ends there.

// placed is a table, and where it is.
type placed struct {
	f     *manifest.FileMeta
	level int
	run   int // index into the runs of the level
}

// component is tables that hang together, or a group of neighbours.
type component struct {
	tables      []placed // ascending by smallest key
	end         base.End // where the keys end
	bytes       uint64   // of all tables
	upper       extent   // what lies above the lowest level
	deletes     bool     // there are tombstones, or entries that have expired
	depth       int      // runs of the uppermost level
	busy        bool     // a running job has one of the tables
	trivialMove bool     // one large table, or a group of such
	apart       bool     // a table of the lowest level lies before it, after the one before
}

func (c *component) lo() []byte { return c.tables[0].f.Smallest }

// span is the levels that a merge takes its tables from and where it puts them.
type span struct {
	from, to int
}

// components lists those of the levels of s that have tables above the lowest
// level. The lowest level takes part if it is leveled. It has most of the
// tables, so only those that are met are looked at.
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
			// The next table of either, if it begins within what there is.
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

// collect lists the tables above the lowest level of s, and if they can be told
// apart those of the lowest level, ascending.
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
// many small ones do not become as many small tables. Nothing that is left out
// lies within a group. Components of one large table each are kept apart from
// those that must be rewritten: they move.
func (t *tree) groups(s span, cs []component) []component {
	var out []component
	joins := false // the last of out may be added to
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

// mayJoin reports whether a component is added to a group. Merging into a
// leveled level goes by what each component gains, so only small ones are
// joined; into a tiered one everything goes anyhow.
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

// job makes a job of a group.
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
