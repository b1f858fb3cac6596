package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// drawnDatabase makes a database with several runs, tombstones, value files and
// spaces keyspaces besides the default one.
func drawnDatabase(t *testing.T, spaces int) (string, *manifest.State) {
	t.Helper()
	dir := t.TempDir()
	db, err := seerdb.Open(dir, &seerdb.Options{Durability: seerdb.Relaxed, MemtableSize: 64 << 10, TableSize: 8 << 10, ValueThreshold: 512})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		for i := range 1500 {
			key := fmt.Appendf(nil, "key%05d", (i*7+round*400)%4000)
			switch {
			case i%5 == round:
				must(db.Delete(key))
			case i%11 == 0:
				must(db.Put(key, bytes.Repeat([]byte{byte(i)}, 600)))
			default:
				must(db.Put(key, fmt.Appendf(nil, "value %d of %d", i, round)))
			}
		}
		must(db.Flush(context.Background()))
	}
	for i := range spaces {
		k, err := db.Keyspace(fmt.Sprintf("space-%04d", i), nil)
		must(err)
		must(k.Put([]byte("key"), []byte("value")))
	}
	must(db.Flush(context.Background()))
	must(db.Close())
	s, err := manifest.Recover(vfs.OS, dir)
	must(err)
	return dir, s
}

// Every width is bytes: the blocks of a run, in the scale of its tree, are as
// wide as its files are long, and the files on disk are that long.
func TestPictureIsToScale(t *testing.T) {
	dir, s := drawnDatabase(t, 0)
	for num, v := range s.Version.Values { // jobs leave more or less garbage, as they come
		half := *v
		half.LiveBytes = v.Bytes / 2
		s.Version.Values[num] = &half
	}
	p := pictureOf(dir, s, 0)
	tree := s.Version.Tree(0)
	var scale int64
	fileBytes := func(r manifest.Run) (n int64) {
		for _, f := range r.Files {
			info, err := os.Stat(filepath.Join(dir, base.FileName(base.FileTypeTable, f.Num)))
			if err != nil {
				t.Fatal(err)
			}
			n += info.Size()
		}
		return n
	}
	for l := range tree.Levels {
		for _, r := range tree.Levels[l] {
			scale = max(scale, fileBytes(r))
		}
	}
	drawn := 0
	for _, level := range p.Trees[0].Levels {
		for i, blocks := range level.Runs {
			width := 0.0
			for _, b := range blocks {
				width += b.Width
				drawn++
				if b.Label == "" || b.Title == "" {
					t.Errorf("L%d: a block without a label: %+v", level.Level, b)
				}
			}
			want := 100 * float64(fileBytes(tree.Levels[level.Level][i])) / float64(scale)
			if math.Abs(width-want) > 1e-6 {
				t.Errorf("L%d run %d is %.3f %% wide; its files are %.3f %% of the scale", level.Level, i, width, want)
			}
		}
	}
	if drawn < 5 {
		t.Fatalf("only %d blocks: the database does not test the picture", drawn)
	}
	var garbage, stored float64
	for _, b := range p.Values.Blocks {
		stored += b.Width
		garbage += b.Width * b.Dead / 100
	}
	if math.Abs(stored-100) > 1e-6 || math.Abs(garbage-50) > 1 {
		t.Errorf("value files: widths sum to %.3f %%, garbage %.3f %% where half is", stored, garbage)
	}
}

// The depth at a key is the number of runs with a table over it.
func TestPictureDepth(t *testing.T) {
	_, s := drawnDatabase(t, 0)
	tree := s.Version.Tree(0)
	intervals, _ := intervalsOf(tree)
	var total float64
	deepest := 0
	for _, in := range intervals {
		want := 0
		for l := range tree.Levels {
			for _, r := range tree.Levels[l] {
				for _, f := range r.Files {
					if in.from != nil && !f.StartsAfter(in.from) && !f.EndsBefore(in.from) {
						want++
					}
				}
			}
		}
		if in.runs != want {
			t.Errorf("%d runs from %q on; tables say %d", in.runs, in.from, want)
		}
		total += in.bytes
		deepest = max(deepest, want)
	}
	var bytes uint64
	for l := range tree.Sums {
		bytes += tree.Sums[l].Bytes
	}
	if math.Abs(total-float64(bytes)) > 1 {
		t.Errorf("the intervals hold %.1f bytes, the tables %d", total, bytes)
	}
	d := depthOf(tree)
	if d.Max != deepest || deepest < 2 {
		t.Errorf("depth %d at most; tables say %d", d.Max, deepest)
	}
	width := 0.0
	for _, b := range d.Blocks {
		width += b.Width
	}
	if math.Abs(width-100) > 1e-6 {
		t.Errorf("the depths are %.4f %% wide", width)
	}
}

// Hundreds of keyspaces are a page that still opens: few trees are drawn, some
// fold, others are lines, and the rest is one sentence.
func TestPictureFoldsKeyspaces(t *testing.T) {
	const spaces = 300
	dir, s := drawnDatabase(t, spaces)
	p := pictureOf(dir, s, 0)
	if len(p.Trees) != openTrees || len(p.Folded) != foldedTrees || len(p.Listed) != listedTrees || !strings.Contains(p.Rest, "61 keyspaces smaller") {
		t.Errorf("%d drawn, %d folded, %d listed, rest %q", len(p.Trees), len(p.Folded), len(p.Listed), p.Rest)
	}
	var width float64
	for _, b := range p.Shares {
		width += b.Width
	}
	if math.Abs(width-100) > 1e-6 {
		t.Errorf("the keyspaces are %.4f %% wide", width)
	}
	var out bytes.Buffer
	if err := drawPage(&out, dir, s); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 300<<10 {
		t.Errorf("the page has %d bytes", out.Len())
	}
}

// What keys and names contain is text on the page, never markup.
func TestPictureEscapes(t *testing.T) {
	dir := t.TempDir()
	db, err := seerdb.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := db.Keyspace("<b>bold</b>", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Put([]byte("<script>alert(1)</script>"), nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := manifest.Recover(vfs.OS, dir)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := drawPage(&out, dir, s); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<b>bold"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("the page contains %s", bad)
		}
	}
	if !strings.Contains(out.String(), "&lt;b&gt;bold") {
		t.Error("the page does not name the keyspace")
	}
}
