package compaction

import (
	"bytes"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// PickManual chooses a job that takes tables of a keyspace, those that wanted
// says, closer to lying in one run of the last level; neighbours among them go
// together if they are small. It answers false when they are there, or when other
// jobs are in the way.
func PickManual(v *manifest.Version, busy Busy, keyspace uint32, wanted func(*manifest.FileMeta) bool, cfg Config) (j Job, ok bool) {
	t := newTree(v.Tree(keyspace), busy, Workload{}, cfg)
	s := span{0, lastLevel}
	cs := t.components(s)
	for i := range cs {
		c := &cs[i]
		stacked := t.stacked(c)
		if !slices.ContainsFunc(c.tables, func(p placed) bool { return (p.level < lastLevel || stacked) && wanted(p.f) }) {
			c.busy = true // as good as: it is left alone, and nothing is joined across it
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

// rewriteTables is how many tables a job of PickRewrite takes.
const rewriteTables = 16

// PickRewrite chooses neighbouring tables of the last level, of those that wanted
// says, to be rewritten where they are. It answers false when there are none that
// are free.
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

// PickTidy chooses neighbouring tables of the last level, of a keyspace in
// [lo, hi), that are small or have small value files, to be joined whether they
// grow much by it or not. It takes those with numbers below before, so that what
// it made is not chosen again. It answers false when there are none.
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
			j.RewriteValues = rewrite
			return t.complete(v, j, Workload{}), true
		}
	}
	return Job{}, false
}

// tidyCost is how many bytes of tables PickTidy rewrites for each of the values
// that it joins.
const tidyCost = 8
