package manifest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Version is the set of files that make up the database at one moment. It is
// immutable: Apply returns the next one, which shares what did not change.
type Version struct {
	trees []*Tree // ascending by keyspace; none is empty
	// Values are the value files, by number, that at least one table references
	// (I10).
	Values map[base.FileNum]*ValueFile
}

// Trees returns the trees of the keyspaces that have tables, ascending by
// keyspace. Callers must not change the slice.
func (v *Version) Trees() []*Tree { return v.trees }

// Tree returns the tree of a keyspace, an empty one if it has no tables.
func (v *Version) Tree(keyspace uint32) *Tree {
	if i, ok := findTree(v.trees, keyspace); ok {
		return v.trees[i]
	}
	return &Tree{Keyspace: keyspace}
}

// Tables returns the number of tables.
func (v *Version) Tables() int {
	n := 0
	for _, t := range v.trees {
		for l := range t.Sums {
			n += t.Sums[l].Tables
		}
	}
	return n
}

// LevelSize returns the bytes of the tables of a level.
func (v *Version) LevelSize(level int) uint64 {
	var n uint64
	for _, t := range v.trees {
		n += t.Sums[level].Bytes
	}
	return n
}

// All calls fn for every table, by keyspace and then from the newest to the
// oldest run, until fn returns false.
func (v *Version) All(fn func(level int, f *FileMeta) bool) {
	for _, t := range v.trees {
		if !t.All(fn) {
			return
		}
	}
}

// Check checks each table by itself, the order of runs and tables (I5), what
// descriptions show of I6, that numbers are used once, and that the accounts of
// value files agree with the tables (I10).
func (v *Version) Check() error {
	seen := make(map[base.FileNum]bool)
	live := make(map[base.FileNum]*ValueFile, len(v.Values))
	for i, t := range v.trees {
		if i > 0 && v.trees[i-1].Keyspace >= t.Keyspace {
			return fmt.Errorf("the tree of keyspace %d is listed before that of %d", v.trees[i-1].Keyspace, t.Keyspace)
		}
		if err := t.check(seen); err != nil {
			return err
		}
	}
	var err error
	v.All(func(_ int, f *FileMeta) bool {
		err = addRefs(live, v.Values, f)
		return err == nil
	})
	if err != nil {
		return err
	}
	if err := v.checkPacks(seen); err != nil {
		return err
	}
	for num, vf := range v.Values {
		if seen[num] {
			return fmt.Errorf("file number %d is both a table and a value file", num)
		}
		if got := live[num]; got == nil || *got != *vf || vf.Num != num {
			return fmt.Errorf("value file %d: its accounts are %+v, the tables add up to %+v", num, *vf, got)
		}
	}
	return nil
}

// checkPacks checks that the tables in one pack agree on its size and do not
// overlap in it. It adds the packs' numbers to seen.
func (v *Version) checkPacks(seen map[base.FileNum]bool) error {
	packs := make(map[base.FileNum][]*FileMeta)
	v.All(func(_ int, f *FileMeta) bool {
		if f.Pack != 0 {
			packs[f.Pack] = append(packs[f.Pack], f)
		}
		return true
	})
	for num, tables := range packs {
		if seen[num] {
			return fmt.Errorf("file number %d is both a table and a pack", num)
		}
		seen[num] = true
		slices.SortFunc(tables, func(a, b *FileMeta) int { return cmp.Compare(a.Offset, b.Offset) })
		for i, f := range tables[1:] {
			before := tables[i]
			if f.PackSize != before.PackSize || f.Incarnation != before.Incarnation || f.Offset < before.Offset+before.Size {
				return fmt.Errorf("table %d at %d and table %d at %d, of %d and %d bytes, do not fit into file %d",
					before.Num, before.Offset, f.Num, f.Offset, before.Size, f.Size, num)
			}
		}
	}
	return nil
}

// addRefs adds the references of table f to the accounts in live.
func addRefs(live, known map[base.FileNum]*ValueFile, f *FileMeta) error {
	for _, ref := range f.ValueRefs {
		vf := live[ref.File]
		if vf == nil {
			k := known[ref.File]
			if k == nil {
				return fmt.Errorf("table %d references value file %d, which does not exist", f.Num, ref.File)
			}
			vf = &ValueFile{ValueMeta: k.ValueMeta}
			live[ref.File] = vf
		}
		if err := vf.add(f.Num, ref); err != nil {
			return err
		}
	}
	return nil
}

// SortedValues returns the value files by ascending number.
func (v *Version) SortedValues() []ValueMeta {
	out := make([]ValueMeta, 0, len(v.Values))
	for _, f := range v.Values {
		out = append(out, f.ValueMeta)
	}
	slices.SortFunc(out, func(a, b ValueMeta) int { return cmp.Compare(a.Num, b.Num) })
	return out
}
