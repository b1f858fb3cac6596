package compaction

import (
	"bytes"
	"math"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

const lastLevel = base.NumLevels - 1

// run is the tables that one keyspace has in one run.
type run struct {
	level int
	id    uint64
	files []*manifest.FileMeta // ascending, disjoint; never empty
}

func (r *run) size() uint64 {
	var n uint64
	for _, f := range r.files {
		n += f.Size
	}
	return n
}

// overlapping returns the tables of the run that meet [lo, hi], a part of
// r.files, and the index of the first.
func (r *run) overlapping(lo, hi []byte) ([]*manifest.FileMeta, int) {
	i, _ := slices.BinarySearchFunc(r.files, lo, func(f *manifest.FileMeta, key []byte) int { return bytes.Compare(f.Largest, key) })
	j := i
	for j < len(r.files) && bytes.Compare(r.files[j].Smallest, hi) <= 0 {
		j++
	}
	return r.files[i:j:j], i
}

// tree is one keyspace's part of a version, as Pick works on it. Each keyspace
// is a tree of its own: it has its own base level and its own scores.
type tree struct {
	cfg      Config
	busy     Busy
	keyspace uint32
	levels   [base.NumLevels][]run // newest run first
	sizes    [base.NumLevels]uint64
	base     int                      // the level that level 0 is merged into
	targets  [base.NumLevels]float64  // bytes at which a level is full
	runIDs   [base.NumLevels][]uint64 // of all keyspaces, newest first
}

// trees splits a version by keyspace.
func trees(v *manifest.Version, busy Busy, cfg Config) []*tree {
	var out []*tree
	byKeyspace := make(map[uint32]*tree)
	for level := range v.Levels {
		for _, r := range v.Levels[level] {
			for files := r.Files; len(files) > 0; {
				ks := files[0].Keyspace
				n := 1
				for n < len(files) && files[n].Keyspace == ks {
					n++
				}
				t := byKeyspace[ks]
				if t == nil {
					t = &tree{cfg: cfg, busy: busy, keyspace: ks}
					byKeyspace[ks] = t
					out = append(out, t)
				}
				t.levels[level] = append(t.levels[level], run{level, r.ID, files[:n:n]})
				files = files[n:]
			}
		}
	}
	slices.SortFunc(out, func(a, b *tree) int { return int(a.keyspace) - int(b.keyspace) })
	for _, t := range out {
		for level := range v.Levels {
			for _, r := range v.Levels[level] {
				t.runIDs[level] = append(t.runIDs[level], r.ID)
			}
			for i := range t.levels[level] {
				t.sizes[level] += t.levels[level][i].size()
			}
		}
		t.shape()
	}
	return out
}

// shape chooses the base level and the sizes of the levels.
//
// With B bytes arriving at a time from level 0, S bytes in the last level and n
// levels between, merging costs least when every level is the same multiple f
// of the one above: f = (S/B)^(1/(n+1)), which costs (n+1)(1+f) bytes written
// for each byte that arrives. n is the smallest for which f does not exceed the
// size ratio: fewer levels mean fewer places to read from. As the tree grows f
// rises to the ratio, then a level is added and f falls. (RocksDB's dynamic
// level sizes keep f fixed and let the first level be any fraction of it.)
func (t *tree) shape() {
	s := float64(slices.Max(t.sizes[1:]))
	b := float64(max(t.cfg.BaseLevelBytes, 1))
	inner := 0
	f := s / b
	for f > t.fanout() && inner < lastLevel-1 {
		inner++
		f = math.Pow(s/b, 1/float64(inner+1))
	}
	t.base = lastLevel - inner
	size := b
	for level := t.base; level < lastLevel; level++ {
		size *= f
		t.targets[level] = size
	}
	t.targets[lastLevel] = math.Inf(1)
	for level := 1; level < t.base; level++ {
		if len(t.levels[level]) > 0 {
			// The tree shrank, or its configuration changed. What is here
			// must get out of the way, and level 0 must not pass it.
			t.base = level
			break
		}
	}
}

// fanout is how much larger a level may be than what is merged into it.
func (t *tree) fanout() float64 { return float64(max(t.cfg.SizeRatio, 2)) }

// maxRuns is how many runs a level may gather.
func (t *tree) maxRuns(level int) int {
	switch {
	case level == 0:
		return max(t.cfg.L0Trigger, 1)
	case level == lastLevel || t.cfg.Shape == Leveled:
		return 1
	}
	return max(t.cfg.MaxRuns, 2)
}

// below is the level into which a level is merged.
func (t *tree) below(level int) int {
	if level == 0 {
		return t.base
	}
	return min(level+1, lastLevel)
}

// anyBusy reports whether a running job has one of the files.
func (t *tree) anyBusy(files []*manifest.FileMeta) bool {
	return slices.ContainsFunc(files, func(f *manifest.FileMeta) bool { return t.busy[f.Num] })
}

// freeSize is the bytes of a level that are not on their way out already.
func (t *tree) freeSize(level int) uint64 {
	n := t.sizes[level]
	for i := range t.levels[level] {
		for _, f := range t.levels[level][i].files {
			if t.busy[f.Num] {
				n -= f.Size
			}
		}
	}
	return n
}

// freeRuns is how many runs of a level no job works on.
func (t *tree) freeRuns(level int) int {
	n := 0
	for i := range t.levels[level] {
		if !t.anyBusy(t.levels[level][i].files) {
			n++
		}
	}
	return n
}

// newestRun is the run of a level that merges go into; its id and tables. A
// level without a run gets the id 1: two jobs into an empty level then agree.
func (t *tree) newestRun(level int) run {
	if len(t.levels[level]) > 0 {
		return t.levels[level][0]
	}
	if len(t.runIDs[level]) > 0 { // another keyspace's
		return run{level: level, id: t.runIDs[level][0]}
	}
	return run{level: level, id: 1}
}

// freshRun is an id above those of all runs of a level.
func (t *tree) freshRun(level int) uint64 {
	if len(t.runIDs[level]) == 0 {
		return 1
	}
	return t.runIDs[level][0] + 1
}

// splitKeys are where the tables below a level begin, between lo and hi.
func (t *tree) splitKeys(level int, lo, hi []byte) [][]byte {
	if level >= lastLevel || level == 0 {
		return nil
	}
	for below := level + 1; below <= lastLevel; below++ {
		if len(t.levels[below]) == 0 {
			continue
		}
		r := &t.levels[below][len(t.levels[below])-1]
		files, _ := r.overlapping(lo, hi)
		keys := make([][]byte, len(files))
		for i, f := range files {
			keys[i] = f.Smallest
		}
		return keys
	}
	return nil
}
