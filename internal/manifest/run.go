package manifest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sort"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Run is a sorted sequence of tables that do not overlap (I5).
type Run struct {
	ID    uint64
	Files []*FileMeta // ascending; of one keyspace

	heads *runHeads // of exactly these Files, or nil
}

// Size returns the bytes of the run's tables.
func (r *Run) Size() uint64 {
	var n uint64
	for _, f := range r.Files {
		n += f.Size
	}
	return n
}

// Find returns the one table of the run that may hold key, or nil.
func (r *Run) Find(key []byte) *FileMeta {
	if i := r.search(key); i < len(r.Files) && !r.Files[i].StartsAfter(key) {
		return r.Files[i]
	}
	return nil
}

// search returns the index of the first table that does not end before key.
func (r *Run) search(key []byte) int {
	lo, hi := 0, len(r.Files)
	if r.heads != nil {
		lo, hi = r.heads.search(key)
	}
	return lo + sort.Search(hi-lo, func(i int) bool { return !r.Files[lo+i].EndsBefore(key) })
}

// Overlapping returns the tables of the run with keys from lo to end, as a
// subslice of r.Files.
func (r *Run) Overlapping(lo []byte, end base.End) []*FileMeta {
	i := r.search(lo)
	j := i
	for j < len(r.Files) && !end.Before(r.Files[j].Smallest) {
		j++
	}
	return r.Files[i:j:j]
}

// runHeads makes Find cheap. Each step of a binary search over the tables takes
// three dependent cache misses; runHeads searches one array of integers and
// touches only the tables whose integers are equal.
type runHeads struct {
	prefix  []byte   // the common prefix of the largest keys of all tables
	largest []uint64 // the next 8 bytes of each table's largest key
	// A last table without an end is left out: it holds everything after the
	// others.
}

// headsMin is the number of tables from which heads are worth their memory.
const headsMin = 4

// newRunHeads returns the heads of some tables, or nil if they are too few.
func newRunHeads(files []*FileMeta) *runHeads {
	if len(files) < headsMin {
		return nil
	}
	files = bounded(files)
	first, last := files[0].Largest, files[len(files)-1].Largest
	n := 0
	for n < min(len(first), len(last)) && first[n] == last[n] {
		n++
	}
	h := &runHeads{prefix: first[:n], largest: make([]uint64, len(files))}
	for i, f := range files {
		h.largest[i] = base.Head(f.Largest[n:])
	}
	return h
}

// bounded returns the tables of a run that have an end.
func bounded(files []*FileMeta) []*FileMeta {
	if n := len(files) - 1; n >= 0 && files[n].LargestBound == base.BoundNone {
		return files[:n]
	}
	return files
}

// search returns bounds on the index of the first table that does not end
// before key: every table before lo does, and the one at hi does not.
func (h *runHeads) search(key []byte) (lo, hi int) {
	n := len(h.prefix)
	if c := bytes.Compare(key[:min(n, len(key))], h.prefix); c < 0 {
		return 0, 0
	} else if c > 0 {
		return len(h.largest), len(h.largest)
	}
	x := base.Head(key[n:])
	lo = sort.Search(len(h.largest), func(i int) bool { return h.largest[i] >= x })
	hi = lo
	for hi < len(h.largest) && h.largest[hi] == x {
		hi++
	}
	return lo, hi
}

// check checks the tables of one run.
func (r *Run) check(keyspace uint32, level int, seen map[base.FileNum]bool) error {
	if len(r.Files) == 0 {
		return fmt.Errorf("level %d: run %d is empty", level, r.ID)
	}
	for i, f := range r.Files {
		if err := f.check(); err != nil {
			return err
		}
		if f.Run != r.ID {
			return fmt.Errorf("level %d: table %d of run %d is in run %d", level, f.Num, f.Run, r.ID)
		}
		if f.Keyspace != keyspace {
			return fmt.Errorf("level %d: table %d of keyspace %d is in the tree of %d", level, f.Num, f.Keyspace, keyspace)
		}
		if seen[f.Num] {
			return fmt.Errorf("table %d is listed twice", f.Num)
		}
		seen[f.Num] = true
		if i > 0 && !r.Files[i-1].EndsBefore(f.Smallest) {
			return overlapError(level, r.Files[i-1], f)
		}
	}
	return r.heads.check(level, r)
}

// check checks the heads against the tables of their run.
func (h *runHeads) check(level int, r *Run) error {
	if h == nil {
		return nil
	}
	files := bounded(r.Files)
	for i, f := range files {
		if len(h.largest) != len(files) || h.largest[i] != base.Head(f.Largest[len(h.prefix):]) {
			return fmt.Errorf("level %d run %d: search heads are out of date", level, r.ID)
		}
	}
	return nil
}

func overlapError(level int, f, g *FileMeta) error {
	return fmt.Errorf("level %d run %d: tables %d %s and %d %s are not in order or overlap",
		level, f.Run, f.Num, f.keys(), g.Num, g.keys())
}

// compareStart orders tables by their smallest keys.
func compareStart(a, b *FileMeta) int { return bytes.Compare(a.Smallest, b.Smallest) }

// findRun returns the index of the run with an id, or where it would be
// inserted.
func findRun(runs []Run, id uint64) (int, bool) {
	return slices.BinarySearchFunc(runs, id, func(r Run, id uint64) int { return cmp.Compare(id, r.ID) })
}
