package lint

// This file holds the import lattice of the module. It is a statement of
// policy: a new edge is a reviewed line here with a reason, never a way to make
// a build pass. The idea is that of go/build/deps_test.go.

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// depsPolicy says what each package may import: a line is
//
//	package: our packages | guarded packages
//
// Our packages are named without the prefix internal/; "." is the root. A line
// may name only packages on lines above it, so the policy cannot hold a cycle.
// The leaves (depsLeaves) may be imported by everyone and are not named.
//
// Guarded are all third-party packages and those of the standard library
// through which a package could go round a border: os and syscall round vfs,
// unsafe round the type system, net to the outside, log past log/slog. All
// others of the standard library are free.
//
// The policy is exact: an edge that no file uses is an error too.
const depsPolicy = `
	invariant:
	work:
	failpoint:     | os
	private:
	offheap:       | golang.org/x/sys/unix
	memlimit:      | os
	observe:
	keycodec:
	merger:
	valuecodec:    keycodec merger

	base:          private | github.com/zeebo/xxh3
	rangedel:      base
	learned:       base
	filter:
	compress:      | github.com/klauspost/compress/s2 github.com/klauspost/compress/zstd github.com/pierrec/lz4/v4
	cache:

	vfs:           base | golang.org/x/sys/unix golang.org/x/sys/windows os syscall
	record:        base
	batch:         base
	extsort:       base vfs compress
	retry:         base
	txn:           base batch
	poison:        base
	merge:         base
	memtable:      base rangedel batch | unsafe
	latency:       observe
	clock:         observe
	writeset:      base batch rangedel
	sstable/block: base

	wal:           base vfs record
	generation:    base memtable wal
	manifest:      base vfs record
	versions:      base vfs manifest poison
	filecache:     vfs
	pack:          base
	valuelog:      base cache compress
	sstable:       base rangedel filter learned compress cache sstable/block
	compaction:    base rangedel manifest valuelog sstable
	readstate:     observe base rangedel vfs filecache pack cache clock latency memtable generation manifest valuelog sstable

	pins:          cache readstate
	callback:      observe base compaction
	report:        observe base callback
	keyspace:      base batch compress compaction manifest versions
	reserve:       base vfs batch
	pace:          batch
	commit:        observe base poison work vfs clock latency writeset batch txn memtable wal generation manifest versions readstate pins callback report keyspace reserve pace
	outputs:       base vfs pack compress manifest valuelog sstable compaction readstate
	jobs:          observe base poison work vfs clock latency batch rangedel merge generation manifest versions sstable compaction readstate callback report keyspace reserve pace outputs commit
	bulk:          base poison work vfs cache filecache extsort versions compaction readstate callback report keyspace commit jobs
	dbiter:        base rangedel memtable generation merge sstable compaction readstate pins txn writeset
	engine:        jobs bulk commit work poison versions report keyspace clock writeset generation readstate pins dbiter callback reserve pace outputs observe memlimit base vfs filecache pack compress cache batch txn memtable wal manifest valuelog sstable compaction
	.:             private observe base compress batch compaction engine retry
	typed:         . private keycodec valuecodec
	sequence:      .

	cmd/seerdb:    . observe merger base vfs record batch wal manifest pack valuelog sstable compaction | github.com/dustin/go-humanize github.com/schollz/progressbar/v3 github.com/spf13/cobra github.com/spf13/pflag golang.org/x/sys/windows golang.org/x/term os os/exec
`

// depsLeaves hold no state of a database and know nothing of one.
var depsLeaves = []string{"invariant", "failpoint", "offheap"}

// depsTests are the third-party packages that test files may use, in any
// package. What test files import of the standard library and of ours is free,
// but for the compiler's own rule against cycles.
var depsTests = []string{
	"github.com/anishathalye/porcupine",
	"github.com/google/go-cmp/cmp",
	"github.com/rogpeppe/go-internal/testscript",
	"go.uber.org/goleak",
	"pgregory.net/rapid",
}

