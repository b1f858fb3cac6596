package manifest

import (
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// ValueMeta describes a value file as it was written. It is immutable.
type ValueMeta struct {
	Num base.FileNum
	// Incarnation is the incarnation of the opening that wrote the file.
	Incarnation uint64
	Size        uint64 // bytes of the file
	Bytes       uint64 // of its records, the unit of ValueRef.Bytes
	Count       uint64 // records
}

// ValueFile is a value file with sums of what the tables of one Version still
// reference in it. It is immutable; a Version with other sums has another
// ValueFile.
type ValueFile struct {
	ValueMeta
	LiveBytes uint64 // sum over the tables' ValueRefs
	LiveCount uint64
	Tables    int // tables that reference it; never 0 in a Version
}

// Garbage returns the bytes of records that no table references.
func (f *ValueFile) Garbage() uint64 { return f.Bytes - f.LiveBytes }

// add adds one table's reference. It fails if there would be more references
// than records, since each record belongs to one version of one key in one
// table.
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
