package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// The page of `lsm --html` is HTML and CSS only. Every figure is computed here,
// so that tests can compare it with the files. Its rule is that width means
// bytes. A row of blocks is a sorted run in key order, without gaps, to the
// scale written above it; a block is a table, or several neighbours too small
// to see.

//go:embed lsm.html.tmpl
var lsmTemplate string

var lsmPage = template.Must(template.New("lsm").Parse(lsmTemplate))

const (
	// openTrees keyspaces are drawn, the largest first. foldedTrees more open
	// at a click. The others are lines in a list, which has at most
	// listedTrees: ten thousand trees make no picture.
	openTrees   = 4
	foldedTrees = 36
	listedTrees = 200
	// listedTables bounds the list of tables under a tree.
	listedTables = 300
)

// picture is the content of the page.
type picture struct {
	Title, Dir, Made string
	Cards            []card
	Shares           []block // the keyspaces, by bytes
	Trees, Folded    []*treePicture
	Listed           []*treePicture
	Rest             string // a line about the keyspaces that are not listed
	Values           *valuesPicture
}

// card is a figure with its name.
type card struct{ Figure, Name string }

// treePicture is a keyspace.
type treePicture struct {
	Name, Operator      string
	Bytes, Values, Rows uint64
	Tables              int
	Summary             string
	Scale               string // how many bytes the full width stands for
	Levels              []levelPicture
	Depth               *depthPicture
	Debt                *debtPicture
	List                []tableLine
	ListRest            int // number of tables that are not in List
}

type levelPicture struct {
	Level          int
	Name, Summary  string
	Runs           [][]block
	Hidden         int // number of runs that are not drawn
	TombstoneShare string
}

// tableLine is a table in the list under a tree.
type tableLine struct {
	Name, Level, Size, Rows, Tombstones, From, To, Sequences string
}

// drawPage writes the page.
func drawPage(w io.Writer, dir string, s *manifest.State) error {
	return lsmPage.Execute(w, pictureOf(dir, s, logBytes(dir, s)))
}

// logBytes returns the size of the logs that are not in tables yet.
func logBytes(dir string, s *manifest.State) (n uint64) {
	entries, _ := os.ReadDir(dir) // files that cannot be listed are not shown
	for _, e := range entries {
		if t, num, _ := base.ParseFileName(e.Name()); t == base.FileTypeLog && num >= s.LogNum {
			if info, err := e.Info(); err == nil {
				n += uint64(info.Size())
			}
		}
	}
	return n
}

// pictureOf computes everything that the page shows. inLog is the size of the
// logs.
func pictureOf(dir string, s *manifest.State, inLog uint64) *picture {
	p := &picture{Title: filepath.Base(dir), Dir: dir, Made: time.Now().UTC().Format("2 January 2006, 15:04 MST")}
	debts, valueDebt := compaction.Backlogs(s.Version, compaction.Workload{}, compaction.DefaultConfig())
	var trees []*treePicture
	for _, k := range allSpaces(s) {
		if t := s.Version.Tree(k.ID); k.ID == 0 || tablesOf(t) > 0 {
			trees = append(trees, treeOf(spaceName(&k), k.Merger, t, debts[k.ID]))
		}
	}
	empty := len(allSpaces(s)) - len(trees)
	slices.SortStableFunc(trees, func(a, b *treePicture) int {
		return cmp.Compare(b.Bytes+b.Values, a.Bytes+a.Values)
	})
	p.Cards = cardsOf(s, trees, inLog, debts, valueDebt)
	if len(trees) > 1 {
		p.Shares = sharesOf(trees)
	}
	p.Trees, trees = cut(trees, openTrees)
	p.Folded, trees = cut(trees, foldedTrees)
	p.Listed, trees = cut(trees, listedTrees)
	p.Rest = restOf(trees, empty)
	p.Values = valuesOf(s, valueDebt)
	return p
}

// cut splits a list after the first n elements.
func cut[T any](list []T, n int) (first, rest []T) {
	n = min(n, len(list))
	return list[:n], list[n:]
}

