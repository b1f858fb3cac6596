package manifest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Apply returns the version after e. It is pure: v is unchanged. If e does not
// fit v, Apply returns an error and no version.
func (v *Version) Apply(e *Edit) (*Version, error) {
	if len(e.Add)+len(e.Remove)+len(e.AddValues) == 0 {
		return v, nil
	}
	b := newBuilder(v, e)
	if err := b.apply(e); err != nil {
		return nil, err
	}
	return b.finish(), nil
}

// builder applies edits to a private copy of a Version. It copies what it
// changes only once, so recovery, which applies a whole log to one builder,
// pays only for the edits. Apply is a builder with one edit.
type builder struct {
	v         *Version
	positions map[base.FileNum]position // of every table that an edit may name
	trees     map[uint32]*treeBuilder   // those that were changed
	ownedV    map[base.FileNum]bool     // the builder may change the value file
	touched   map[base.FileNum]bool     // value files that lost a reference in this edit
}

// position is where a table is.
type position struct {
	level int
	meta  *FileMeta
}

// newBuilder returns a builder that applies e to v. With an empty version and
// no edit, it applies any number of edits.
func newBuilder(v *Version, e *Edit) *builder {
	b := &builder{
		v:         &Version{trees: v.trees, Values: maps.Clone(v.Values)},
		positions: make(map[base.FileNum]position),
		trees:     make(map[uint32]*treeBuilder),
		ownedV:    make(map[base.FileNum]bool),
	}
	if b.v.Values == nil {
		b.v.Values = make(map[base.FileNum]*ValueFile)
	}
	if e == nil {
		return b
	}
	// One pass over all tables with a small map is cheaper than a map of all
	// tables.
	named := e.named()
	v.All(func(level int, f *FileMeta) bool {
		if _, ok := slices.BinarySearch(named, f.Num); ok {
			b.positions[f.Num] = position{level, f}
		}
		return true
	})
	return b
}

// apply changes the version by one edit. After an error the builder is
// undefined.
func (b *builder) apply(e *Edit) error {
	b.touched = make(map[base.FileNum]bool)
	for _, m := range e.AddValues {
		if err := b.addValues(m); err != nil {
			return err
		}
	}
	for _, o := range e.Remove {
		if err := b.remove(o); err != nil {
			return err
		}
	}
	for _, n := range e.Add {
		if err := b.add(n); err != nil {
			return err
		}
	}
	if err := b.dropUnreferenced(e); err != nil {
		return err
	}
	return b.checkL0(e)
}

// checkL0 checks level 0 of the trees to which e adds tables there.
func (b *builder) checkL0(e *Edit) error {
	checked := make(map[uint32]bool)
	for _, n := range e.Add {
		if ks := n.Meta.Keyspace; n.Level == 0 && !checked[ks] {
			checked[ks] = true
			if err := b.trees[ks].checkL0(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) addValues(m ValueMeta) error {
	if m.Num == 0 || m.Count == 0 || m.Size == 0 {
		return fmt.Errorf("value file %d is described with %d bytes and %d values", m.Num, m.Size, m.Count)
	}
	if _, taken := b.positions[m.Num]; taken || b.v.Values[m.Num] != nil {
		return fmt.Errorf("value file %d: a file with this number exists", m.Num)
	}
	b.v.Values[m.Num] = &ValueFile{ValueMeta: m}
	b.ownedV[m.Num] = true
	return nil
}

func (b *builder) remove(o OldFile) error {
	p, ok := b.positions[o.Num]
	if !ok || p.level != o.Level {
		return fmt.Errorf("table %d is not in level %d", o.Num, o.Level)
	}
	delete(b.positions, o.Num)
	if err := b.tree(p.meta.Keyspace).remove(o.Level, p.meta); err != nil {
		return err
	}
	for _, ref := range p.meta.ValueRefs {
		b.openValues(ref.File).remove(ref)
		b.touched[ref.File] = true
	}
	return nil
}

func (b *builder) add(n NewFile) error {
	if n.Level < 0 || n.Level >= base.NumLevels || n.Meta == nil {
		return fmt.Errorf("table added to level %d: there are %d levels", n.Level, base.NumLevels)
	}
	f := n.Meta
	if err := f.check(); err != nil {
		return err
	}
	if _, taken := b.positions[f.Num]; taken || b.v.Values[f.Num] != nil {
		return fmt.Errorf("table %d: a file with this number exists", f.Num)
	}
	b.positions[f.Num] = position{n.Level, f}
	if err := b.tree(f.Keyspace).add(n.Level, f); err != nil {
		return err
	}
	for _, ref := range f.ValueRefs {
		vf := b.openValues(ref.File)
		if vf == nil {
			return fmt.Errorf("table %d references value file %d, which does not exist", f.Num, ref.File)
		}
		if err := vf.add(f.Num, ref); err != nil {
			return err
		}
	}
	return nil
}

// dropUnreferenced removes the value files that lost their last reference in e.
// A new value file must have a reference (I10).
func (b *builder) dropUnreferenced(e *Edit) error {
	for _, m := range e.AddValues {
		if b.v.Values[m.Num].Tables == 0 {
			return fmt.Errorf("value file %d is added, but no table references it", m.Num)
		}
	}
	for num := range b.touched {
		if b.v.Values[num].Tables == 0 {
			delete(b.v.Values, num)
		}
	}
	return nil
}

// tree returns the tree of a keyspace, copied so that the builder may change
// it.
func (b *builder) tree(keyspace uint32) *treeBuilder {
	t := b.trees[keyspace]
	if t == nil {
		t = newTreeBuilder(b.v.Tree(keyspace))
		b.trees[keyspace] = t
	}
	return t
}

// openValues returns the accounts of a value file, copied so that the builder
// may change them, or nil if there is no such file.
func (b *builder) openValues(num base.FileNum) *ValueFile {
	vf := b.v.Values[num]
	if vf != nil && !b.ownedV[num] {
		c := *vf
		vf = &c
		b.v.Values[num] = vf
		b.ownedV[num] = true
	}
	return vf
}

// finish returns the version. The builder must not be used afterwards.
func (b *builder) finish() *Version {
	trees := make([]*Tree, 0, len(b.v.trees)+len(b.trees))
	rest := b.v.trees
	for _, ks := range slices.Sorted(maps.Keys(b.trees)) {
		i, found := findTree(rest, ks)
		trees = append(trees, rest[:i]...)
		if rest = rest[i:]; found {
			rest = rest[1:]
		}
		if t := b.trees[ks]; !t.empty() {
			trees = append(trees, t.finish())
		}
	}
	b.v.trees = append(trees, rest...)
	return b.v
}
