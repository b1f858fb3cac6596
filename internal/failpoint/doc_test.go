package failpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// TestEveryStepIsReached looks for the step of every name in the source of the
// engine: a name that no code passes would be a fault that never fires.
func TestEveryStepIsReached(t *testing.T) {
	names := declared(t)
	if len(names) < 20 {
		t.Fatalf("found only %d names", len(names))
	}
	reached := map[string]bool{}
	tree := os.DirFS("..")
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "failpoint/") {
			return err
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil || !strings.Contains(string(src), "failpoint.") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "failpoint" {
					reached[s.Sel.Name] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for name, value := range names {
		if !reached[name] {
			t.Errorf("no code passes %s", name)
		}
		if !strings.Contains(value, "::") || strings.ContainsAny(value, ",=@") {
			t.Errorf("%s is %q; expected package::step", name, value)
		}
		if other, dup := values[value]; dup {
			t.Errorf("%s and %s are both %q", name, other, value)
		}
		values[value] = name
	}
}

// declared reads the constants of doc.go: identifier to value.
func declared(t *testing.T) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.ValueSpec); ok {
			value, err := strconv.Unquote(s.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			names[s.Names[0].Name] = value
		}
		return true
	})
	return names
}
