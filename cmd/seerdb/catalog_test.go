package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/merger"
)

// TestKeyspacesOfStats: what an open database says of its keyspaces is what the
// manifest does, and of many keyspaces the largest are printed, with what the others
// come to.
func TestKeyspacesOfStats(t *testing.T) {
	dir := t.TempDir()
	db, err := seerdb.Open(dir, &seerdb.Options{Durability: seerdb.Relaxed, ValueThreshold: 100, Merger: merger.Counter{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range largestShown + 5 {
		k, err := db.Keyspace(fmt.Sprintf("space%02d", i), nil)
		must(err)
		for j := range 5 * i {
			must(k.Put(fmt.Appendf(nil, "k%d", j), make([]byte, 300*(j%2))))
		}
		must(k.Delete([]byte("k0")))
	}
	must(db.Flush(context.Background()))
	// Where a compaction makes its edit, the manifest has it a moment before readers.
	var figures, want []spaceFigures
	for deadline := time.Now().Add(10 * time.Second); figures == nil || !slices.Equal(figures, want) && time.Now().Before(deadline); {
		state, err := manifest.Recover(vfs.OS, dir)
		must(err)
		figures, want = figuresOfOpen(db.KeyspaceMetrics(), state), figuresOf(state)
	}
	if !slices.Equal(figures, want) || figures[0].Operator == "" || figures[10].L0Runs != 1 || figures[10].Values == 0 {
		t.Errorf("%+v; the manifest has %+v", figures, want)
	}
	var out bytes.Buffer
	must(printLargest(&out, figures))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	tables, sum := 0, uint64(0)
	for _, f := range figures[:6] { // the default one is empty
		tables, sum = tables+f.Tables, sum+f.Bytes+f.Values
	}
	last := fmt.Sprintf("and 6 keyspaces that are no larger, with %d tables, %s in all", tables, size(sum))
	if len(lines) != 1+largestShown+1 || lines[len(lines)-1] != last || !strings.HasPrefix(lines[1], "space05 ") || !strings.HasPrefix(lines[20], "space24 ") {
		t.Errorf("%s\nwant %q", out.String(), last)
	}
}
