package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// depthPicture shows, in key order, how many sorted runs a read of a key
// visits. The horizontal axis has the keys, scaled by bytes: a position shows
// how much of the tree is before it. The bytes of each table are taken as
// spread evenly over the boundaries of other tables that it spans.
type depthPicture struct {
	Blocks []block
	Keys   []keyMark
	Max    int
	Mean   float64 // average over the bytes
}

// keyMark is a key with its horizontal position in percent.
type keyMark struct {
	Left float64
	Text string
}

// interval is the part between two neighbouring boundaries of tables.
type interval struct {
	from  []byte
	first bool // a table begins at from
	runs  int
	bytes float64
}

// depthOf computes the depth of a tree, or returns nil if it is empty.
func depthOf(t *manifest.Tree) *depthPicture {
	intervals, last := intervalsOf(t)
	var total, weighted float64
	p := &depthPicture{}
	for _, in := range intervals {
		total += in.bytes
		weighted += in.bytes * float64(in.runs)
		p.Max = max(p.Max, in.runs)
	}
	if total == 0 {
		return nil
	}
	p.Mean = weighted / total
	p.Blocks = depthBlocks(intervals, total)
	p.Keys = keyMarks(intervals, total, last)
	return p
}

// keyMarks returns some keys at which tables begin, far enough apart to be
// legible, and the last key.
func keyMarks(intervals []interval, total float64, last string) (marks []keyMark) {
	const apart = 18
	at := 0.0
	for _, in := range intervals {
		left := 100 * at / total
		if in.first && left < 100-apart && (len(marks) == 0 || left >= marks[len(marks)-1].Left+apart) {
			marks = append(marks, keyMark{left, shortKey(in.from)})
		}
		at += in.bytes
	}
	return append(marks, keyMark{100, last})
}

// intervalsOf cuts the key space at every boundary of a table. last is the end
// of the tree's keys as text.
func intervalsOf(t *manifest.Tree) (intervals []interval, last string) {
	var bounds [][]byte
	var end *manifest.FileMeta
	t.All(func(_ int, f *manifest.FileMeta) bool {
		bounds = append(bounds, f.Smallest, afterEnd(f))
		if end == nil || f.End().Compare(end.End()) > 0 {
			end = f
		}
		return true
	})
	if end == nil {
		return nil, ""
	}
	slices.SortFunc(bounds, compareBounds)
	bounds = slices.CompactFunc(bounds, func(a, b []byte) bool { return compareBounds(a, b) == 0 })
	intervals = make([]interval, len(bounds))
	for i, b := range bounds {
		intervals[i].from = b
	}
	// Record changes first, then sum them: otherwise tables that span
	// everything would make this quadratic.
	t.All(func(_ int, f *manifest.FileMeta) bool {
		from, _ := slices.BinarySearchFunc(bounds, f.Smallest, compareBounds)
		to, _ := slices.BinarySearchFunc(bounds, afterEnd(f), compareBounds)
		share := float64(f.Size) / float64(to-from)
		intervals[from].first = true
		intervals[from].runs++
		intervals[from].bytes += share
		intervals[to].runs--
		intervals[to].bytes -= share
		return true
	})
	for i := 1; i < len(intervals); i++ {
		intervals[i].runs += intervals[i-1].runs
		intervals[i].bytes += intervals[i-1].bytes
		if intervals[i].runs == 0 {
			intervals[i].bytes = 0 // not the rounding error
		}
	}
	return intervals, endText(end)
}

// afterEnd returns the first key after a table; nil is after every key.
func afterEnd(f *manifest.FileMeta) []byte {
	switch f.LargestBound {
	case base.BoundExclusive:
		return f.Largest
	case base.BoundNone:
		return nil
	}
	return append(bytes.Clone(f.Largest), 0)
}

// compareBounds compares keys; nil is greater than every key.
func compareBounds(a, b []byte) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return bytes.Compare(a, b)
}

