package manifest

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Edit is a change from one Version to the next. It takes effect as a whole,
// once it is durable in the manifest (I4).
//
// To move a table, an edit removes it from one level and adds it to another. No
// edit removes value files: a value file that loses its last reference leaves
// the Version, on replay exactly as it did at first.
type Edit struct {
	Add       []NewFile
	Remove    []OldFile
	AddValues []ValueMeta // each referenced by a table in Add

	// LogNum is the oldest log segment that is still needed; nil leaves it
	// unchanged. It never decreases.
	LogNum *base.FileNum
	// LogIncarnation is the incarnation of the opening that wrote the needed
	// logs. FirstFile is the first file number that the opening of this
	// manifest may have assigned. 0 leaves them unchanged.
	LogIncarnation uint64
	FirstFile      base.FileNum
	// NextFile is above every assigned file number, and LastSeq is the last
	// sequence that may have been used. The largest recorded values count, so 0
	// and outdated values change nothing.
	NextFile base.FileNum
	LastSeq  base.SeqNum

	// SetKeyspaces adds or replaces descriptions of keyspaces. DropKeyspaces
	// removes keyspaces, whose tables the same edit removes; drops are applied
	// first. NextKeyspace and Clock follow the rule of NextFile.
	SetKeyspaces  []Keyspace
	DropKeyspaces []uint32
	NextKeyspace  uint32
	Clock         uint64
}

// NewFile is a table and the level it is added to.
type NewFile struct {
	Level int
	Meta  *FileMeta
}

// OldFile names a table in a level.
type OldFile struct {
	Level int
	Num   base.FileNum
}

// named returns the numbers of all files that e names, sorted.
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

// Dropped is a file of one version that a later one lacks.
type Dropped struct {
	Type base.FileType
	Num  base.FileNum
}

// DroppedBy returns the files of v that next, its successor by e, lacks: the
// tables that e removes for good, and the value files that lost their last
// reference.
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
