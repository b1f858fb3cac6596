package main

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestPrintedKeysComeBack: no two byte strings are printed the same way, each is
// on one line, and what is printed is read back: by del from its input, and by
// the shell as a word.
func TestPrintedKeysComeBack(t *testing.T) {
	piece := rapid.OneOf(rapid.SampledFrom([]string{`"`, `\`, `\n`, "\n", "'", "`", " ", "-", "#", "\t", "é", "\xff", `""`, `\"`, "\u00a0"}),
		rapid.Map(rapid.Byte(), func(c byte) string { return string([]byte{c}) }))
	rapid.Check(t, func(t *rapid.T) {
		b := strings.Join(rapid.SliceOfN(piece, 0, 5).Draw(t, "key"), "")
		line := oneLine([]byte(b))
		if got := fromLine(line); got != b || line == "" || strings.ContainsAny(line, "\n\r") {
			t.Fatalf("%q is printed as %s and read as %q", b, line, got)
		}
		words, quoted, err := splitWords("get " + quoteWord([]byte(b)))
		if err != nil || len(words) != 2 || words[1] != b {
			t.Fatalf("%q is the word %s, read as %q, %v", b, quoteWord([]byte(b)), words, err)
		}
		sh := &shell{}
		args := arrange(sh.commands(), words, func(i int) bool { return quoted[i] })
		if len(args) != 3 || args[1] != "--" || args[2] != b {
			t.Fatalf("%q is taken as %q", b, args)
		}
	})
	for _, key := range []string{"", "-x", "--all", "-", "#", "'a", "it's", `"`, "`", " ", "\x00"} {
		words, quoted, err := splitWords("get " + quoteWord([]byte(key)))
		args := arrange((&shell{}).commands(), words, func(i int) bool { return quoted[i] })
		if err != nil || len(args) != 3 || args[1] != "--" || args[2] != key {
			t.Errorf("%q is the word %s, taken as %q, %v", key, quoteWord([]byte(key)), args, err)
		}
	}
	for s, want := range map[string]string{
		`{"a":"b\n"}`: `{"a":"b\n"}`, `"text"`: `"text"`, `a b`: `a b`, `"`: `"`, "": `""`, "a\tb": `"a\tb"`, `"a\tb"`: `"\"a\\tb\""`,
	} {
		if got := oneLine([]byte(s)); got != want {
			t.Errorf("%q is printed as %s; want %s", s, got, want)
		}
	}
}
