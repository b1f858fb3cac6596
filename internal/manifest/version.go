package manifest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Location says where the bytes of a file are. The values are part of the
// format.
type Location uint8

// LocationLocal is the database directory. Others are reserved.
const LocationLocal Location = 0

// ValueRef is what one table still references in one value file.
type ValueRef struct {
	File  base.FileNum
	Bytes uint64 // as stored in the value file
	Count uint64
}

// FileMeta describes one table. It is immutable once it is in a Version.
type FileMeta struct {
	Num      base.FileNum
	Size     uint64 // bytes of the table, which has a file of its own or lies in Pack
	Keyspace uint32
	Location Location
	Format   base.FormatVersion
	// Incarnation is that of the opening that wrote the file.
	Incarnation uint64

	// Pack, if not 0, is the file of PackSize bytes in which the table lies, from
	// Offset on, beside others. Else it has a file of its own.
	Pack             base.FileNum
	Offset, PackSize uint64

	// Run is which run of its keyspace and level the table belongs to; larger is
	// newer.
	Run uint64

	// Smallest is the first user key of all entries and range tombstones. Where
	// they end, Largest and LargestBound say together: see End.
	Smallest, Largest       []byte
	LargestBound            base.Bound
	SmallestSeq, LargestSeq base.SeqNum // of range tombstones too

	Ranges        uint64 // fragments of range tombstones
	Entries       uint64 // 0 only where there are range tombstones
	Deletes       uint64 // of the entries: tombstones of every kind
	RawKeyBytes   uint64
	RawValueBytes uint64

	// Expiring counts the entries that have an expiry; MinExpiry and MaxExpiry
	// are the earliest and the latest.
	Expiring, MinExpiry, MaxExpiry uint64

	// OneSeq, if not 0, is the sequence of every entry. The file says 0.
	OneSeq base.SeqNum

	ValueRefs []ValueRef // ascending by File, each with at least one value
}

// ValueMeta describes one value file as it was written. It is immutable.
type ValueMeta struct {
	Num base.FileNum
	// Incarnation is that of the opening that wrote the file.
	Incarnation uint64
	Size        uint64 // bytes of the file
	Bytes       uint64 // of the records in it: the unit of ValueRef.Bytes
	Count       uint64 // records
}

// ValueFile is a value file and what the tables of one Version still reference
// in it. It is immutable; a Version in which the sums differ has another.
type ValueFile struct {
	ValueMeta
	LiveBytes uint64 // sum over the tables' ValueRefs
	LiveCount uint64
	Tables    int // how many tables reference it; never 0 in a Version
}

// Garbage is the bytes of records that no table references.
func (f *ValueFile) Garbage() uint64 { return f.Bytes - f.LiveBytes }

// Version is which files make up the database at one moment. It is immutable:
// Apply makes the next one, which shares what did not change.
type Version struct {
	trees []*Tree // ascending by keyspace; none is empty
	// Values are the value files that at least one table references, by
	// number (invariant I10).
	Values map[base.FileNum]*ValueFile
}

// Trees are those of the keyspaces that have tables, ascending by keyspace. The
// caller must not change the slice.
func (v *Version) Trees() []*Tree { return v.trees }

// Tree returns the tree of a keyspace, an empty one if it has no tables.
func (v *Version) Tree(keyspace uint32) *Tree {
	if i, ok := findTree(v.trees, keyspace); ok {
		return v.trees[i]
	}
	return &Tree{Keyspace: keyspace}
}

// Tables is the number of tables.
func (v *Version) Tables() int {
	n := 0
	for _, t := range v.trees {
		for l := range t.Sums {
			n += t.Sums[l].Tables
		}
	}
	return n
}

// LevelSize is the bytes of the tables of a level.
func (v *Version) LevelSize(level int) uint64 {
	var n uint64
	for _, t := range v.trees {
		n += t.Sums[level].Bytes
	}
	return n
}

// All calls fn for every table, keyspace by keyspace and there from the newest
// to the oldest run, until it returns false.
func (v *Version) All(fn func(level int, f *FileMeta) bool) {
	for _, t := range v.trees {
		if !t.All(fn) {
			return
		}
	}
}

// FileName is the name of the file in which the table lies.
func (f *FileMeta) FileName() string {
	if f.Pack != 0 {
		return base.FileName(base.FileTypePack, f.Pack)
	}
	return base.FileName(base.FileTypeTable, f.Num)
}

// End is where the table's keys end. With range tombstones that may be a key
// that is not in the table any more, at which the next table begins, or nowhere.
// Without an end, Largest is only the largest key that is named.
func (f *FileMeta) End() base.End { return base.End{Key: f.Largest, Bound: f.LargestBound} }

// EndsBefore reports whether all of the table lies before key.
func (f *FileMeta) EndsBefore(key []byte) bool { return f.End().Before(key) }

// StartsAfter reports whether all of the table lies after key.
func (f *FileMeta) StartsAfter(key []byte) bool { return bytes.Compare(f.Smallest, key) > 0 }

