package compaction

import (
	"slices"
	"sort"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Elider reports whether a key, or a range of keys, has nothing below a job: no
// table covers it that is neither an input nor newer than all inputs. It
// answers for keys within the job's bounds, and is used by one goroutine.
type Elider struct {
	runs  [][]*manifest.FileMeta // immutable; ascending and disjoint each
	ahead [][]*manifest.FileMeta // the rest of runs that Elidable has not passed
}

// Elider returns an Elider for the job, which was picked from v. It stays valid
// while other jobs finish: tables below can only move further down or
// disappear.
func (j *Job) Elider(v *manifest.Version) *Elider {
	e := &Elider{}
	if len(j.Inputs) == 0 {
		return e
	}
	inputs := make(map[base.FileNum]bool)
	j.Files(func(_ int, f *manifest.FileMeta) { inputs[f.Num] = true })
	lo, end := j.Bounds()
	newest, tree := j.Inputs[0], v.Tree(j.Keyspace)
	for level := newest.Level; level < base.NumLevels; level++ {
		for _, r := range tree.Levels[level] {
			if level == newest.Level && r.ID > newest.Run {
				continue
			}
			rest := slices.DeleteFunc(slices.Clone(r.Overlapping(lo, end)),
				func(f *manifest.FileMeta) bool { return inputs[f.Num] })
			if len(rest) > 0 {
				e.runs = append(e.runs, rest)
			}
		}
	}
	e.ahead = slices.Clone(e.runs)
	return e
}

// Elidable reports whether nothing below overlaps key. Callers pass ascending
// keys.
func (e *Elider) Elidable(key []byte) bool {
	for i, files := range e.ahead {
		for len(files) > 0 && files[0].EndsBefore(key) {
			files = files[1:]
		}
		e.ahead[i] = files
		if len(files) > 0 && !files[0].StartsAfter(key) {
			return false
		}
	}
	return true
}

// ElidableRange reports whether nothing below overlaps [lo, hi); a nil hi is no
// end. Callers may pass ranges in any order.
func (e *Elider) ElidableRange(lo, hi []byte) bool {
	end := base.EndAt(hi)
	for _, files := range e.runs {
		if i := reaching(files, lo); i < len(files) && !end.Before(files[i].Smallest) {
			return false
		}
	}
	return true
}

// reaching returns the index of the first table of a run that does not end
// before key.
func reaching(files []*manifest.FileMeta, key []byte) int {
	return sort.Search(len(files), func(i int) bool { return !files[i].EndsBefore(key) })
}
