package seerdb_test

// This file compares what the documents count and list with what there is.

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// quotedIn lists what stands in backquotes in the first column of a table.
func quotedIn(table string) (out []string) {
	for line := range strings.Lines(table) {
		if column, _, ok := strings.Cut(strings.TrimPrefix(line, "|"), "|"); ok && strings.HasPrefix(line, "|") {
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(column, -1) {
				out = append(out, m[1])
			}
		}
	}
	return out
}

// TestDocLayout: the table of packages in docs/ARCHITECTURE.md lists every
// directory with Go code, and no other.
func TestDocLayout(t *testing.T) {
	var want []string
	err := walkGo(os.DirFS("."), func(name string, _ []byte) error {
		dir := path.Dir(name)
		if dir == "." {
			dir = "seerdb"
		}
		if !slices.Contains(want, dir) {
			want = append(want, dir)
		}
		return nil
	})
	dbtest.Must(t, err)
	got := quotedIn(dbtest.Section(t, "docs/ARCHITECTURE.md", "## Layout"))
	slices.Sort(want)
	for _, dir := range want {
		if !slices.Contains(got, dir) {
			t.Errorf("docs/ARCHITECTURE.md does not list %s", dir)
		}
	}
	for i, dir := range got {
		if slices.Index(got, dir) != i {
			t.Errorf("docs/ARCHITECTURE.md lists %s twice", dir)
		}
		if info, err := fs.Stat(os.DirFS("."), dir); dir != "seerdb" && (err != nil || !info.IsDir()) {
			t.Errorf("docs/ARCHITECTURE.md lists %s, which is not there", dir)
		}
	}
}

// TestDocFileNames: the table of files in docs/FORMAT.md has a name of every
// type of file, and every name in it is one.
func TestDocFileNames(t *testing.T) {
	var seen []base.FileType
	for _, name := range quotedIn(dbtest.Section(t, "docs/FORMAT.md", "## Files of a database")) {
		kind, _, ok := base.ParseFileName(name)
		if !ok {
			t.Errorf("docs/FORMAT.md lists %s, which is no name of a file", name)
		}
		seen = append(seen, kind)
	}
	for kind := base.FileTypeUnknown + 1; base.FileName(kind, 1) != ""; kind++ {
		if !slices.Contains(seen, kind) {
			t.Errorf("docs/FORMAT.md does not list files such as %s", base.FileName(kind, 1))
		}
	}
}

// TestDocLayers: docs/TESTING.md says how many sets of options the models run
// under, and lists each layer and each test once.
func TestDocLayers(t *testing.T) {
	layers := dbtest.Section(t, "docs/TESTING.md", "## Layers")
	var got []string
	for _, m := range regexp.MustCompile(`(\d+) sets of options`).FindAllStringSubmatch(layers, -1) {
		got = append(got, m[1])
	}
	if want := []string{strconv.Itoa(len(configs())), strconv.Itoa(len(wideConfigs()))}; !slices.Equal(got, want) {
		t.Errorf("docs/TESTING.md says that the models run under %v sets of options; it is %v", got, want)
	}
	b, err := os.ReadFile("docs/TESTING.md")
	dbtest.Must(t, err)
	rows := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		first, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if !ok || !strings.HasPrefix(line, "| ") || first == "layer" || first == "test" {
			continue
		}
		if rows[first] {
			t.Errorf("docs/TESTING.md has two rows %q", first)
		}
		rows[first] = true
	}
}
