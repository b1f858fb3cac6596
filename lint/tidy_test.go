package lint

// This file holds the rules of the house that a machine can check: sizes,
// package comments, formatting, and what must not be left lying about.

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// Files and functions beyond these sizes were the ones hard to read in every
// storage engine we measured; the code bases that read well have a median file
// of 90 to 200 lines and hardly a file over 600.
const (
	maxFileLines = 600
	maxFuncLines = 70
)

// tidyExceptions are the files ("dir/file.go") and functions
// ("dir/file.go:Name") that are longer, with their exact size. The list may
// only shrink: an entry whose size is not the true one fails the test, so that
// what shrinks is noted and what grows is seen in review.
var tidyExceptions = map[string]int{}

// tidyVague are words in the place of an actor (the flusher, callers, readers at older
// snapshots) or of a time, split as below.
var tidyVague = []string{
	"who" + "ever", "some" + "body", "no" + "body", "any" + "body", "every" + "body", "mean" + "while",
	"is to" + "ld", "tells o" + "f", "held aga" + "inst", "comes to l" + "ie", "reckoned w" + "ith",
}

// What no text of ours contains. The words are split so that this file passes.
var (
	tidyMarkers = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	tidyWords   = regexp.MustCompile(`(?i)\b(` + strings.Join(tidyVague, "|") + `)\b`)
	tidyPaths   = regexp.MustCompile(`(^|[\s"'` + "`" + `(=:])(/ro` + `ot|/ho` + `me/\w+|/Us` + `ers/\w+|/wo` + `rk)(/|\b)`)
)

// tidyFile is what the check learns of one Go file.
type tidyFile struct {
	pkg      string // directory and package name
	doc      bool   // has a package comment that godoc shows
	sizes    map[string]int
	problems []string
}

func tidyGo(name string, src []byte) (tidyFile, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.ParseComments)
	if err != nil {
		return tidyFile{}, err
	}
	out := tidyFile{
		pkg:   path.Dir(name) + " (" + f.Name.Name + ")",
		doc:   f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "",
		sizes: map[string]int{},
	}
	if n := bytes.Count(src, []byte("\n")); n > maxFileLines {
		out.sizes[name] = n
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFuncLines {
			out.sizes[name+":"+fn.Name.Name] = n
		}
	}
	if want, err := format.Source(src); err != nil || !bytes.Equal(src, want) {
		out.problems = append(out.problems, name+": not as gofmt writes it")
	}
	return out, nil
}

// tidyText checks what holds for every text, code or not.
func tidyText(name string, src []byte) []string {
	var bad []string
	for i, line := range strings.Split(string(src), "\n") {
		if m := tidyMarkers.FindString(line); m != "" {
			bad = append(bad, fmt.Sprintf("%s:%d: %s: do it, or write down why not", name, i+1, m))
		}
		if m := tidyPaths.FindString(line); m != "" {
			bad = append(bad, fmt.Sprintf("%s:%d: a path of one machine: %s", name, i+1, strings.TrimSpace(m)))
		}
		if m := tidyWords.FindString(line); m != "" && !strings.Contains(name, "testdata/") {
			bad = append(bad, fmt.Sprintf("%s:%d: %q: name the one that acts, or say when", name, i+1, m))
		}
	}
	return bad
}

// isText says whether a file is one of the texts that people write here.
func isText(name string) bool {
	return slices.Contains([]string{".go", ".md", ".txt", ".txtar", ".mod", ".sh", ".yml"}, path.Ext(name)) || name == ".ci/run"
}

