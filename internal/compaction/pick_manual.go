package compaction

import (
	"bytes"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// PickManual picks a job that brings tables of a keyspace, those for which
// wanted is true, closer to one run of the last level. Small neighbours among
// them are merged together. It returns false when they are there, or when other
// jobs are in the way.
func PickManual(v *manifest.Version, busy Busy, keyspace uint32, wanted func(*manifest.FileMeta) bool, cfg Config) (j Job, ok bool) {
	t := newTree(v.Tree(keyspace), busy, Workload{}, cfg)
	s := span{0, lastLevel}
	cs := t.components(s)
	for i := range cs {
		c := &cs[i]
		stacked := t.stacked(c)
		if !slices.ContainsFunc(c.tables, func(p placed) bool { return (p.level < lastLevel || stacked) && wanted(p.f) }) {
			c.busy = true // left alone as if it were busy, and nothing is joined across it
		} else if stacked && !c.busy {
			return t.complete(v, t.job(ReasonManual, 1, s, *c), Workload{}), true
		}
	}
	for _, g := range t.groups(s, cs) {
		return t.complete(v, t.job(ReasonManual, 1, s, g), Workload{}), true
	}
	return Job{}, false
}

// stacked reports whether a component has several runs of the last level.
func (t *tree) stacked(c *component) bool {
	return len(c.tables) > 1 && c.upper.tables == 0
}

// rewriteTables is how many tables a job of PickRewrite takes at most.
const rewriteTables = 16

// PickRewrite picks neighbouring tables of the last level, among those for
// which wanted is true, to be rewritten in place. It returns false when none of
// them are free.
func PickRewrite(v *manifest.Version, busy Busy, keyspace uint32, wanted func(*manifest.FileMeta) bool, cfg Config) (j Job, ok bool) {
	t := newTree(v.Tree(keyspace), busy, Workload{}, cfg)
	for i := range t.Levels[lastLevel] {
		r := &t.Levels[lastLevel][i]
		t.neighbours(lastLevel, r.Files, wanted, func(files []*manifest.FileMeta) {
			if !ok {
				j, ok = t.inPlace(ReasonManual, lastLevel, r.ID, files[:min(len(files), rewriteTables)]), true
			}
		})
		if ok {
			return t.complete(v, j, Workload{}), true
		}
	}
	return Job{}, false
}

// PickTidy picks neighbouring tables of the last level, of a keyspace in [lo,
// hi), that are small or have small value files. It joins them however little
// they grow by it. It takes only tables with numbers below before, so that it
// never picks its own outputs. It returns false when there are none.
func PickTidy(v *manifest.Version, busy Busy, keyspace uint32, lo, hi []byte, before base.FileNum, cfg Config) (Job, bool) {
	t := newTree(v.Tree(keyspace), busy, Workload{}, cfg)
	mine := func(f *manifest.FileMeta) bool {
		return f.Num < before && !f.EndsBefore(lo) && (hi == nil || bytes.Compare(f.Smallest, hi) < 0)
	}
	for i := range t.Levels[lastLevel] {
		r := &t.Levels[lastLevel][i]
		var best []*manifest.FileMeta
		var rewrite map[base.FileNum]bool
		t.neighbours(lastLevel, r.Files, mine, func(files []*manifest.FileMeta) {
			for len(files) > 0 && best == nil {
				n := t.fitting(files)
				values, bytes := joinValues(v, files[:n], 1, t.cfg)
				worth := bytes*tidyCost >= totalSize(files[:n])
				if smaller := slices.ContainsFunc(files[:n], func(f *manifest.FileMeta) bool { return f.Size < cfg.smallTable() }); n > 1 && smaller || worth && len(values) > 1 {
					best = files[:n]
				}
				if best != nil && worth {
					rewrite = make(map[base.FileNum]bool)
					for _, num := range values {
						rewrite[num] = true
					}
				}
				files = files[n:]
			}
		})
		if best != nil {
			j := t.inPlace(ReasonManual, lastLevel, r.ID, best)
			j.RewriteValues, j.Dense = rewrite, true
			return t.complete(v, j, Workload{}), true
		}
	}
	return Job{}, false
}

// tidyCost is how many bytes of tables PickTidy rewrites at most for each byte
// of the values that it joins.
const tidyCost = 8
