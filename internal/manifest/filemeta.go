package manifest

import (
	"bytes"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Location says where the bytes of a file are stored. The values are part of
// the format.
type Location uint8

// LocationLocal is the database directory. Others are reserved.
const LocationLocal Location = 0

// ValueRef is what a table still references in one value file.
type ValueRef struct {
	File  base.FileNum
	Bytes uint64 // as stored in the value file
	Count uint64
}

// FileMeta describes one table. It is immutable once it is in a Version.
type FileMeta struct {
	Num      base.FileNum
	Size     uint64 // bytes of the table
	Keyspace uint32
	Location Location
	Format   base.FormatVersion
	// Incarnation is the incarnation of the opening that wrote the file.
	Incarnation uint64

	// Pack, if not 0, is the file of PackSize bytes that contains the table, at
	// Offset, together with others. Otherwise the table has a file of its own.
	Pack             base.FileNum
	Offset, PackSize uint64

	// Run is the table's run in its keyspace and level; larger is newer.
	Run uint64

	// Smallest is the first user key of all entries and range tombstones.
	// Largest and LargestBound say where they end: see End.
	Smallest, Largest       []byte
	LargestBound            base.Bound
	SmallestSeq, LargestSeq base.SeqNum // of range tombstones too

	Ranges        uint64 // fragments of range tombstones
	Entries       uint64 // 0 only if there are range tombstones
	Deletes       uint64 // entries that are tombstones of any kind
	RawKeyBytes   uint64
	RawValueBytes uint64

	// Expiring counts the entries with an expiry; MinExpiry and MaxExpiry are
	// the earliest and the latest expiry.
	Expiring, MinExpiry, MaxExpiry uint64

	// OneSeq, if not 0, is the sequence of every entry, in place of the 0 in
	// the file.
	OneSeq base.SeqNum

	ValueRefs []ValueRef // ascending by File, each with at least one value
}

// FileName returns the name of the file that contains the table.
func (f *FileMeta) FileName() string {
	if f.Pack != 0 {
		return base.FileName(base.FileTypePack, f.Pack)
	}
	return base.FileName(base.FileTypeTable, f.Num)
}

// End returns where the table's keys end. With range tombstones the end may be
// a key outside the table, where the next table may begin, or there may be
// none; Largest is then only the largest key named in the table.
func (f *FileMeta) End() base.End { return base.End{Key: f.Largest, Bound: f.LargestBound} }

// EndsBefore reports whether every key of the table is < key.
func (f *FileMeta) EndsBefore(key []byte) bool { return f.End().Before(key) }

// StartsAfter reports whether every key of the table is > key.
func (f *FileMeta) StartsAfter(key []byte) bool { return bytes.Compare(f.Smallest, key) > 0 }

// Overlaps reports whether the key ranges of two tables of a keyspace overlap.
func (f *FileMeta) Overlaps(g *FileMeta) bool {
	return !f.EndsBefore(g.Smallest) && !g.EndsBefore(f.Smallest)
}

// ValueBytes returns the bytes that the table references in value files.
func (f *FileMeta) ValueBytes() (n uint64) {
	for _, ref := range f.ValueRefs {
		n += ref.Bytes
	}
	return n
}

// keys returns the range of the table's keys as text.
func (f *FileMeta) keys() string {
	switch f.LargestBound {
	case base.BoundExclusive:
		return fmt.Sprintf("[%q, %q)", f.Smallest, f.Largest)
	case base.BoundNone:
		return fmt.Sprintf("[%q, ...)", f.Smallest)
	}
	return fmt.Sprintf("[%q, %q]", f.Smallest, f.Largest)
}

// check checks a table's description by itself.
func (f *FileMeta) check() error {
	switch {
	case f.Num == 0:
		return fmt.Errorf("table has number 0")
	case f.Size == 0:
		return fmt.Errorf("table %d has size 0", f.Num)
	case f.Pack == 0 && (f.Offset != 0 || f.PackSize != 0) ||
		f.Pack != 0 && (f.Pack == f.Num || f.Offset > f.PackSize || f.Size > f.PackSize-f.Offset):
		return fmt.Errorf("table %d: its %d bytes at offset %d exceed the %d bytes of file %d", f.Num, f.Size, f.Offset, f.PackSize, f.Pack)
	case f.Location != LocationLocal:
		return fmt.Errorf("table %d: unknown location %d", f.Num, f.Location)
	case f.Format == 0:
		return fmt.Errorf("table %d has format version 0", f.Num)
	case f.Format > base.FormatNewest:
		return fmt.Errorf("table %d: %w (format %d, newest known %d)", f.Num, base.ErrFormatTooNew, f.Format, base.FormatNewest)
	case len(f.Smallest) > base.MaxKeySize || len(f.Largest) > base.MaxKeySize:
		return fmt.Errorf("table %d has a bound that is too long: %w", f.Num, base.ErrKeyTooLarge)
	case bytes.Compare(f.Smallest, f.Largest) > 0:
		return fmt.Errorf("table %d: smallest key %q is after largest key %q", f.Num, f.Smallest, f.Largest)
	case f.SmallestSeq > f.LargestSeq || f.LargestSeq > base.SeqNumMax:
		return fmt.Errorf("table %d: sequences %d to %d are not a range", f.Num, f.SmallestSeq, f.LargestSeq)
	case f.Entries == 0 && f.Ranges == 0 || f.Deletes > f.Entries:
		return fmt.Errorf("table %d: %d entries, %d deletes and %d range tombstones contradict each other", f.Num, f.Entries, f.Deletes, f.Ranges)
	case f.LargestBound > base.BoundNone || f.LargestBound != base.BoundInclusive && f.Ranges == 0:
		return fmt.Errorf("table %d: bound %d contradicts its %d range tombstones", f.Num, f.LargestBound, f.Ranges)
	case f.EndsBefore(f.Smallest):
		return fmt.Errorf("table %d: smallest key %q is also its end", f.Num, f.Smallest)
	case f.Expiring > f.Entries || f.MinExpiry > f.MaxExpiry || f.Expiring == 0 && f.MaxExpiry != 0:
		return fmt.Errorf("table %d: %d expiring entries contradict their expiries, %d to %d", f.Num, f.Expiring, f.MinExpiry, f.MaxExpiry)
	case f.OneSeq != 0 && (f.OneSeq != f.SmallestSeq || f.OneSeq != f.LargestSeq || f.Ranges != 0):
		return fmt.Errorf("table %d: the one sequence %d contradicts sequences %d to %d or %d range tombstones", f.Num, f.OneSeq, f.SmallestSeq, f.LargestSeq, f.Ranges)
	}
	for i, r := range f.ValueRefs {
		if r.File == 0 || r.Count == 0 || i > 0 && f.ValueRefs[i-1].File >= r.File {
			return fmt.Errorf("table %d: value reference %d is invalid or out of order (file %d, %d values)", f.Num, i, r.File, r.Count)
		}
	}
	return nil
}