// depsTestOnly are packages of ours that only test files may import. They have
// no line in the policy: what holds for test files holds for them.
var depsTestOnly = []string{"dbtest", "jobs/jobstest", "readstate/readstatetest", "testkit", "vfs/faultfs", "vfs/memfs", "vfs/vfstest"}

var depsGuardedStd = []string{"C", "log", "net", "os", "os/exec", "plugin", "reflect", "syscall", "unsafe"}

// depsRule is one line of the policy.
type depsRule struct{ ours, guarded []string }

func parseDepsPolicy(text string) (map[string]depsRule, error) {
	rules := map[string]depsRule{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("policy: no colon in %q", line)
		}
		if _, dup := rules[name]; dup {
			return nil, fmt.Errorf("policy: two lines for %s", name)
		}
		ours, guarded, _ := strings.Cut(rest, "|")
		r := depsRule{strings.Fields(ours), strings.Fields(guarded)}
		for _, o := range r.ours {
			if _, above := rules[o]; !above {
				return nil, fmt.Errorf("policy: %s names %s, which is not on a line above it", name, o)
			}
			if slices.Contains(depsLeaves, o) {
				return nil, fmt.Errorf("policy: %s names the leaf %s, which everyone may import", name, o)
			}
		}
		rules[name] = r
	}
	return rules, nil
}

// depsImports are the imports of one package: path to a file that has it.
type depsImports map[string]string

// readDeps collects, for every package of the module, what its files import,
// under whatever build tags.
func readDeps(tree fs.FS) (code, tests map[string]depsImports, err error) {
	code, tests = map[string]depsImports{}, map[string]depsImports{}
	err = walkGo(tree, func(name string, src []byte) error {
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg, into := shortName(path.Dir(name)), code
		if strings.HasSuffix(name, "_test.go") || slices.Contains(depsTestOnly, pkg) {
			into = tests
		}
		if into[pkg] == nil {
			into[pkg] = depsImports{}
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			into[pkg][p] = name
		}
		return nil
	})
	return code, tests, err
}

// walkGo calls fn for every Go file of the module in tree: not for nested
// modules, testdata, or what the go command ignores.
func walkGo(tree fs.FS, fn func(name string, src []byte) error) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name == "." {
				return nil
			}
			base := path.Base(name)
			if base == "testdata" || base[0] == '.' || base[0] == '_' {
				return fs.SkipDir
			}
			if _, err := fs.Stat(tree, path.Join(name, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		return fn(name, src)
	})
}

// shortName returns the policy's name for the package in a directory.
func shortName(dir string) string { return strings.TrimPrefix(dir, "internal/") }

// importName returns the policy's name for an import, and whether the import is ours.
func importName(p string) (name string, ours bool) {
	if p == dbtest.ModulePath {
		return ".", true
	}
	if rest, ok := strings.CutPrefix(p, dbtest.ModulePath+"/"); ok {
		return shortName(rest), true
	}
	return p, false
}

func guarded(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".") || slices.Contains(depsGuardedStd, p)
}

// checkDeps lists every way in which the tree departs from the policy.
func checkDeps(tree fs.FS, policy string) ([]string, error) {
	rules, err := parseDepsPolicy(policy)
	if err != nil {
		return nil, err
	}
	code, tests, err := readDeps(tree)
	if err != nil {
		return nil, err
	}
	var bad []string
	for pkg, imports := range code {
		r, ok := rules[pkg]
		if !ok {
			bad = append(bad, fmt.Sprintf("package %s has no line in the policy", pkg))
			continue
		}
		bad = append(bad, checkImports(pkg, r, imports)...)
	}
	for pkg := range rules {
		if code[pkg] == nil {
			bad = append(bad, fmt.Sprintf("the policy has a line for %s, which has no files", pkg))
		}
	}
	for _, imports := range tests {
		for p, file := range imports {
			if _, ours := importName(p); !ours && strings.Contains(strings.Split(p, "/")[0], ".") && !slices.Contains(depsTests, p) {
				if _, inCode := anyRuleAllows(rules, p); !inCode {
					bad = append(bad, fmt.Sprintf("%s: tests may not import %s", file, p))
				}
			}
		}
	}
	slices.Sort(bad)
	return bad, nil
}

