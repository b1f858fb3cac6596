package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seerdb-go/seerdb/internal/base"
)

// String describes a version, with one line for each run, table and value file.
// The text is for tests and the command-line tool; it may change.
func (v *Version) String() string {
	var b strings.Builder
	for _, t := range v.trees {
		b.WriteString(t.String())
	}
	for _, num := range slices.Sorted(maps.Keys(v.Values)) {
		fmt.Fprintf(&b, "%s\n", v.Values[num])
	}
	return b.String()
}

// String describes a tree, with one line for each run and table.
func (t *Tree) String() string {
	var b strings.Builder
	for l := range t.Levels {
		for r := range t.Levels[l] {
			run := &t.Levels[l][r]
			fmt.Fprintf(&b, "L%d run %d\n", l, run.ID)
			for _, f := range run.Files {
				fmt.Fprintf(&b, "  %s\n", f)
			}
		}
	}
	return b.String()
}

func (f *FileMeta) String() string {
	s := fmt.Sprintf("table %d %s seq %d-%d entries %d size %d",
		f.Num, f.keys(), f.SmallestSeq, f.LargestSeq, f.Entries, f.Size)
	if f.Pack != 0 {
		s += fmt.Sprintf(" at %d of %s", f.Offset, f.FileName())
	}
	if f.Keyspace != 0 {
		s += fmt.Sprintf(" keyspace %d", f.Keyspace)
	}
	if f.Deletes != 0 {
		s += fmt.Sprintf(" deletes %d", f.Deletes)
	}
	if f.Ranges != 0 {
		s += fmt.Sprintf(" ranges %d", f.Ranges)
	}
	if f.Expiring != 0 {
		s += fmt.Sprintf(" expiring %d (%d-%d)", f.Expiring, f.MinExpiry, f.MaxExpiry)
	}
	if f.OneSeq != 0 {
		s += " loaded"
	}
	for _, r := range f.ValueRefs {
		s += fmt.Sprintf(" -> %d (%d values, %d bytes)", r.File, r.Count, r.Bytes)
	}
	return s
}

func (f *ValueFile) String() string {
	return fmt.Sprintf("values %d size %d live %d/%d values %d/%d bytes in %d tables",
		f.Num, f.Size, f.LiveCount, f.Count, f.LiveBytes, f.Bytes, f.Tables)
}

// String describes an edit in one line.
func (e *Edit) String() string {
	var parts []string
	part := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if e.LogNum != nil {
		part("log %d", *e.LogNum)
	}
	if e.NextFile != 0 {
		part("next %d", e.NextFile)
	}
	if e.LastSeq != 0 {
		part("seq %d", e.LastSeq)
	}
	for _, m := range e.AddValues {
		part("+%s %d values %d bytes", base.FileName(base.FileTypeValues, m.Num), m.Count, m.Bytes)
	}
	for _, o := range e.Remove {
		part("-L%d %s", o.Level, base.FileName(base.FileTypeTable, o.Num))
	}
	for _, n := range e.Add {
		part("+L%d run %d %s", n.Level, n.Meta.Run, n.Meta)
	}
	return strings.Join(parts, "; ")
}
