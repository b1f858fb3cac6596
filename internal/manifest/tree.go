package manifest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Tree has the tables of one keyspace. It is immutable once it is in a Version;
// versions share trees that do not differ.
type Tree struct {
	Keyspace uint32
	// Levels are the runs of each level, newest first. Each flush makes a run
	// of level 0.
	Levels [base.NumLevels][]Run
	// Sums are the sums over the tables of each level.
	Sums [base.NumLevels]Sum
}

// Sum adds up some tables.
type Sum struct {
	Tables   int
	Bytes    uint64 // of the table files
	Values   uint64 // bytes that they reference in value files
	Deletes  uint64 // these three as in FileMeta
	Ranges   uint64
	Expiring uint64
}

// Add adds a table.
func (s *Sum) Add(f *FileMeta) { s.change(f, 1) }

// change adds a table n times; n may be -1.
func (s *Sum) change(f *FileMeta, n int) {
	s.Tables += n
	s.Bytes += uint64(n) * f.Size
	s.Deletes += uint64(n) * f.Deletes
	s.Ranges += uint64(n) * f.Ranges
	s.Expiring += uint64(n) * f.Expiring
	s.Values += uint64(n) * f.ValueBytes()
}

// All calls fn for every table, from the newest to the oldest run, until fn
// returns false. It returns whether fn saw all tables.
func (t *Tree) All(fn func(level int, f *FileMeta) bool) bool {
	for l := range t.Levels {
		for r := range t.Levels[l] {
			for _, f := range t.Levels[l][r].Files {
				if !fn(l, f) {
					return false
				}
			}
		}
	}
	return true
}

func (t *Tree) empty() bool {
	for l := range t.Levels {
		if len(t.Levels[l]) > 0 {
			return false
		}
	}
	return true
}

// check checks each table by itself, the order of runs and tables, and the
// sums. It adds the numbers of the tables to seen.
func (t *Tree) check(seen map[base.FileNum]bool) error {
	if t.empty() {
		return fmt.Errorf("the tree of keyspace %d has no tables", t.Keyspace)
	}
	for l := range t.Levels {
		var sum Sum
		for r := range t.Levels[l] {
			run := &t.Levels[l][r]
			if r > 0 && t.Levels[l][r-1].ID <= run.ID {
				return fmt.Errorf("level %d: run %d is listed before run %d", l, t.Levels[l][r-1].ID, run.ID)
			}
			if err := run.check(t.Keyspace, l, seen); err != nil {
				return err
			}
			for _, f := range run.Files {
				sum.Add(f)
			}
		}
		if sum != t.Sums[l] {
			return fmt.Errorf("level %d of keyspace %d: the sums are %+v, the tables add up to %+v", l, t.Keyspace, t.Sums[l], sum)
		}
	}
	return t.checkL0()
}

// checkL0 checks that level 0 satisfies I6: where tables of two runs overlap,
// every entry of the newer run is newer. Deeper levels cannot be checked from
// descriptions alone, since a table there spans many flushes.
func (t *Tree) checkL0() error {
	runs := t.Levels[0]
	for i := range runs {
		for j := i + 1; j < len(runs); j++ {
			for _, f := range runs[i].Files {
				for _, g := range runs[j].Overlapping(f.Smallest, f.End()) {
					if f.SmallestSeq <= g.LargestSeq {
						return fmt.Errorf("level 0: table %d (run %d, sequences from %d) is not newer than table %d (run %d, sequences to %d)",
							f.Num, f.Run, f.SmallestSeq, g.Num, g.Run, g.LargestSeq)
					}
				}
			}
		}
	}
	return nil
}

// findTree returns the index of the tree of a keyspace, or where it would be
// inserted.
func findTree(trees []*Tree, keyspace uint32) (int, bool) {
	return slices.BinarySearchFunc(trees, keyspace, func(t *Tree, ks uint32) int { return cmp.Compare(t.Keyspace, ks) })
}

// treeBuilder is a tree that a builder changes. It copies parts before it
// changes them.
type treeBuilder struct {
	*Tree
	ownedL [base.NumLevels]bool // Levels[i] was copied
	ownedR map[runKey]bool      // the run's Files were copied
}

// runKey identifies a run of a tree.
type runKey struct {
	level int
	id    uint64
}

func newTreeBuilder(t *Tree) *treeBuilder {
	c := *t
	return &treeBuilder{Tree: &c, ownedR: make(map[runKey]bool)}
}

// finish returns the tree.
func (b *treeBuilder) finish() *Tree {
	for k := range b.ownedR {
		if i, found := findRun(b.Levels[k.level], k.id); found {
			r := &b.Levels[k.level][i]
			r.heads = newRunHeads(r.Files)
		}
	}
	return b.Tree
}

// remove removes a table from a level.
func (b *treeBuilder) remove(level int, f *FileMeta) error {
	runs, i, found := b.openRun(level, f.Run)
	if !found {
		return fmt.Errorf("level %d has no run %d", level, f.Run)
	}
	r := &runs[i]
	j, found := slices.BinarySearchFunc(r.Files, f, compareStart)
	if !found {
		return fmt.Errorf("table %d is not in run %d of level %d", f.Num, r.ID, level)
	}
	if r.Files = slices.Delete(r.Files, j, j+1); len(r.Files) == 0 {
		b.Levels[level] = slices.Delete(runs, i, i+1)
	}
	b.Sums[level].change(f, -1)
	return nil
}

// add adds a table to a level.
func (b *treeBuilder) add(level int, f *FileMeta) error {
	runs, i, found := b.openRun(level, f.Run)
	if !found { // the first table of a new run
		runs = slices.Insert(runs, i, Run{ID: f.Run})
		b.Levels[level] = runs
		b.ownedR[runKey{level, f.Run}] = true
	}
	r := &runs[i]
	j, _ := slices.BinarySearchFunc(r.Files, f, compareStart)
	if j > 0 && !r.Files[j-1].EndsBefore(f.Smallest) {
		return overlapError(level, r.Files[j-1], f)
	}
	if j < len(r.Files) && !f.EndsBefore(r.Files[j].Smallest) {
		return overlapError(level, f, r.Files[j])
	}
	r.Files = slices.Insert(r.Files, j, f)
	b.Sums[level].Add(f)
	return nil
}

// openRun copies the runs of a level, and the files of one of them, so that the
// builder may change them. If there is no such run it returns where the run
// would be inserted.
func (b *treeBuilder) openRun(level int, id uint64) (runs []Run, i int, found bool) {
	if !b.ownedL[level] {
		b.Levels[level] = slices.Clone(b.Levels[level])
		b.ownedL[level] = true
	}
	runs = b.Levels[level]
	if i, found = findRun(runs, id); !found {
		return runs, i, false
	}
	if k := (runKey{level, id}); !b.ownedR[k] {
		runs[i].Files, runs[i].heads = slices.Clone(runs[i].Files), nil
		b.ownedR[k] = true
	}
	return runs, i, true
}
