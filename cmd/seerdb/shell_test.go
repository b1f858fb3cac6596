package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/term"

	"github.com/seerdb-go/seerdb"
)

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                      nil,
		"  \t\r":                nil,
		"get a":                 {"get", "a"},
		` put "a b"	"\x00\n" `:  {"put", "a b", "\x00\n"},
		"put `a \"\\n` é":       {"put", `a "\n`, "é"},
		`del a\x00\xff\u00e9\\`: {"del", "a\x00\xffé\\"},
		`get it's a"b`:          {"get", "it's", `a"b`},
		`put '' 'a "\n'`:        {"put", "", `a "\n`},
		"get a\xffb":            {"get", "a\xffb"},
		`put "" x`:              {"put", "", "x"},
	} {
		if got, _, err := splitWords(line); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{`get "a`, "get `a", `get "a"b`, `get "\q"`, `get 'a`, `get 'a'b`, `get a\q`, `get a\`} {
		if got, _, err := splitWords(line); err == nil {
			t.Errorf("%q: %q", line, got)
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		b := make([]byte, r.IntN(8))
		for i := range b {
			b[i] = " \t\"`\\a#-\x00\xff\xc3\xa9'\n"[r.IntN(14)]
		}
		for _, text := range []string{quoteWord(b), wordLike(`"`, b)} {
			got, _, err := splitWords("put " + text + " x")
			if err != nil || len(got) != 3 || got[1] != string(b) {
				t.Fatalf("%q is written %s and read %q, %v", b, text, got, err)
			}
		}
	}
}

