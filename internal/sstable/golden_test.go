package sstable

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/compress"
)

var writeGolden = flag.Bool("write-golden", false, "write the tables in testdata that are missing")

// golden are tables of format version 1 in testdata, as the first release that
// had what is in them wrote them. The files stay as they are for ever; beside each lies its
// content as text.
var golden = []struct {
	name, shape string
	o           WriterOptions
	ranges      int
}{
	{"v1-hex", "hex", WriterOptions{PageSize: 120, FilterBits: 10, Index: IndexLearned}, 0},
	{"v1-urls", "urls", WriterOptions{PageSize: 200, FilterBits: 8, Index: IndexLearned, Codec: compress.S2}, 0},
	{"v1-versions", "versions", WriterOptions{PageSize: 250, Codec: compress.Zstd}, 0},
	{"v1-windows", "sameWindow", WriterOptions{PageSize: 120, FilterBits: 12, Codec: compress.LZ4}, 0},
	{"v1-fences", "decimal", WriterOptions{PageSize: 120, Index: IndexFences}, 0},
	{"v1-ranges", "hex", WriterOptions{PageSize: 300, FilterBits: 10, Codec: compress.S2}, 12},
}

// TestGolden reads what earlier versions wrote.
func TestGolden(t *testing.T) {
	for _, g := range golden {
		file := filepath.Join("testdata", g.name+".sst")
		data, err := os.ReadFile(file)
		if os.IsNotExist(err) && *writeGolden {
			rnd := rand.New(rand.NewPCG(42, 42))
			rows := makeRows(rnd, g.shape, 90)
			data, _ = buildRanged(t, rows, makeRanges(rnd, rows, g.ranges), g.o)
			err = os.WriteFile(file, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		r := openTable(t, data, nil)
		if err := r.Verify(context.Background(), nil); err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		var text bytes.Buffer
		if err := r.Dump(&text, DumpOptions{Entries: true}); err != nil {
			t.Fatal(err)
		}
		textFile := strings.TrimSuffix(file, ".sst") + ".txt"
		want, err := os.ReadFile(textFile)
		if os.IsNotExist(err) && *writeGolden {
			want, err = text.Bytes(), os.WriteFile(textFile, text.Bytes(), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text.Bytes(), bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))) {
			t.Errorf("%s: read differently than before; %d bytes of text, want %d", g.name, text.Len(), len(want))
		}
	}
}

// TestWriterIsDeterministic: equal entries make equal files.
func TestWriterIsDeterministic(t *testing.T) {
	for shape := range keyShapes {
		rows := makeRows(rand.New(rand.NewPCG(1, 1)), shape, 500)
		a, _ := buildTable(t, rows, WriterOptions{PageSize: 300, FilterBits: 10})
		b, _ := buildTable(t, rows, WriterOptions{PageSize: 300, FilterBits: 10})
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two tables of the same entries differ", shape)
		}
	}
}
