package main

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// lsmPage is the self-contained page that shows a tree.
//
//go:embed lsm.html.tmpl
var lsmPage string

// lsmTree is what the page draws.
type lsmTree struct {
	Dir     string     `json:"dir"`
	Made    string     `json:"made"`
	LastSeq uint64     `json:"lastSeq"`
	Spaces  []lsmSpace `json:"spaces"`
	Values  []lsmValue `json:"values"`
}

// lsmSpace is a keyspace, which is a tree of its own.
type lsmSpace struct {
	Name     string     `json:"name"`
	Operator string     `json:"operator"`
	Levels   []lsmLevel `json:"levels"`
}

type lsmLevel struct {
	Level int      `json:"level"`
	Runs  []lsmRun `json:"runs"`
}

type lsmRun struct {
	ID     uint64     `json:"id"`
	Tables []lsmTable `json:"tables"`
}

type lsmTable struct {
	Num     uint64  `json:"num"`
	Size    uint64  `json:"size"`
	Entries uint64  `json:"entries"`
	Deletes uint64  `json:"deletes"`
	Ranges  uint64  `json:"ranges"`
	Expire  uint64  `json:"expire"` // entries with an expiry
	Lo      string  `json:"lo"`
	Hi      string  `json:"hi"`
	X0      float64 `json:"x0"` // where its keys begin and end among the
	X1      float64 `json:"x1"` // boundaries of all tables, 0 to 1
	SeqLo   uint64  `json:"seqLo"`
	SeqHi   uint64  `json:"seqHi"`
	Heat    float64 `json:"heat"` // how lately it was written, 0 to 1
	Values  uint64  `json:"values"`
}

type lsmValue struct {
	Num     uint64 `json:"num"`
	Size    uint64 `json:"size"`
	Live    uint64 `json:"live"`
	Garbage uint64 `json:"garbage"`
}

func lsmCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "lsm DIR", Short: "Draw the tree: levels, tables to scale, key ranges, what is hot",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := manifest.Recover(vfs.OS, args[0])
			if err != nil {
				return err
			}
			if out == "" {
				return printTree(cmd.OutOrStdout(), s)
			}
			if err := drawTree(out, args[0], s); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s; open it in a browser\n", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "html", "", "write a self-contained page to this file; without it print text")
	return cmd
}

// printTree prints the tables of each keyspace. Where there is only the default
// one nothing names it.
func printTree(w io.Writer, s *manifest.State) error {
	spaces := allSpaces(s)
	if len(spaces) == 1 {
		_, err := fmt.Fprint(w, s.Version.String())
		return err
	}
	for _, k := range spaces {
		text := s.Version.Tree(k.ID).String()
		if text == "" {
			text = "nothing in tables\n"
		}
		if _, err := fmt.Fprintf(w, "%s\n%s\n", describeSpace(&k), text); err != nil {
			return err
		}
	}
	_, err := fmt.Fprint(w, (&manifest.Version{Values: s.Version.Values}).String())
	return err
}

// drawTree writes the page.
func drawTree(out, dir string, s *manifest.State) error {
	data, err := json.Marshal(treeOf(dir, s))
	if err != nil {
		return err
	}
	page, err := template.New("lsm").Parse(lsmPage)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	err = page.Execute(f, struct {
		Title string
		Data  template.JS
	}{filepath.Base(dir), template.JS(data)})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func treeOf(dir string, s *manifest.State) *lsmTree {
	t := &lsmTree{Dir: dir, Made: time.Now().UTC().Format("2006-01-02 15:04 MST"), LastSeq: uint64(s.LastSeq)}
	for _, k := range allSpaces(s) {
		t.Spaces = append(t.Spaces, lsmSpace{spaceName(&k), k.Merger, levelsOf(s.Version.Tree(k.ID), s.LastSeq)})
	}
	for _, v := range s.Version.Values {
		t.Values = append(t.Values, lsmValue{uint64(v.Num), v.Size, v.LiveBytes, v.Garbage()})
	}
	return t
}

// levelsOf are the levels of one keyspace.
func levelsOf(t *manifest.Tree, last base.SeqNum) (levels []lsmLevel) {
	pos := positions(t)
	for level, runs := range t.Levels {
		if len(runs) == 0 {
			continue
		}
		l := lsmLevel{Level: level}
		for _, r := range runs {
			run := lsmRun{ID: r.ID}
			for _, f := range r.Files {
				run.Tables = append(run.Tables, lsmTable{
					Num: uint64(f.Num), Size: f.Size, Entries: f.Entries, Deletes: f.Deletes, Ranges: f.Ranges, Expire: f.Expiring,
					Lo: escape(f.Smallest), Hi: escapeEnd(f), X0: pos[string(f.Smallest)], X1: endPosition(pos, f),
					SeqLo: uint64(f.SmallestSeq), SeqHi: uint64(f.LargestSeq),
					Heat: float64(f.LargestSeq) / float64(max(last, 1)), Values: refBytes(f),
				})
			}
			l.Runs = append(l.Runs, run)
		}
		levels = append(levels, l)
	}
	return levels
}

func refBytes(f *manifest.FileMeta) (n uint64) {
	for _, r := range f.ValueRefs {
		n += r.Bytes
	}
	return n
}

// positions spreads the boundaries of all tables evenly over 0 to 1, in key
// order: keys have no distances, but every table becomes visible.
func positions(t *manifest.Tree) map[string]float64 {
	pos := map[string]float64{}
	t.All(func(_ int, f *manifest.FileMeta) bool {
		pos[string(f.Smallest)], pos[string(f.Largest)] = 0, 0
		return true
	})
	keys := sortedKeys(pos)
	for i, k := range keys {
		pos[k] = float64(i) / float64(max(len(keys)-1, 1))
	}
	return pos
}

// endPosition is where a table ends. One that has no end reaches to the margin.
func endPosition(pos map[string]float64, f *manifest.FileMeta) float64 {
	if f.LargestBound == base.BoundNone {
		return 1
	}
	return pos[string(f.Largest)]
}

// escapeEnd is the text of where a table ends.
func escapeEnd(f *manifest.FileMeta) string {
	switch f.LargestBound {
	case base.BoundExclusive:
		return escape(f.Largest) + " (exclusive)"
	case base.BoundNone:
		return "(no end)"
	}
	return escape(f.Largest)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
