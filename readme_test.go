package seerdb_test

// This file holds the README to its word: the program it shows is built the way
// a user would, as another module that imports this one, and must print what
// the README says.

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// fenced returns the first fenced block of a language.
func fenced(t *testing.T, text, language string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n```"+language+"\n")
	block, _, closed := strings.Cut(rest, "```\n")
	if !ok || !closed {
		t.Fatalf("README.md has no %s block", language)
	}
	return block
}

// importer makes a module beside this one that requires it, with files.
func importer(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the go command")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	// All that our go.mod requires is required here too, in the versions that
	// are already downloaded: the test must not need a network.
	_, requires, _ := strings.Cut(string(mod), "\n\n")
	files["go.mod"] = "module example.com/importer\n\n" + requires + "\nrequire " + dbtest.ModulePath + " v0.0.0\n\nreplace " + dbtest.ModulePath + " => " + filepath.ToSlash(root) + "\n"
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	files["go.sum"] = string(sum)
	dir = t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestReadmeExample runs the program of the README.
func TestReadmeExample(t *testing.T) {
	text := readme(t)
	dir := importer(t, map[string]string{"main.go": fenced(t, text, "go")})
	if got, want := dbtest.GoCommand(t, dir, "run", "."), fenced(t, text, "text"); got != want {
		t.Errorf("it prints\n%s\nand the README says\n%s", got, want)
	}
}

// TestImporterPulls checks what a program that imports seerdb compiles besides
// it: codecs, a hash and the system, and nothing of the tool or the tests.
func TestImporterPulls(t *testing.T) {
	dir := importer(t, map[string]string{"main.go": "package main\n\nimport _ \"" + dbtest.ModulePath + "\"\n\nfunc main() {}\n"})
	deps := dbtest.GoCommand(t, dir, "list", "-deps", "-f", "{{if not .Standard}}{{.Module.Path}}{{end}}", ".")
	allowed := regexp.MustCompile(`^(example\.com/importer|` + dbtest.ModulePath + `|github\.com/(klauspost/(compress|cpuid/v2)|pierrec/lz4/v4|zeebo/xxh3)|golang\.org/x/(sys|sync))$`)
	for _, m := range strings.Fields(deps) {
		if !allowed.MatchString(m) {
			t.Errorf("an importer compiles packages of %s", m)
		}
	}
}