// restOf describes the keyspaces that are not listed.
func restOf(trees []*treePicture, empty int) string {
	var parts []string
	if n := len(trees); n > 0 {
		var bytes uint64
		for _, t := range trees {
			bytes += t.Bytes + t.Values
		}
		parts = append(parts, fmt.Sprintf("%s smaller, %s in all", counted(n, "keyspace"), size(bytes)))
	}
	if empty > 0 {
		parts = append(parts, fmt.Sprintf("%s with nothing in tables", counted(empty, "keyspace")))
	}
	if len(parts) == 0 {
		return ""
	}
	return "Not listed: " + strings.Join(parts, "; ") + "."
}

// cardsOf returns the figures at the head of the page.
func cardsOf(s *manifest.State, trees []*treePicture, inLog uint64, debts map[uint32]uint64, valueDebt uint64) []card {
	var tables, stored, garbage, rows, debt uint64
	count, deepest := 0, 0
	for _, t := range trees {
		tables += t.Bytes
		rows += t.Rows
		count += t.Tables
		if t.Depth != nil {
			deepest = max(deepest, t.Depth.Max)
		}
	}
	for _, v := range s.Version.Values {
		stored += v.Size
		garbage += v.Garbage()
	}
	for _, d := range debts {
		debt += d
	}
	cards := []card{
		{size(tables), "in " + counted(count, "table")},
		{humanize.Comma(int64(rows)), "entries, old versions and tombstones included"},
		{size(inLog), "in the log, not yet in tables"},
	}
	if len(s.Version.Values) > 0 {
		cards = append(cards, card{size(stored), "in " + counted(len(s.Version.Values), "value file")},
			card{size(garbage), "of it garbage"})
	}
	cards = append(cards, card{fmt.Sprint(deepest), "sorted runs at most over a key"},
		card{size(debt + valueDebt), "debt: past what compaction lets lie"})
	if n := len(s.Keyspaces); n > 0 {
		cards = append(cards, card{humanize.Comma(int64(n + 1)), "keyspaces"})
	}
	return cards
}

// sharesOf draws the distribution of the bytes over the keyspaces.
func sharesOf(trees []*treePicture) []block {
	var total uint64
	for _, t := range trees {
		total += t.Bytes + t.Values
	}
	var out []block
	for i, t := range trees {
		n := t.Bytes + t.Values
		if width := percent(n, total); width >= minBlock && i < 40 {
			out = append(out, block{Width: width, Label: t.Name + " · " + size(n), Short: t.Name,
				Title: fmt.Sprintf("%s: %s, %.1f %%", t.Name, size(n), width), Level: i % 2})
			continue
		}
		var rest uint64
		for _, small := range trees[i:] {
			rest += small.Bytes + small.Values
		}
		label := fmt.Sprintf("%s more · %s", humanize.Comma(int64(len(trees)-i)), size(rest))
		return append(out, block{Width: percent(rest, total), Label: label, Short: "…", Title: label, Level: i % 2})
	}
	return out
}

// treeOf draws one keyspace.
func treeOf(name, operator string, t *manifest.Tree, debt uint64) *treePicture {
	p := &treePicture{Name: name, Operator: operator, Tables: tablesOf(t)}
	var scale uint64
	for l := range t.Levels {
		for _, r := range t.Levels[l] {
			scale = max(scale, runBytes(r.Files))
		}
	}
	for l := range t.Levels {
		sum := &t.Sums[l]
		p.Bytes += sum.Bytes
		p.Values += sum.Values
		if len(t.Levels[l]) > 0 {
			level := levelOf(l, t.Levels[l], scale)
			p.Levels = append(p.Levels, level)
		}
	}
	t.All(func(level int, f *manifest.FileMeta) bool {
		p.Rows += f.Entries
		if len(p.List) < listedTables {
			p.List = append(p.List, lineOf(level, f))
		} else {
			p.ListRest++
		}
		return true
	})
	p.Scale = size(scale)
	p.Depth = depthOf(t)
	p.Debt = debtOf(t, debt)
	p.Summary = fmt.Sprintf("%s in %s", size(p.Bytes), counted(p.Tables, "table"))
	if p.Values > 0 {
		p.Summary += fmt.Sprintf(", %s in value files", size(p.Values))
	}
	p.Summary += fmt.Sprintf(", %s", entriesText(p.Rows))
	if operator != "" {
		p.Summary += ", merge operator " + operator
	}
	return p
}