// checkTidy lists every departure from the rules in the tree, nested modules
// included.
func checkTidy(tree fs.FS, exceptions map[string]int) ([]string, error) {
	var bad []string
	sizes, documented := map[string]int{}, map[string]bool{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := path.Base(name); name != "." && base != ".ci" && (base == "fuzz" || base[0] == '.') {
				return fs.SkipDir
			}
			return nil
		}
		if !isText(name) {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		bad = append(bad, tidyText(name, src)...)
		if path.Ext(name) != ".go" || strings.Contains(name, "testdata/") {
			return nil
		}
		f, err := tidyGo(name, src)
		if err != nil {
			return err
		}
		bad = append(bad, f.problems...)
		for k, n := range f.sizes {
			sizes[k] = n
		}
		if !strings.HasSuffix(name, "_test.go") {
			documented[f.pkg] = documented[f.pkg] || f.doc
		}
		return nil
	})
	for pkg, ok := range documented {
		if !ok {
			bad = append(bad, pkg+": no package comment that godoc would show")
		}
	}
	bad = append(bad, checkSizes(sizes, exceptions)...)
	slices.Sort(bad)
	return bad, err
}

func checkSizes(sizes, exceptions map[string]int) []string {
	var bad []string
	for k, n := range sizes {
		limit := maxFileLines
		if strings.Contains(k, ":") {
			limit = maxFuncLines
		}
		if exceptions[k] != n {
			bad = append(bad, fmt.Sprintf("%s has %d lines, over %d", k, n, limit))
		}
	}
	for k, n := range exceptions {
		if sizes[k] != n {
			bad = append(bad, fmt.Sprintf("the exception for %s says %d lines, and it has %d (0: within the limit): mend the list", k, n, sizes[k]))
		}
	}
	return bad
}

// skipTwice skips checks of the source in short runs, which are second runs of
// everything under other build tags or on other machines: the answer would be
// the same, and under the race detector it takes 20 s.
func skipTwice(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the source is the same in every build")
	}
}

// TestTidy checks the tree against the rules.
func TestTidy(t *testing.T) {
	skipTwice(t)
	bad, err := checkTidy(os.DirFS("."), tidyExceptions)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bad {
		t.Error(b)
	}
}

// TestTidyFinds checks that the check sees what it is there for.
func TestTidyFinds(t *testing.T) {
	long := func(n int) string { return strings.Repeat("\t_ = 0\n", n) }
	cases := []struct{ name, file, src, want string }{
		{"clean", "p/b.go", "package p\n\nfunc f() {\n" + long(maxFuncLines-2) + "}\n", ""},
		{"long function", "p/b.go", "package p\n\nfunc f() {\n" + long(maxFuncLines-1) + "}\n", "p/b.go:f has 71 lines"},
		{"long file", "p/b.go", "package p\n" + strings.Repeat("\n// c\n", maxFileLines/2), "p/b.go has 601 lines"},
		{"format", "p/b.go", "package p\nvar  x = 1\n", "not as gofmt"},
		{"lost comment", "q/a.go", "// Package q is lost.\n\npackage q\n", "q (q): no package comment"},
		{"marker", "docs/a.md", "a\nTO" + "DO: b\n", "docs/a.md:2: TO" + "DO"},
		{"no marker", "docs/a.md", "XX" + "XX\nmktemp -d x.XX" + "XXXX\n", ""},
		{"path", ".ci/run", "cd /ho" + "me/me/src\n", "a path of one machine"},
		{"no path", "docs/a.md", "a root/work home, and/work too\n", ""},
		{"word", "docs/a.md", "One waits, and some" + "body writes.\n", "docs/a.md:1: \"some" + "body\""},
		{"no word", "docs/a.md", "It is toldest, bodies tell.\n", ""},
		{"nested module", "bench/a.go", "package bench\n", "bench (bench): no package comment"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tree := fstest.MapFS{
				"p/a.go": {Data: []byte("// Package p is fine.\npackage p\n")}, "bench/go.mod": {Data: []byte("module x\n")},
				c.file: {Data: []byte(c.src)},
			}
			bad, err := checkTidy(tree, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(bad, "\n")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || len(bad) > 1 {
				t.Errorf("found %q, want exactly one line with %q", got, c.want)
			}
		})
	}
	if bad := checkSizes(map[string]int{"a.go": 700}, map[string]int{"a.go": 701, "b.go": 800}); len(bad) != 3 {
		t.Errorf("stale exceptions: found %q", bad)
	}
}
