package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// TestFiguresAreThoseOfTheFiles: what the metrics say of tables, indexes and value
// files is counted again from the files, and a figure that cannot be right is not
// shown.
func TestFiguresAreThoseOfTheFiles(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir, &seerdb.Options{Durability: seerdb.Relaxed, TableSize: 64 << 10, PageSize: 512}, map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 5000 { // the first half for a model, the other for none
		must(s.Put(fmt.Appendf(nil, "a%09d", i), []byte("value")))
		must(s.Put(fmt.Appendf(nil, "b%x", r.Uint64()>>r.IntN(60)), []byte("value")))
	}
	must(s.Put([]byte("blob"), make([]byte, 5000)))
	must(s.Flush(context.Background()))
	must(s.Compact(context.Background(), nil, nil))
	m, err := metricsOf(context.Background(), s)
	must(err)
	models, segments, tables, tableBytes, valueBytes := figuresOfFiles(must, dir)
	if sstable.AutoMode == sstable.IndexAuto && (models == 0 || models == segments) {
		t.Fatalf("%d models of %d segments: the keys do not show the difference", models, segments)
	}
	x := m.Index
	if x.Windows != models || x.FencePages != segments-models || x.Pages != x.LearnedPages+x.FencePages || x.Tables != tables ||
		m.IO.Tables.Bytes != tableBytes || m.Values.Bytes > valueBytes {
		t.Errorf("%+v, %d bytes of tables, %d of values; the files have %d models, %d fences, %d tables, %d bytes, %d of values", x,
			m.IO.Tables.Bytes, m.Values.Bytes, models, segments-models, tables, tableBytes, valueBytes)
	}
	show := func() string {
		var out bytes.Buffer
		m, err := metricsOf(context.Background(), s)
		must(err)
		must(printStats(&out, m))
		return out.String()
	}
	if text := show(); !strings.Contains(text, fmt.Sprintf("by %s,", counted(models, "model"))) || !strings.Contains(text, "amplified") ||
		strings.Contains(text, "not counted yet") {
		t.Error(text)
	}
	for range 3 {
		must(s.Put([]byte("blob"), make([]byte, 5000)))
	}
	if text := show(); !strings.Contains(text, "of which 0 B garbage, and what the memtable replaces not counted yet") {
		t.Error(text)
	}
	must(s.Close())
	s, err = openStore(dir, &seerdb.Options{}, map[string]string{})
	must(err)
	must(s.Put([]byte("k"), nil))
	must(s.Compact(context.Background(), nil, nil))
	if text := show(); strings.Contains(text, "amplified") {
		t.Errorf("one byte was put since it was opened:\n%s", text)
	}
}

// figuresOfFiles counts in the files of a database what its figures should say. must
// ends the test on an error.
func figuresOfFiles(must func(error), dir string) (models, segments, tables, tableBytes, valueBytes int64) {
	entries, err := os.ReadDir(dir)
	must(err)
	for _, e := range entries {
		info, err := e.Info()
		must(err)
		switch kind, _, ok := base.ParseFileName(e.Name()); {
		case ok && kind == base.FileTypeTable:
			f, err := identify(filepath.Join(dir, e.Name()), kind)
			must(err)
			var text bytes.Buffer
			must(dumpTable(&text, f, dumpOptions{index: true}))
			models += int64(strings.Count(text.String(), ", model x0 "))
			segments += int64(strings.Count(text.String(), "\nsegment "))
			tables++
			tableBytes += info.Size()
		case ok && kind == base.FileTypeValues:
			valueBytes += info.Size()
		}
	}
	return models, segments, tables, tableBytes, valueBytes
}