// depthBlocks joins neighbours of the same depth, and joins intervals that are
// too narrow to see with the next; a block shows its largest depth.
func depthBlocks(intervals []interval, total float64) (out []block) {
	deepest, width := 0, 0.0
	flush := func() {
		if width > 0 {
			out = append(out, block{Width: width, Level: min(deepest, 8), Label: fmt.Sprint(deepest), Short: fmt.Sprint(deepest),
				Title: fmt.Sprintf("a read looks at up to %s here", counted(deepest, "sorted run"))})
		}
		deepest, width = 0, 0
	}
	for _, in := range intervals {
		if in.bytes == 0 {
			continue
		}
		if in.runs != deepest && width >= minBlock {
			flush()
		}
		deepest, width = max(deepest, in.runs), width+100*in.bytes/total
	}
	flush()
	return out
}

// debtPicture shows how much is above the last level and how much may be.
type debtPicture struct {
	Upper, Room, Debt uint64
	Width, Tick       float64 // of Upper and Room, in percent of the larger
	Space             float64 // all bytes divided by those of the last level; 0 if that is empty
	Text              string
}

// debtOf computes the debt of a tree, or returns nil if everything is in the
// last level.
func debtOf(t *manifest.Tree, debt uint64) *debtPicture {
	p := &debtPicture{Debt: debt, Room: compaction.Room(t, compaction.Workload{}, compaction.DefaultConfig())}
	last := &t.Sums[base.NumLevels-1]
	for l := range base.NumLevels - 1 {
		p.Upper += t.Sums[l].Bytes + t.Sums[l].Values
	}
	if p.Upper == 0 {
		return nil
	}
	whole := max(p.Upper, p.Room)
	p.Width, p.Tick = percent(p.Upper, whole), percent(p.Room, whole)
	p.Text = fmt.Sprintf("%s above the last level, default options leave room for %s", size(p.Upper), size(p.Room))
	if debt > 0 {
		p.Text += fmt.Sprintf(": %s of debt", size(debt))
	}
	if n := last.Bytes + last.Values; n > 0 {
		p.Space = float64(n+p.Upper) / float64(n)
		p.Text += fmt.Sprintf("; at worst %.2f bytes are stored for one that lives", p.Space)
	}
	return p
}

// valuesPicture shows the value files.
type valuesPicture struct {
	Summary, Scale string
	Blocks         []block
}

// valuesOf draws the value files, or returns nil if there are none: the width
// of a block is the size of the file, and the hatched part is garbage.
func valuesOf(s *manifest.State, debt uint64) *valuesPicture {
	files := make([]*manifest.ValueFile, 0, len(s.Version.Values))
	var total, stored, garbage uint64
	for _, num := range slices.Sorted(maps.Keys(s.Version.Values)) {
		v := s.Version.Values[num]
		files = append(files, v)
		total, stored, garbage = total+v.Size, stored+v.Bytes, garbage+v.Garbage()
	}
	if len(files) == 0 {
		return nil
	}
	p := &valuesPicture{Scale: size(total)}
	p.Summary = fmt.Sprintf("%s in %s, %.1f %% of it garbage", size(total), counted(len(files), "file"), percent(garbage, stored))
	if debt > 0 {
		p.Summary += fmt.Sprintf(", %s more than compaction lets lie", size(debt))
	}
	for len(files) > 0 {
		n, bytes, of, dead := 0, uint64(0), uint64(0), uint64(0)
		for n == 0 || n < len(files) && percent(bytes, total) < minBlock {
			bytes, of, dead = bytes+files[n].Size, of+files[n].Bytes, dead+files[n].Garbage()
			n++
		}
		name := base.FileName(base.FileTypeValues, files[0].Num)
		if n > 1 {
			name = counted(n, "file")
		}
		share := percent(dead, of)
		p.Blocks = append(p.Blocks, block{
			Width: percent(bytes, total), Dead: share, Label: name + " · " + size(bytes), Short: size(bytes),
			Title: fmt.Sprintf("%s: %s, %.1f %% garbage", name, size(bytes), share),
		})
		files = files[n:]
	}
	return p
}
