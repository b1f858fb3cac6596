package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
)

// TestExitCodesAreDocumented: the help and README.md say the same of each code.
func TestExitCodesAreDocumented(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(exitHelp, "\n")[1:]
	if len(lines) != exitScript+1 {
		t.Errorf("the help has %d codes; want %d", len(lines), exitScript+1)
	}
	for i, line := range lines {
		code, text, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if code != fmt.Sprint(i) || !strings.Contains(string(readme), fmt.Sprintf("| %s | %s |", code, text)) {
			t.Errorf("README.md has no row for %s %q", code, text)
		}
	}
	if !strings.Contains(newRoot().Long, exitHelp) {
		t.Error("seerdb -h does not list the exit codes")
	}
}

// TestSentence: a message has the name of the tool once, in front, whatever it
// went through.
func TestSentence(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("key x: %w", seerdb.ErrNotFound), "key x: key not found"},
		{seerdb.ErrNotFound, "key not found"},
		{fmt.Errorf("%w: in db: %w", seerdb.ErrReadOnly, seerdb.ErrNoSpace), "database is read-only: in db: no space left on device"},
		{errors.Join(seerdb.ErrClosed, seerdb.ErrLocked), "closed\ndatabase is locked by another user"},
		{fmt.Errorf("key seerdb: x: %w", seerdb.ErrNotFound), "key seerdb: x: key not found"},
		{&seerdb.CorruptionError{File: "f", Offset: -1, Detail: "cut", Err: seerdb.ErrClosed}, "corruption in f: cut: closed"},
	} {
		if got := sentence(c.err); got != c.want {
			t.Errorf("%q; want %q", got, c.want)
		}
	}
}