// check validates what a table's description says by itself.
func (f *FileMeta) check() error {
	switch {
	case f.Num == 0:
		return fmt.Errorf("table without a number")
	case f.Size == 0:
		return fmt.Errorf("table %d: empty file", f.Num)
	case f.Pack == 0 && (f.Offset != 0 || f.PackSize != 0) ||
		f.Pack != 0 && (f.Pack == f.Num || f.Offset > f.PackSize || f.Size > f.PackSize-f.Offset):
		return fmt.Errorf("table %d: %d bytes at %d of the %d bytes of file %d", f.Num, f.Size, f.Offset, f.PackSize, f.Pack)
	case f.Location != LocationLocal:
		return fmt.Errorf("table %d: unknown location %d", f.Num, f.Location)
	case f.Format == 0:
		return fmt.Errorf("table %d: no format version", f.Num)
	case f.Format > base.FormatNewest:
		return fmt.Errorf("table %d: %w (format %d, newest known %d)", f.Num, base.ErrFormatTooNew, f.Format, base.FormatNewest)
	case len(f.Smallest) > base.MaxKeySize || len(f.Largest) > base.MaxKeySize:
		return fmt.Errorf("table %d: %w", f.Num, base.ErrKeyTooLarge)
	case bytes.Compare(f.Smallest, f.Largest) > 0:
		return fmt.Errorf("table %d: smallest key %q after largest %q", f.Num, f.Smallest, f.Largest)
	case f.SmallestSeq > f.LargestSeq || f.LargestSeq > base.SeqNumMax:
		return fmt.Errorf("table %d: sequences %d to %d", f.Num, f.SmallestSeq, f.LargestSeq)
	case f.Entries == 0 && f.Ranges == 0 || f.Deletes > f.Entries:
		return fmt.Errorf("table %d: %d entries, %d deletes, %d ranges", f.Num, f.Entries, f.Deletes, f.Ranges)
	case f.LargestBound > base.BoundNone || f.LargestBound != base.BoundInclusive && f.Ranges == 0:
		return fmt.Errorf("table %d: bound %d with %d ranges", f.Num, f.LargestBound, f.Ranges)
	case f.EndsBefore(f.Smallest):
		return fmt.Errorf("table %d: smallest key %q is where it ends", f.Num, f.Smallest)
	case f.Expiring > f.Entries || f.MinExpiry > f.MaxExpiry || f.Expiring == 0 && f.MaxExpiry != 0:
		return fmt.Errorf("table %d: %d entries expire, from %d to %d", f.Num, f.Expiring, f.MinExpiry, f.MaxExpiry)
	case f.OneSeq != 0 && (f.OneSeq != f.SmallestSeq || f.OneSeq != f.LargestSeq || f.Ranges != 0):
		return fmt.Errorf("table %d: one sequence %d, and sequences %d to %d with %d ranges", f.Num, f.OneSeq, f.SmallestSeq, f.LargestSeq, f.Ranges)
	}
	for i, r := range f.ValueRefs {
		if r.File == 0 || r.Count == 0 || i > 0 && f.ValueRefs[i-1].File >= r.File {
			return fmt.Errorf("table %d: bad value reference %d (file %d, %d values)", f.Num, i, r.File, r.Count)
		}
	}
	return nil
}

// Check validates the whole version: each table by itself, the order of runs
// and tables (I5), what can be seen of I6 from descriptions, numbers used once,
// and that the accounts of value files agree with the tables (I10).
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
			return fmt.Errorf("file number %d is a table and a value file", num)
		}
		if got := live[num]; got == nil || *got != *vf || vf.Num != num {
			return fmt.Errorf("value file %d: accounts say %+v, the tables %+v", num, *vf, got)
		}
	}
	return nil
}

// checkPacks looks at the tables that share a file: all say the same of it, and no
// two lie at the same place. It adds the files' numbers to seen.
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
			return fmt.Errorf("file number %d is a table and a file of tables", num)
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
				return fmt.Errorf("table %d references value file %d, which is not named", f.Num, ref.File)
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

// add counts one table's reference. More references than records is an error:
// a record belongs to one version of one key, and that to one table.
func (f *ValueFile) add(table base.FileNum, ref ValueRef) error {
	if ref.Bytes > f.Bytes-f.LiveBytes || ref.Count > f.Count-f.LiveCount {
		return fmt.Errorf("table %d: its %d values (%d bytes) in value file %d exceed what is there: %d of %d values (%d of %d bytes) are referenced already",
			table, ref.Count, ref.Bytes, ref.File, f.LiveCount, f.Count, f.LiveBytes, f.Bytes)
	}
	f.LiveBytes += ref.Bytes
	f.LiveCount += ref.Count
	f.Tables++
	return nil
}

// remove is the inverse of add.
func (f *ValueFile) remove(ref ValueRef) {
	f.LiveBytes -= ref.Bytes
	f.LiveCount -= ref.Count
	f.Tables--
}

// SortedValues lists the value files by number.
func (v *Version) SortedValues() []ValueMeta {
	out := make([]ValueMeta, 0, len(v.Values))
	for _, f := range v.Values {
		out = append(out, f.ValueMeta)
	}
	slices.SortFunc(out, func(a, b ValueMeta) int { return cmp.Compare(a.Num, b.Num) })
	return out
}
