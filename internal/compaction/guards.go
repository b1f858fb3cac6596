package compaction

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/manifest"
)

// FlushGuards returns the guards of a flush: keys at which its tables must end.
// bytes is the size of the tables that it will write, or an estimate.
func FlushGuards(v *manifest.Version, keyspace uint32, bytes uint64, cfg Config) [][]byte {
	return newTree(v.Tree(keyspace), nil, Workload{}, cfg).guards(0, bytes)
}

// guards returns keys at which outputs of a number of bytes into a level must
// end, so that components stay small. They are keys where tables of the last
// level begin and that no table of an inner level spans. They are spread
// evenly, about one for each table of the output.
func (t *tree) guards(level int, bytes uint64) [][]byte {
	if level == lastLevel || len(t.Levels[lastLevel]) == 0 {
		return nil
	}
	lowest := t.Levels[lastLevel][0].Files
	total := totalSize(lowest)
	piece := max(min(t.cfg.TableSize, t.cfg.BaseLevelBytes/uint64(t.maxRuns(0))/8), 1)
	parts := min(bytes/piece, total/(guardPieces*piece))
	if parts < 2 {
		return nil
	}
	var keys [][]byte
	part := total / parts
	inner := t.innerCursors()
	sum := uint64(0)
	for i, f := range lowest {
		if i > 0 && sum >= part && !spanned(inner, f.Smallest) {
			keys = append(keys, f.Smallest)
			sum = 0
		}
		sum += f.Size
	}
	return keys
}

// guardPieces is the least ratio of the bytes of the last level between two
// guards to the bytes of the output there.
const guardPieces = 8

// innerCursors returns the runs of the inner levels.
func (t *tree) innerCursors() [][]*manifest.FileMeta {
	var out [][]*manifest.FileMeta
	for level := t.base; level < lastLevel; level++ {
		for i := range t.Levels[level] {
			out = append(out, t.Levels[level][i].Files)
		}
	}
	return out
}

// spanned reports whether a table begins before key and does not end before it.
// It advances the runs, so callers pass ascending keys.
func spanned(runs [][]*manifest.FileMeta, key []byte) bool {
	for i, files := range runs {
		for len(files) > 0 && files[0].EndsBefore(key) {
			files = files[1:]
		}
		runs[i] = files
		if len(files) > 0 && bytes.Compare(files[0].Smallest, key) < 0 {
			return true
		}
	}
	return false
}
