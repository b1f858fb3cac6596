package lint

// This file holds two rules on what a reader must know at once: how many files
// of a package use each other in a circle, and how wide the widest objects are.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	goimporter "go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// maxFileCycle is how many files of a package may use each other in a circle: none of them
// is understood, tested or moved without all the others. In the storage engines that read well
// the largest circle has 8 or 9 files, in those that do not 37.
const maxFileCycle = 8

// cycleExceptions are packages with a larger cycle, with its exact size. As tidyExceptions
// does, the list may only shrink.
var cycleExceptions = map[string]int{}

// widthLimits are how many fields and methods the objects at the centre may have.
var widthLimits = map[string]int{
	"internal/engine.Engine fields":  20,
	"internal/engine.Engine methods": 40,
	"internal/dbiter.Iter fields":    25,
	// What the engine was taken apart into must not become what it was.
	"internal/commit.Pipeline fields":  25,
	"internal/commit.Pipeline methods": 90,
	"internal/jobs.Jobs fields":        25,
	"internal/jobs.Jobs methods":       70,
}

// widthExceptions are those that have more, with their exact number.
var widthExceptions = map[string]int{}

// sourcePackage is a package as `go list` describes it.
type sourcePackage struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	DepOnly                 bool
}

// listPackages lists the packages of the module in dir, and the export data of everything they
// import. Nested modules are not among them.
func listPackages(t *testing.T, dir string) (ours []sourcePackage, exports map[string]string) {
	t.Helper()
	out := dbtest.GoCommand(t, dir, "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,DepOnly", "./...")
	exports = map[string]string{}
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var p sourcePackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return ours, exports
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			ours = append(ours, p)
		}
	}
}

// checkedFiles is a type-checked package, with what its files use.
type checkedFiles struct {
	pkg  *types.Package
	uses fileUses
}

// fileUses says of each file which others of its package it uses, and what of them.
type fileUses map[string]map[string]nameSet

type nameSet map[string]bool

func checkFiles(path string, fset *token.FileSet, files []*ast.File, imp types.Importer) (checkedFiles, error) {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := (&types.Config{Importer: imp}).Check(path, fset, files, info)
	if err != nil {
		return checkedFiles{}, err
	}
	fileOf := func(pos token.Pos) string { return filepath.Base(fset.Position(pos).Filename) }
	uses := fileUses{}
	for _, f := range files {
		uses[fileOf(f.Package)] = map[string]nameSet{}
	}
	for id, obj := range info.Uses {
		if obj.Pkg() != pkg || !obj.Pos().IsValid() {
			continue
		}
		user, used := fileOf(id.Pos()), fileOf(obj.Pos())
		if user == used {
			continue
		}
		if uses[user][used] == nil {
			uses[user][used] = nameSet{}
		}
		uses[user][used][obj.Name()] = true
	}
	return checkedFiles{pkg, uses}, nil
}

// largestCycle returns the largest set of files each of which uses each other one, if only
// through others still. (The strongly connected components, by Tarjan.)
func (u fileUses) largestCycle() []string {
	var largest, stack []string
	index, low, onStack := map[string]int{}, map[string]int{}, map[string]bool{}
	var visit func(file string)
	visit = func(file string) {
		index[file] = len(index) + 1
		low[file] = index[file]
		base := len(stack)
		stack, onStack[file] = append(stack, file), true
		for used := range u[file] {
			if index[used] == 0 {
				visit(used)
				low[file] = min(low[file], low[used])
			} else if onStack[used] {
				low[file] = min(low[file], index[used])
			}
		}
		if low[file] == index[file] {
			for _, f := range stack[base:] {
				onStack[f] = false
			}
			if len(stack)-base > len(largest) {
				largest = slices.Clone(stack[base:])
			}
			stack = stack[:base]
		}
	}
	for _, file := range slices.Sorted(maps.Keys(u)) {
		if index[file] == 0 {
			visit(file)
		}
	}
	slices.Sort(largest)
	return largest
}

