package manifest

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Edit is a change from one Version to the next. It takes effect as a whole,
// when it is durable in the manifest (invariant I4).
//
// A table moves when one edit removes it from a level and adds it to another.
// No edit removes value files: one that loses its last reference drops
// out of the Version by itself, on replay exactly as it did at first.
type Edit struct {
	Add       []NewFile
	Remove    []OldFile
	AddValues []ValueMeta // each referenced by some table in Add

	// LogNum is the oldest log segment that is still needed; nil leaves it
	// unchanged. It never goes back.
	LogNum *base.FileNum
	// LogIncarnation is the opening that wrote the logs that are needed, and
	// FirstFile the first file number that the opening of this manifest may have
	// handed out; 0 leaves them unchanged.
	LogIncarnation uint64
	FirstFile      base.FileNum
	// NextFile is a number above every file number handed out so far, LastSeq
	// the last sequence that may have been used. The largest ever recorded
	// counts, so 0, or a value that is out of date, changes nothing.
	NextFile base.FileNum
	LastSeq  base.SeqNum

	// SetKeyspaces adds keyspaces, or replaces what is said of them;
	// DropKeyspaces removes some, whose tables the same edit removes. Drops come
	// first. NextKeyspace and Clock follow the rule of NextFile.
	SetKeyspaces  []Keyspace
	DropKeyspaces []uint32
	NextKeyspace  uint32
	Clock         uint64
}

// NewFile places a table in a level.
type NewFile struct {
	Level int
	Meta  *FileMeta
}

// OldFile names a table in a level.
type OldFile struct {
	Level int
	Num   base.FileNum
}

// named returns the numbers of all files that e speaks of, sorted.
func (e *Edit) named() []base.FileNum {
	var nums []base.FileNum
	for _, m := range e.AddValues {
		nums = append(nums, m.Num)
	}
	for _, o := range e.Remove {
		nums = append(nums, o.Num)
	}
	for _, n := range e.Add {
		if n.Meta != nil {
			nums = append(nums, n.Meta.Num)
		}
	}
	slices.Sort(nums)
	return nums
}

// Dropped is a file that one version names and a later one does not.
type Dropped struct {
	Type base.FileType
	Num  base.FileNum
}

// DroppedBy lists the files of v that next, its successor by e, no longer
// names: the tables that e removes for good, and the value files that lost
// their last reference.
func (v *Version) DroppedBy(e *Edit, next *Version) []Dropped {
	var out []Dropped
	for _, o := range e.Remove {
		if !slices.ContainsFunc(e.Add, func(n NewFile) bool { return n.Meta.Num == o.Num }) {
			out = append(out, Dropped{base.FileTypeTable, o.Num})
		}
	}
	for num := range v.Values {
		if next.Values[num] == nil {
			out = append(out, Dropped{base.FileTypeValues, num})
		}
	}
	return out
}