// newShell is a session with a database of a few keys.
func newShell(t *testing.T, keys ...string) *shell {
	t.Helper()
	s, err := openStore(t.TempDir(), &seerdb.Options{}, map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, k := range keys {
		if err := s.Put([]byte(k), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.space("orders", true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.space("odd one", true); err != nil {
		t.Fatal(err)
	}
	return &shell{s: s, out: io.Discard, errors: io.Discard}
}

func TestComplete(t *testing.T) {
	sh := newShell(t, "apple", "apricot", "two words", "x\x00", "x\xff")
	for before, want := range map[string]string{
		"":                        "begin check commit compact count del delrange get help history keyspaces load merge put quit release rollback scan snapshot stats use",
		"ke":                      "keyspaces",
		"del":                     "del delrange",
		"help re":                 "release",
		"get ap":                  "apple apricot",
		"get app":                 "apple",
		"put b":                   "",
		"put apple ":              "",
		"get ":                    `apple apricot "two words" x\x00 x\xff`,
		`get "t`:                  `"two words"`,
		`get "a`:                  `"apple" "apricot"`,
		`get x\x`:                 "", // no escape yet
		`get x\xf`:                "",
		`get x`:                   `x\x00 x\xff`,
		"scan --prefix ap":        "apple apricot",
		"scan --limit ":           "",
		"delrange --from a --to ": `apple apricot "two words" x\x00 x\xff`,
		"scan --re":               "--reverse",
		"use ":                    `"odd one" orders`,
		"use or":                  "orders",
		"frobnicate x":            "",
		`get "apple"`:             "",
		`get a\q x`:               "",
	} {
		start, got, more := sh.complete(before)
		if text := strings.Join(got, " "); text != want || more {
			t.Errorf("%q: %s", before, text)
		}
		if start > len(before) {
			t.Errorf("%q: from %d", before, start)
		}
	}
}

// TestCompleteMany: no more than fifty keys are read, and nothing is taken for
// certain on their ground.
func TestCompleteMany(t *testing.T) {
	var keys []string
	for i := range maxCompletions + 1 {
		keys = append(keys, fmt.Sprintf("key/%03d", i))
	}
	sh := newShell(t, append(keys, "key/zzz")...)
	if _, got, more := sh.complete("get key/"); len(got) != maxCompletions || !more {
		t.Fatalf("%d keys, %v", len(got), more)
	}
	var out strings.Builder
	line, pos, ok := sh.tab(&out, 20, "get key/0 rest", len("get key/0"), '\t')
	if line != "get key/0 rest" || pos != 9 || !ok {
		t.Fatalf("%q %d %v", line, pos, ok)
	}
	line, _, _ = sh.tab(&out, 20, "get key/", 8, '\t')
	if line != "get key/" || !strings.HasSuffix(out.String(), "…\n") {
		t.Fatalf("%q, %q", line, out.String())
	}
	for l := range strings.Lines(out.String()) {
		if len([]rune(l)) > 21 {
			t.Errorf("%q is too long", l)
		}
	}
}

// TestCompletionIsNoRead: what completion looks at in a transaction, the
// transaction does not depend on.
func TestCompletionIsNoRead(t *testing.T) {
	sh := newShell(t, "a")
	for _, line := range []string{"begin", "put b 1"} {
		if err := sh.run(context.Background(), line); err != nil {
			t.Fatal(err)
		}
	}
	if _, got, _ := sh.complete("get "); len(got) != 1 {
		t.Fatalf("%q", got)
	}
	if err := sh.s.Put([]byte("a2"), nil); err != nil {
		t.Fatal(err)
	}
	if err := sh.run(context.Background(), "commit"); err != nil {
		t.Fatal(err)
	}
}

// TestConflict: a commit that conflicts says that nothing happened, and the
// session goes on.
func TestConflict(t *testing.T) {
	sh := newShell(t, "a")
	for _, line := range []string{"begin", "get a", "put b 1"} {
		if err := sh.run(context.Background(), line); err != nil {
			t.Fatal(err)
		}
	}
	if err := sh.s.Put([]byte("a"), []byte("2")); err != nil {
		t.Fatal(err)
	}
	err := sh.run(context.Background(), "commit")
	if err == nil || !strings.Contains(err.Error(), "nothing was committed") || sh.txn != nil {
		t.Fatal(err)
	}
	if ok, err := sh.s.Has([]byte("b")); ok || err != nil {
		t.Fatal(ok, err)
	}
}

// TestScanIsInterrupted: a scan ends when its context does.
func TestScanIsInterrupted(t *testing.T) {
	sh := newShell(t, "a", "b", "c")
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	sh.out = writerFunc(func(p []byte) (int, error) {
		n++
		cancel()
		return len(p), nil
	})
	if err := sh.run(ctx, "scan"); err != context.Canceled || n != 1 {
		t.Fatalf("%v after %d rows", err, n)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestInterrupts: Ctrl-C empties the line wherever the cursor is, and the line
// editor does not end.
func TestInterrupts(t *testing.T) {
	const left = "\x1b[D"
	typed := "garbage" + left + left + "\x03get a\r\x03quit\r"
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(typed), "byte by byte": iotest.OneByteReader(strings.NewReader(typed))} {
		e := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{&interrupts{r: r}, io.Discard}, "> ")
		for _, want := range []string{"get a", "quit"} {
			if line, err := e.ReadLine(); line != want || err != nil {
				t.Fatalf("%s: %q, %v; want %q", name, line, err, want)
			}
		}
		if line, err := e.ReadLine(); err != io.EOF {
			t.Fatalf("%s: %q, %v", name, line, err)
		}
	}
}

func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "of a user", "history")
	h := openHistory(file)
	for i := range 2*maxHistory + 10 {
		h.Add(fmt.Sprint("get ", i))
	}
	for _, line := range []string{"", " put secret word", "get last ", "get last"} {
		h.Add(line)
	}
	if h.err != nil || h.Len() != maxHistory || h.At(0) != "get last" || h.At(1) != fmt.Sprint("get ", 2*maxHistory+9) {
		t.Fatalf("%d lines, %q before %q, %v", h.Len(), h.At(1), h.At(0), h.err)
	}
	private := func() {
		if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Fatal(info.Mode(), err)
		}
	}
	private()
	for range 2 { // the first time the file is too long
		again := openHistory(file)
		private()
		if again.err != nil || !reflect.DeepEqual(again.lines, h.lines) {
			t.Fatalf("%d lines, %v", again.Len(), again.err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil || strings.Count(string(b), "\n") != maxHistory || strings.Contains(string(b), "secret") {
		t.Fatal(strings.Count(string(b), "\n"), err)
	}
	if h = openHistory(""); h.err != nil {
		t.Fatal(h.err)
	}
	h.Add("get a")
	if h.err != nil || h.At(0) != "get a" {
		t.Fatal(h.err)
	}
}

// The shell lists the keyspaces of the database that it opened, also when its
// path leads to another by now.
func TestShellKeepsItsDirectory(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open directory cannot be renamed there")
	}
	dir := filepath.Join(t.TempDir(), "db")
	moved := dir + ".moved"
	script := io.MultiReader(
		strings.NewReader("use mine --create\n"),
		readerFunc(func([]byte) (int, error) {
			if err := os.Rename(dir, moved); err != nil {
				return 0, err
			}
			db, err := seerdb.Open(dir, nil)
			if err != nil {
				return 0, err
			}
			_, err = db.Keyspace("theirs", nil)
			if err := errors.Join(err, db.Close()); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}),
		strings.NewReader("keyspaces\n"),
	)
	root := newRoot()
	var out, problems bytes.Buffer
	root.SetIn(script)
	root.SetOut(&out)
	root.SetErr(&problems)
	root.SetArgs([]string{"shell", "--create", dir})
	if err := root.Execute(); err != nil || problems.Len() > 0 {
		t.Fatalf("%v; %s", err, problems.String())
	}
	if text := out.String(); !strings.Contains(text, "mine") || strings.Contains(text, "theirs") {
		t.Errorf("the shell lists:\n%s", text)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
