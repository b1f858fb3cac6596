package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/observe"
)

// storedOperators returns the names of the merge operators that a database was
// written with, by keyspace. If it fails it returns none: opening the database
// then fails too, and reports why.
func storedOperators(dir string) map[string]string {
	names := map[string]string{}
	s, err := manifest.Recover(vfs.OS, dir)
	if err != nil {
		return names
	}
	for _, k := range s.Keyspaces {
		if k.Merger != "" {
			names[k.Name] = k.Merger
		}
	}
	return names
}

// defaultName is printed for the default keyspace, which has no name.
const defaultName = "(default)"

// spaceName returns the name of a keyspace for printing.
func spaceName(k *manifest.Keyspace) string {
	if k == nil || k.ID == 0 {
		return defaultName
	}
	return escape([]byte(k.Name))
}

// allSpaces returns the keyspaces by name, the default one first. The manifest
// lists that only once it has a setting.
func allSpaces(s *manifest.State) []manifest.Keyspace {
	all := slices.Clone(s.Keyspaces)
	if s.FindKeyspace(0) == nil {
		all = append(all, manifest.Keyspace{})
	}
	slices.SortFunc(all, func(a, b manifest.Keyspace) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func describeSpace(k *manifest.Keyspace) string {
	text := fmt.Sprintf("keyspace %d %s", k.ID, spaceName(k))
	if k.Merger != "" {
		text += " merges with " + k.Merger
	}
	return text
}

// spaceFigures are the manifest's figures of a keyspace. Entries that are only
// in the log are not included.
type spaceFigures struct {
	Name     string
	Operator string `json:",omitempty"`
	Tables   int
	L0Runs   int    // sorted runs in level 0
	Bytes    uint64 // of tables
	Values   uint64 // bytes in value files that the tables refer to
	Entries  uint64
	Deletes  uint64 // entries that are tombstones
	Ranges   uint64 // range tombstones
	Expiring uint64 // entries with an expiry
}

func figuresOf(s *manifest.State) []spaceFigures {
	byID := map[uint32]*spaceFigures{}
	spaces := allSpaces(s)
	all := make([]spaceFigures, len(spaces))
	for i, k := range spaces {
		all[i].Name, all[i].Operator = k.Name, k.Merger
		byID[k.ID] = &all[i]
	}
	for _, t := range s.Version.Trees() {
		if g := byID[t.Keyspace]; g != nil {
			g.L0Runs = len(t.Levels[0])
		}
	}
	s.Version.All(func(_ int, f *manifest.FileMeta) bool {
		if g := byID[f.Keyspace]; g != nil {
			g.Tables++
			g.Bytes += f.Size
			g.Values += f.ValueBytes()
			g.Entries += f.Entries
			g.Deletes += f.Deletes
			g.Ranges += f.Ranges
			g.Expiring += f.Expiring
		}
		return true
	})
	return all
}

// figuresOfOpen returns the figures of an open database; the merge operators
// come from the manifest.
func figuresOfOpen(all []observe.KeyspaceMetrics, s *manifest.State) []spaceFigures {
	operators := map[string]string{}
	for _, k := range s.Keyspaces {
		operators[k.Name] = k.Merger
	}
	out := make([]spaceFigures, len(all))
	for i, m := range all {
		t := &m.Total
		out[i] = spaceFigures{
			Name: m.Name, Operator: operators[m.Name], Tables: t.Files, Bytes: uint64(t.Bytes), Values: uint64(t.Values),
			Entries: uint64(t.Entries), Deletes: uint64(t.Deletes), Ranges: uint64(t.RangeDeletes), Expiring: uint64(t.Expiring),
		}
		if len(m.Levels) > 0 {
			out[i].L0Runs = m.Levels[0].Runs
		}
	}
	return out
}

// largestShown is how many keyspaces a command prints that was not asked for
// them.
const largestShown = 20

// printLargest prints a table of the largest keyspaces, and the sum of the
// others.
func printLargest(w io.Writer, all []spaceFigures) error {
	whole := func(f spaceFigures) uint64 { return f.Bytes + f.Values }
	bySize := slices.Clone(all)
	slices.SortStableFunc(bySize, func(a, b spaceFigures) int { return cmp.Compare(whole(b), whole(a)) })
	n := min(largestShown, len(bySize))
	shown, rest := bySize[:n], bySize[n:]
	slices.SortFunc(shown, func(a, b spaceFigures) int { return cmp.Compare(a.Name, b.Name) })
	if err := printFigures(w, shown); err != nil || len(rest) == 0 {
		return err
	}
	tables, sum := 0, uint64(0)
	for _, f := range rest {
		tables, sum = tables+f.Tables, sum+whole(f)
	}
	_, err := fmt.Fprintf(w, "and %s that %s no larger, with %s, %s in all\n", counted(len(rest), "keyspace"), verb(int64(len(rest)), "is", "are"),
		counted(tables, "table"), size(sum))
	return err
}

// printFigures prints a table of keyspaces.
func printFigures(w io.Writer, all []spaceFigures) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "keyspace\ttables\tL0 runs\tsize\tvalues\tentries\tdeletes\tranges\texpiring\tmerge operator")
	comma := func(n uint64) string { return humanize.Comma(int64(n)) }
	for _, f := range all {
		name, operator := defaultName, f.Operator
		if f.Name != "" {
			name = escape([]byte(f.Name))
		}
		if operator == "" {
			operator = "-"
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, f.Tables, f.L0Runs, size(int64(f.Bytes)), size(int64(f.Values)),
			comma(f.Entries), comma(f.Deletes), comma(f.Ranges), comma(f.Expiring), operator)
	}
	return t.Flush()
}

// spaceOfFile returns the keyspace of a table, by the name of its file, or nil
// if the manifest does not name it.
func spaceOfFile(s *manifest.State, name string) *manifest.Keyspace {
	t, num, ok := base.ParseFileName(name)
	if !ok || t != base.FileTypeTable {
		return nil
	}
	var found *manifest.Keyspace
	s.Version.All(func(_ int, f *manifest.FileMeta) bool {
		if f.Num != num {
			return true
		}
		if found = s.FindKeyspace(f.Keyspace); found == nil {
			found = &manifest.Keyspace{} // the default one may not be listed
		}
		return false
	})
	return found
}
