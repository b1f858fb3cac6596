package compaction

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// PickManual chooses a job that brings keys of a keyspace in [lo, hi) closer to
// lying in one run of the last level; a nil hi has no end. It answers false when
// they are there, or when other jobs are in the way: then done is false.
func PickManual(v *manifest.Version, busy Busy, keyspace uint32, lo, hi []byte, cfg Config) (j Job, ok, done bool) {
	t := newTree(v.Tree(keyspace), busy, Workload{}, cfg)
	s := span{0, lastLevel}
	done = true
	for _, c := range t.components(s) {
		if c.upper.tables == 0 && !t.stacked(&c) || c.end.Before(lo) || hi != nil && bytes.Compare(c.lo(), hi) >= 0 {
			continue
		}
		done = false
		if !c.busy {
			return t.complete(v, t.job(ReasonManual, 1, s, c), Workload{}), true, false
		}
	}
	return Job{}, false, done
}

// stacked reports whether a component has several runs of the last level.
func (t *tree) stacked(c *component) bool {
	return len(c.tables) > 1 && c.upper.tables == 0
}

// rewriteTables is how many tables a job of PickRewrite takes.
const rewriteTables = 16

// PickRewrite chooses neighbouring tables of the last level, of a keyspace in
// [lo, hi), to be rewritten where they are: those with numbers below before, so
// that what it made is not chosen again, that have something which a rewrite may
// drop, or all of them. It answers false when there are none.
func PickRewrite(v *manifest.Version, busy Busy, keyspace uint32, lo, hi []byte, before base.FileNum, all bool, cfg Config) (j Job, ok bool) {
	t := newTree(v.Tree(keyspace), busy, Workload{}, cfg)
	for i := range t.Levels[lastLevel] {
		r := &t.Levels[lastLevel][i]
		var files []*manifest.FileMeta
		for _, f := range r.Files {
			wanted := f.Num < before && busy[f.Num] == nil && !f.EndsBefore(lo) && (hi == nil || bytes.Compare(f.Smallest, hi) < 0) &&
				(all || f.Deletes+f.Ranges+f.Expiring > 0)
			if wanted {
				files = append(files, f)
			}
			if len(files) == rewriteTables || len(files) > 0 && !wanted {
				break
			}
		}
		if len(files) > 0 {
			return t.complete(v, t.inPlace(ReasonManual, lastLevel, r.ID, files), Workload{}), true
		}
	}
	return Job{}, false
}
