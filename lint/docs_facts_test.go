package lint

// This file compares what the documents count and list with what there is.

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
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