func tablesOf(t *manifest.Tree) (n int) {
	for l := range t.Sums {
		n += t.Sums[l].Tables
	}
	return n
}

func runBytes(files []*manifest.FileMeta) (n uint64) {
	for _, f := range files {
		n += f.Size
	}
	return n
}

// maxRunsDrawn bounds the rows of a level.
const maxRunsDrawn = 24

func levelOf(level int, runs []manifest.Run, scale uint64) levelPicture {
	p := levelPicture{Level: level, Name: fmt.Sprintf("L%d", level)}
	var bytes, entries, deletes, ranges uint64
	tables := 0
	for i, r := range runs {
		bytes += runBytes(r.Files)
		tables += len(r.Files)
		for _, f := range r.Files {
			entries, deletes, ranges = entries+f.Entries, deletes+f.Deletes, ranges+f.Ranges
		}
		if i < maxRunsDrawn {
			p.Runs = append(p.Runs, blocksOf(level, r.Files, scale))
		} else {
			p.Hidden++
		}
	}
	p.Summary = fmt.Sprintf("%s · %s · %s", size(bytes), counted(tables, "table"), counted(len(runs), "run"))
	if deletes > 0 || ranges > 0 {
		p.Summary += fmt.Sprintf(" · %s tombstones", humanize.Comma(int64(deletes+ranges)))
	}
	return p
}

// blocksOf draws a run. Neighbours that would be too narrow to see share a
// block of their common width.
func blocksOf(level int, files []*manifest.FileMeta, scale uint64) (out []block) {
	for len(files) > 0 {
		n, bytes := 1, files[0].Size
		for n < len(files) && percent(bytes, scale) < minBlock {
			bytes += files[n].Size
			n++
		}
		out = append(out, blockOf(level, files[:n], bytes, scale))
		files = files[n:]
	}
	return out
}

func blockOf(level int, files []*manifest.FileMeta, bytes, scale uint64) block {
	var entries, deletes, ranges uint64
	for _, f := range files {
		entries, deletes, ranges = entries+f.Entries, deletes+f.Deletes, ranges+f.Ranges
	}
	first, last := files[0], files[len(files)-1]
	name := tableName(first)
	if len(files) > 1 {
		name = counted(len(files), "table")
	}
	b := block{
		Width: percent(bytes, scale), Level: level, Dead: percent(deletes, entries),
		Label: name + " · " + size(bytes), Short: size(bytes),
	}
	b.Title = fmt.Sprintf("%s: %s, %s, from %s to %s", name, size(bytes), entriesText(entries),
		shortKey(first.Smallest), endText(last))
	if deletes > 0 {
		b.Title += fmt.Sprintf("; %s tombstones", humanize.Comma(int64(deletes)))
	}
	if ranges > 0 {
		b.Title += fmt.Sprintf("; %s range tombstones", humanize.Comma(int64(ranges)))
	}
	return b
}

// tableName returns the name of a table's file, followed by the table's number
// if the file is a pack.
func tableName(f *manifest.FileMeta) string {
	if f.Pack != 0 {
		return fmt.Sprintf("%s, table %d", f.FileName(), f.Num)
	}
	return f.FileName()
}

func lineOf(level int, f *manifest.FileMeta) tableLine {
	comma := func(n uint64) string { return humanize.Comma(int64(n)) }
	return tableLine{
		Name: tableName(f), Level: fmt.Sprintf("L%d", level), Size: size(f.Size),
		Rows: comma(f.Entries), Tombstones: comma(f.Deletes + f.Ranges), From: shortKey(f.Smallest), To: endText(f),
		Sequences: fmt.Sprintf("%d to %d", f.SmallestSeq, f.LargestSeq),
	}
}

// entriesText returns a number of entries as text.
func entriesText(n uint64) string {
	return humanize.Comma(int64(n)) + " " + verb(int64(n), "entry", "entries")
}
