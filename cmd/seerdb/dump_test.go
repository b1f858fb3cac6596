package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// What a file of small tables has, and in which keyspaces, is shown.
func TestDumpPack(t *testing.T) {
	dir, _ := drawnDatabase(t, 12)
	files, err := filepath.Glob(filepath.Join(dir, "*.pack"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v: one pack was expected", files, err)
	}
	var out bytes.Buffer
	cmd := dumpCommand()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"pack", "--entries", files[0]})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"space-0000", "space-0011", "@0 table "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "value"); n < 12 {
		t.Errorf("%d values of 12:\n%s", n, text)
	}
}