// cut returns references without which the files of a cycle form no cycle, those of the
// fewest names first. It lays the files in a row, users before what they use, as well as that
// goes: each time the file comes next that uses most names beyond those that others use of it. The
// references back are the cut.
func (u fileUses) cut(cycle []string) []string {
	var refs []string
	names := map[string]int{}
	for left := slices.Clone(cycle); len(left) > 0; {
		surplus := func(file string) int {
			n := 0
			for _, other := range left {
				n += len(u[file][other]) - len(u[other][file])
			}
			return n
		}
		next := slices.MaxFunc(left, func(a, b string) int { return cmp.Compare(surplus(a), surplus(b)) })
		left = slices.DeleteFunc(left, func(f string) bool { return f == next })
		for _, later := range left {
			if back := u[later][next]; len(back) > 0 {
				ref := fmt.Sprintf("%s uses %s of %s", later, strings.Join(slices.Sorted(maps.Keys(back)), ", "), next)
				refs, names[ref] = append(refs, ref), len(back)
			}
		}
	}
	slices.SortStableFunc(refs, func(a, b string) int { return cmp.Compare(names[a], names[b]) })
	return refs
}

// maxRefs is how many references of a cut a message names.
const maxRefs = 12

// checkCycles lists the packages whose largest cycle is above the limit.
func checkCycles(pkgs map[string]checkedFiles, exceptions map[string]int) []string {
	sizes, notes := map[string]int{}, map[string]string{}
	for name, p := range pkgs {
		cycle := p.uses.largestCycle()
		refs := p.uses.cut(cycle)
		sizes[name] = len(cycle)
		notes[name] = fmt.Sprintf(": %s\n\tit would end without:\n\t%s", strings.Join(cycle, " "), strings.Join(refs[:min(len(refs), maxRefs)], "\n\t"))
	}
	limit := func(string) int { return maxFileCycle }
	return overLimit(sizes, limit, exceptions, "files in the cycle", notes)
}

// checkWidths lists the types that have more fields or methods than the limits say.
func checkWidths(pkgs map[string]checkedFiles, limits, exceptions map[string]int) []string {
	var bad []string
	sizes := map[string]int{}
	for key := range limits {
		name, what, _ := strings.Cut(key, " ")
		dot := strings.LastIndex(name, ".")
		var obj types.Object
		if p, ok := pkgs[name[:dot]]; ok {
			obj = p.pkg.Scope().Lookup(name[dot+1:])
		}
		if obj == nil {
			bad = append(bad, key+": there is no such type: mend the list")
			continue
		}
		if named := obj.Type().(*types.Named); what == "methods" {
			sizes[key] = named.NumMethods()
		} else {
			sizes[key] = named.Underlying().(*types.Struct).NumFields()
		}
	}
	limit := func(key string) int { return limits[key] }
	return append(bad, overLimit(sizes, limit, exceptions, "of them", nil)...)
}

// overLimit lists what is larger than its limit and no exception, and the exceptions whose
// size is not the true one.
func overLimit(sizes map[string]int, limit func(string) int, exceptions map[string]int, what string, notes map[string]string) []string {
	var bad []string
	for k, n := range sizes {
		if n > limit(k) && exceptions[k] != n {
			bad = append(bad, fmt.Sprintf("%s: %d %s, over %d%s", k, n, what, limit(k), notes[k]))
		}
	}
	for k, n := range exceptions {
		if sizes[k] != n || n <= limit(k) {
			bad = append(bad, fmt.Sprintf("the exception for %s says %d, and it has %d, with a limit of %d: mend the list", k, n, sizes[k], limit(k)))
		}
	}
	slices.Sort(bad)
	return bad
}

