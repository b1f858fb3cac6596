package lint

// This file keeps the documents from pointing at what is not there: files they
// link to, source files they name, and functions and types they name.

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are the texts that are checked.
func documents(t *testing.T) []string {
	t.Helper()
	names := []string{"README.md", "CHANGELOG.md", "cmd/seerdb/data/README.md", "bench/README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/adr/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			names = append(names, filepath.ToSlash(f))
		}
	}
	return names
}

// TestDocLinks checks that links to files lead somewhere.
func TestDocLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, name := range documents(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
}

// TestCodeNamesDocuments checks that comments point at documents that exist.
func TestCodeNamesDocuments(t *testing.T) {
	doc := regexp.MustCompile(`docs/[\w/-]+\.md`)
	err := walkGo(os.DirFS("."), func(name string, src []byte) error {
		for _, d := range doc.FindAllString(string(src), -1) {
			if _, err := os.Stat(d); err != nil && name != "lint/tidy_test.go" {
				t.Errorf("%s names %s, which is not there", name, d)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDocNames checks that `dir/file.go`, `package.Name` and
// `package.Type.Name` in backquotes name what exists.
func TestDocNames(t *testing.T) {
	names, err := declaredNames(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	file := regexp.MustCompile("`([a-z_/]+\\.go)`")
	symbol := regexp.MustCompile("`([a-z]+)((?:\\.[A-Za-z]+){1,2})`")
	checked := 0
	for _, name := range documents(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range file.FindAllStringSubmatch(string(b), -1) {
			// In a record of a decision a bare name is a file of the package it is about.
			if _, err := os.Stat(m[1]); err != nil && (strings.Contains(m[1], "/") || !slices.Contains(names[""], m[1])) {
				t.Errorf("%s names the file %s, which is not there", name, m[1])
			}
			checked++
		}
		for _, m := range symbol.FindAllStringSubmatch(string(b), -1) {
			if own, ok := names[m[1]]; ok && m[2] != ".go" && !slices.Contains(own, m[2][1:]) {
				t.Errorf("%s names %s, which is not declared", name, m[1]+m[2])
			}
			checked++
		}
	}
	if checked < 40 {
		t.Errorf("only %d names found in the documents: the patterns no longer match", checked)
	}
}

// declaredNames lists, for each package by name, its functions, types and
// methods as Type.Method; under "" the base names of all files.
func declaredNames(tree fs.FS) (map[string][]string, error) {
	names, embedded := map[string][]string{}, map[string][][2]string{}
	err := walkGo(tree, func(name string, src []byte) error {
		names[""] = append(names[""], path.Base(name))
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := f.Name.Name
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[pkg] = append(names[pkg], receiverOf(d)+d.Name.Name)
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok {
						names[pkg] = append(names[pkg], s.Name.Name)
						embedded[pkg] = append(embedded[pkg], embeddedIn(s)...)
					}
				}
			}
		}
		return nil
	})
	for pkg, pairs := range embedded {
		for _, p := range pairs {
			for _, n := range names[pkg] {
				if method, ok := strings.CutPrefix(n, p[1]+"."); ok {
					names[pkg] = append(names[pkg], p[0]+"."+method)
				}
			}
		}
	}
	return names, err
}

// embeddedIn pairs a struct with each type of its package that it embeds.
func embeddedIn(s *ast.TypeSpec) (pairs [][2]string) {
	st, ok := s.Type.(*ast.StructType)
	if !ok {
		return nil
	}
	for _, f := range st.Fields.List {
		if id, ok := f.Type.(*ast.Ident); ok && f.Names == nil {
			pairs = append(pairs, [2]string{s.Name.Name, id.Name})
		}
	}
	return pairs
}

// receiverOf is "Type." for a method and "" for a function.
func receiverOf(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	x := d.Recv.List[0].Type
	if p, ok := x.(*ast.StarExpr); ok {
		x = p.X
	}
	if id, ok := x.(*ast.Ident); ok {
		return id.Name + "."
	}
	return "."
}