// anyRuleAllows finds a package whose code may import p: what the module
// depends on anyway, its tests may use as well.
func anyRuleAllows(rules map[string]depsRule, p string) (string, bool) {
	for pkg, r := range rules {
		if slices.Contains(r.guarded, p) {
			return pkg, true
		}
	}
	return "", false
}

func checkImports(pkg string, r depsRule, imports depsImports) []string {
	var bad []string
	used := map[string]bool{}
	for p, file := range imports {
		name, ours := importName(p)
		used[name] = true
		switch {
		case ours && slices.Contains(depsTestOnly, name):
			bad = append(bad, fmt.Sprintf("%s: only test files may import %s", file, name))
		case ours && !slices.Contains(depsLeaves, name) && !slices.Contains(r.ours, name),
			!ours && guarded(p) && !slices.Contains(r.guarded, p):
			bad = append(bad, fmt.Sprintf("%s: %s may not import %s", file, pkg, name))
		}
	}
	for _, name := range slices.Concat(r.ours, r.guarded) {
		if !used[name] {
			bad = append(bad, fmt.Sprintf("the policy lets %s import %s, and no file does: drop the edge", pkg, name))
		}
	}
	return bad
}

// TestDeps checks the tree against the policy.
func TestDeps(t *testing.T) {
	skipTwice(t)
	bad, err := checkDeps(os.DirFS("."), depsPolicy)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bad {
		t.Error(b)
	}
}

// TestDepsFinds checks that the check sees what it is there for.
func TestDepsFinds(t *testing.T) {
	const policy = "leaf:\nbase:\nwal: base | golang.org/x/sys/unix\n"
	file := func(pkg string, imports ...string) *fstest.MapFile {
		src := "package " + pkg + "\n"
		for _, i := range imports {
			src += "import _ " + strconv.Quote(i) + "\n"
		}
		return &fstest.MapFile{Data: []byte(src)}
	}
	good := func() fstest.MapFS {
		return fstest.MapFS{
			"internal/leaf/a.go": file("leaf"), "internal/base/a.go": file("base", "fmt"),
			"internal/wal/a.go":      file("wal", dbtest.ModulePath+"/internal/base", "golang.org/x/sys/unix"),
			"internal/wal/a_test.go": file("wal", "pgregory.net/rapid", dbtest.ModulePath+"/internal/leaf", "os"),
			"bench/go.mod":           {Data: []byte("module x")}, "bench/a.go": file("bench", "example.com/rival"),
		}
	}
	cases := []struct {
		name, file string
		with       *fstest.MapFile
		want       string
	}{
		{name: "clean"},
		{"upward edge", "internal/base/b.go", file("base", dbtest.ModulePath+"/internal/wal"), "base may not import wal"},
		{"edge under a tag", "internal/base/b.go", &fstest.MapFile{Data: []byte("//go:build windows\n\npackage base\nimport _ \"os\"\n")}, "base may not import os"},
		{"third party", "internal/base/b.go", file("base", "example.com/x"), "base may not import example.com/x"},
		{"third party in a test", "internal/base/b_test.go", file("base", "example.com/x"), "tests may not import example.com/x"},
		{"test package in code", "internal/base/b.go", file("base", dbtest.ModulePath+"/internal/testkit"), "only test files may import testkit"},
		{"unknown package", "internal/new/a.go", file("new"), "package new has no line"},
		{"unused edge", "internal/wal/a.go", file("wal", dbtest.ModulePath+"/internal/base"), "drop the edge"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tree := good()
			if c.file != "" {
				tree[c.file] = c.with
			}
			bad, err := checkDeps(tree, policy)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(bad, "\n")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || len(bad) > 1 {
				t.Errorf("found %q, want exactly one line with %q", got, c.want)
			}
		})
	}
}