// TestFileCycles checks every package of the module, and the widths.
func TestFileCycles(t *testing.T) {
	skipTwice(t)
	ours, exports := listPackages(t, ".")
	fset := token.NewFileSet()
	imp := goimporter.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	pkgs := map[string]checkedFiles{}
	for _, p := range ours {
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		checked, err := checkFiles(p.ImportPath, fset, files, imp)
		if err != nil {
			t.Fatal(err)
		}
		pkgs[strings.TrimPrefix(p.ImportPath, dbtest.ModulePath+"/")] = checked
	}
	for _, b := range checkCycles(pkgs, cycleExceptions) {
		t.Error(b)
	}
	for _, b := range checkWidths(pkgs, widthLimits, widthExceptions) {
		t.Error(b)
	}
	if len(pkgs) < 30 {
		t.Errorf("only %d packages were looked at", len(pkgs))
	}
}

// fileRing returns a package of n files. Each uses one kind of thing of the next, the last one
// of the first; one more uses a file of the ring, and is used by none.
func fileRing(t *testing.T, n int) map[string]checkedFiles {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	add := func(name, src string) {
		f, err := parser.ParseFile(fset, name, "package p\n"+src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	const declarations = "const C# = 1\nvar V# int\nfunc F#() {}\ntype T# struct{ f int }\nfunc (T#) M() {}\ntype G#[K any] struct{ g K }\n"
	uses := []string{"var _ = C%d", "func _() { F%d() }", "func _(t T%d) int { return t.f }", "var _ = T%d.M", "var _ = G%d[int]{}.g", "var _ = &V%d"}
	for i := range n {
		use := fmt.Sprintf(uses[i%len(uses)], (i+1)%n)
		add(fmt.Sprintf("f%d.go", i), strings.ReplaceAll(declarations, "#", fmt.Sprint(i))+use+"\n")
	}
	add("outside.go", "var _ = F0\n")
	checked, err := checkFiles("p", fset, files, importMap{})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]checkedFiles{"p": checked}
}

// TestFileCyclesFinds checks that the check sees what it is there for.
func TestFileCyclesFinds(t *testing.T) {
	small, large := fileRing(t, maxFileCycle), fileRing(t, maxFileCycle+1)
	limits := map[string]int{"p.T0 fields": 1, "p.T0 methods": 1}
	cases := []struct {
		name string
		bad  []string
		want string // of the only line; "": there is none
	}{
		{"within the limit", checkCycles(small, nil), ""},
		{"over it", checkCycles(large, nil), "p: 9 files in the cycle, over 8: f0.go f1.go f2.go f3.go f4.go f5.go f6.go f7.go f8.go\n\tit would end without:\n\tf"},
		{"exception", checkCycles(large, map[string]int{"p": 9}), ""},
		{"exception too large", checkCycles(small, map[string]int{"p": 9}), "the exception for p says 9, and it has 8"},
		{"exception not needed", checkCycles(small, map[string]int{"p": 8}), "the exception for p says 8, and it has 8"},
		{"no such package", checkCycles(small, map[string]int{"q": 9}), "the exception for q says 9, and it has 0"},
		{"narrow", checkWidths(small, limits, nil), ""},
		{"wide", checkWidths(small, map[string]int{"p.T0 methods": 0}, nil), "p.T0 methods: 1 of them, over 0"},
		{"width exception", checkWidths(small, map[string]int{"p.T0 fields": 0}, map[string]int{"p.T0 fields": 1}), ""},
		{"no such type", checkWidths(small, map[string]int{"p.U fields": 1}, nil), "p.U fields: there is no such type"},
	}
	for _, c := range cases {
		got := strings.Join(c.bad, "\n")
		if (got == "") != (c.want == "") || !strings.HasPrefix(got, c.want) || len(c.bad) > 1 {
			t.Errorf("%s: found %q, want exactly one line with %q", c.name, got, c.want)
		}
	}
	if bad := checkCycles(large, map[string]int{"p": 10}); len(bad) != 2 {
		t.Errorf("a cycle and a stale exception: found %q", bad)
	}
	uses := large["p"].uses
	if refs := uses.cut(uses.largestCycle()); len(refs) != 1 {
		t.Errorf("a ring is cut by %q, want one reference", refs)
	}
}
