package lint

import (
	"fmt"
	"go/ast"
	goimporter "go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// typeWalk looks for types of internal packages in what a package exports.
type typeWalk struct {
	seen map[types.Type]bool
	bad  []string
}

// internalTypes lists where the package shows a type of an internal package to its
// users: in an alias, a field, a parameter, a result, a variable, at any depth.
func internalTypes(pkg *types.Package) []string {
	w := typeWalk{seen: map[types.Type]bool{}}
	for _, name := range pkg.Scope().Names() {
		if o := pkg.Scope().Lookup(name); o.Exported() {
			w.walk(pkg.Name()+"."+name, o.Type())
		}
	}
	return w.bad
}

func isInternal(o *types.TypeName) bool {
	return o.Pkg() != nil && slices.Contains(strings.Split(o.Pkg().Path(), "/"), "internal")
}

func (w *typeWalk) walk(at string, t types.Type) {
	t = types.Unalias(t)
	if named, ok := t.(*types.Named); ok && isInternal(named.Obj()) {
		w.bad = append(w.bad, at+" shows "+named.Obj().Pkg().Path()+"."+named.Obj().Name())
		return
	}
	if w.seen[t] {
		return
	}
	w.seen[t] = true
	switch t := t.(type) {
	case *types.Named:
		w.named(at, t)
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() { // what is embedded shows its exported fields
				w.walk(at+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			if m.Exported() {
				w.walk(at+"."+m.Name(), m.Type())
			}
		}
		for e := range t.EmbeddedTypes() {
			w.walk(at, e)
		}
	case *types.Signature:
		w.walk(at, t.Params())
		w.walk(at, t.Results())
		w.params(at, t.TypeParams())
	case *types.Tuple:
		for v := range t.Variables() {
			w.walk(at, v.Type())
		}
	case *types.Union:
		for term := range t.Terms() {
			w.walk(at, term.Type())
		}
	case *types.Map:
		w.walk(at, t.Key())
		w.walk(at, t.Elem())
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
		w.walk(at, t.Elem())
	case *types.TypeParam:
		w.walk(at, t.Constraint())
	}
}

// named walks a type of a package that is not internal, one of the standard library
// included: its methods, promoted ones too, and its fields.
func (w *typeWalk) named(at string, t *types.Named) {
	for arg := range t.TypeArgs().Types() {
		w.walk(at, arg)
	}
	w.params(at, t.TypeParams())
	if p := t.Obj().Pkg(); p == nil || !strings.HasPrefix(p.Path()+"/", dbtest.ModulePath+"/") {
		return
	}
	for s := range types.NewMethodSet(types.NewPointer(t)).Methods() {
		if s.Obj().Exported() {
			w.walk(at+"."+s.Obj().Name(), s.Type())
		}
	}
	w.walk(at, t.Underlying())
}

func (w *typeWalk) params(at string, list *types.TypeParamList) {
	for p := range list.TypeParams() {
		w.walk(at, p.Constraint())
	}
}

// TestPublicTypes: nothing that a package exports for programs is a type of an
// internal package, which they could not name and whose documentation they would not
// find. There is no exception; one would be named here, with its reason.
func TestPublicTypes(t *testing.T) {
	skipTwice(t)
	exports, public := map[string]string{}, []string{}
	for line := range strings.Lines(dbtest.GoCommand(t, ".", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Name}} {{.Export}}", "./...")) {
		if f := strings.Fields(line); len(f) == 3 {
			exports[f[0]] = f[2]
			if strings.HasPrefix(f[0]+"/", dbtest.ModulePath+"/") && !strings.Contains(f[0], "/internal/") && f[1] != "main" {
				public = append(public, f[0])
			}
		}
	}
	imp := goimporter.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, path := range public {
		pkg, err := imp.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range internalTypes(pkg) {
			t.Error(b)
		}
	}
	if !slices.Contains(public, dbtest.ModulePath) || len(public) < 5 {
		t.Errorf("only %q were looked at", public)
	}
}

// importMap imports packages that were checked before.
type importMap map[string]*types.Package

func (m importMap) Import(path string) (*types.Package, error) {
	if p := m[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no package %s", path)
}

// TestPublicTypesFinds checks that the check sees what it is there for.
func TestPublicTypesFinds(t *testing.T) {
	fset, imp := token.NewFileSet(), importMap{}
	check := func(path, src string) *types.Package {
		f, err := parser.ParseFile(fset, path+".go", src, parser.SkipObjectResolution)
		dbtest.Must(t, err)
		pkg, err := (&types.Config{Importer: imp}).Check(path, fset, []*ast.File{f}, nil)
		dbtest.Must(t, err)
		imp[path] = pkg
		return pkg
	}
	check(dbtest.ModulePath+"/internal/in", "package in\ntype T struct{ X int }\nfunc (T) M() {}\ntype I interface{ M() }\ntype F func()\n")
	for src, want := range map[string]string{
		"type A = in.T":            "p.A",
		"var V in.F":               "p.V",
		"const C = len([1]in.T{})": "",
		"func F(x in.T) {}":        "p.F",
		"func F() (map[string][]*in.T, error) { return nil, nil }":    "p.F",
		"type S struct{ Field chan in.T }":                            "p.S.Field",
		"type S struct{ field in.T }":                                 "",
		"type S struct{ in.T }":                                       "p.S.T",
		"type s struct{ Field in.T }; type S struct{ s }":             "p.S.s.Field",
		"type s struct{}; func (*s) M(in.T) {}; type S struct{ s }":   "p.S.M",
		"type s struct{ Field in.T }; func F() *s { return nil }":     "p.F.Field",
		"type S struct{ s in.T }; func (s S) m() in.T { return s.s }": "",
		"type S struct{}; func (*S) M() in.T { return in.T{} }":       "p.S.M",
		"type I interface{ M(func(in.T)) }":                           "p.I.M",
		"type I interface{ m(func(in.T)) }":                           "",
		"type I interface{ in.I }":                                    "p.I",
		"func F[T in.I]() {}":                                         "p.F",
		"type G[T ~int|in.F] struct{}":                                "p.G",
		"type G[T any] struct{ x T }; type S struct{ Field G[in.T] }": "p.S.Field",
		"type N in.T": "",
		"type u struct{ Field in.T }; func f() in.T { return u{}.Field }":  "",
		"type S struct{ next *S; Field func(*S) []S }; var v = new(in.T)":  "",
		"type A = func() ([]in.T, bool)":                                   "p.A",
		"type S struct{ Anon struct{ Deep [3]in.I } }":                     "p.S.Anon.Deep",
		"type S struct{ *s }; type s struct{ t }; type t struct{ T in.T }": "p.S.s.t.T",
	} {
		pkg := check(dbtest.ModulePath+"/p", "package p\nimport \""+dbtest.ModulePath+"/internal/in\"\n"+src+"\nvar _ in.T\n")
		bad := internalTypes(pkg)
		if want == "" && len(bad) > 0 || want != "" && (len(bad) != 1 || !strings.HasPrefix(bad[0], want+" shows "+dbtest.ModulePath+"/internal/in.")) {
			t.Errorf("%s: found %q, want %q", src, bad, want)
		}
	}
}
