package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// demoFigures checks every figure that the demonstration printed: figures OUTPUT
// DIR. They are counted again in the data that it loads, in what it says that it did,
// and in the files that it left.
func demoFigures(ts *testscript.TestScript, _ bool, args []string) {
	f := demoFigure{ts: ts, text: ts.ReadFile(args[0])}
	dir := ts.MkAbs(args[1])
	names := f.unicode()
	f.is(`([\d,]+) rows in `, 2*len(names))
	var omicron []string
	for _, n := range names {
		if strings.HasPrefix(n.name, "GREEK SMALL LETTER O") {
			omicron = append(omicron, n.name+"/"+n.code)
		}
	}
	slices.Sort(omicron)
	f.is(`… ([\d,]+) characters have a name`, len(omicron))
	for _, o := range omicron[:6] {
		name, code, _ := strings.Cut(o, "/")
		f.has(fmt.Sprintf("  U+%s  %s\n", code, name))
	}
	for _, r := range []rune{'A', 'ß', '→', '🐹'} {
		for _, n := range names {
			if n.code == fmt.Sprintf("%04X", r) {
				f.has(fmt.Sprintf("  %c  U+%s  %s\n", r, n.code, n.name))
			}
		}
	}
	acked, found := f.number(`it had acknowledged ([\d,]+) commits`), f.number(`commits 1 to ([\d,]+) are there`)
	if acked == 0 || found < acked {
		ts.Fatalf("%d commits were acknowledged, %d found", acked, found)
	}
	entries := 2*len(names) - 1 + found // one was deleted
	models, segments, tables, tableBytes, valueBytes := figuresOfFiles(ts.Check, dir)
	if valueBytes != 0 || tables == 0 {
		ts.Fatalf("%d bytes of values, %d tables", valueBytes, tables)
	}
	pages := f.number(`entries in ([\d,]+) pages\), value`)
	fences := int(segments - models)
	f.has(fmt.Sprintf("clean: tables %d (%s entries in %s pages), value files 0, %s read\n", tables, comma(entries), comma(pages), size(tableBytes)))
	level := strings.Fields(f.match(`\n +(L6 .*)\n`))
	if want := []string{"L6", "1", fmt.Sprint(tables)}; !slices.Equal(level[:3], want) || level[5] != comma(entries) || level[6] != "0" || strings.Join(level[3:5], " ") != size(tableBytes) {
		ts.Fatalf("the last level is %v; the files are %d tables of %s with %d entries", level, tables, size(tableBytes), entries)
	}
	f.has("memtable   0 entries, 0 B\n")
	f.has("values     0 files, 0 B, of which 0 B garbage\n")
	f.has(fmt.Sprintf("for %s entries in %s pages: %.3f bytes an entry\n", comma(entries), comma(pages), float64(f.number(`index +([\d,]+) bytes`))/float64(entries)))
	f.has(fmt.Sprintf("%s found by %s, %s by a separator of their own\n", counted(int64(pages-fences), "page"), counted(models, "model"), comma(fences)))
	f.has(fmt.Sprintf("each of the %d pages; here %d straight lines say where %d of\nthem begin", pages, models, pages-fences))
	commits := 2*len(names) + 2 + found // each row, an edit and a delete, and what the writer did
	f.has(fmt.Sprintf("sequence   %s visible, %s durable\n", comma(commits), comma(commits)))
	var log int64
	logs, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	ts.Check(err)
	for _, name := range logs {
		info, err := os.Stat(name)
		ts.Check(err)
		log += info.Size()
	}
	if n := int64(f.number(`log +(\d+) B\n`)); n == 0 || n > log {
		ts.Fatalf("the log has %d bytes, its file %d", n, log)
	}
	bits, err := strconv.ParseFloat(f.match(`filters +.*, ([\d.]+) bits an entry`), 64)
	if ts.Check(err); bits < 8 || bits > 14 {
		ts.Fatalf("%v bits an entry", bits)
	}
}

type demoFigure struct {
	ts   *testscript.TestScript
	text string
}

func comma(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (f *demoFigure) match(pattern string) string {
	m := regexp.MustCompile(pattern).FindStringSubmatch(f.text)
	if m == nil {
		f.ts.Fatalf("nothing matches %q", pattern)
	}
	return m[1]
}

func (f *demoFigure) number(pattern string) int {
	n, err := strconv.Atoi(strings.ReplaceAll(f.match(pattern), ",", ""))
	f.ts.Check(err)
	return n
}

func (f *demoFigure) is(pattern string, want int) {
	if n := f.number(pattern); n != want {
		f.ts.Fatalf("%q says %d; it is %d", pattern, n, want)
	}
}

func (f *demoFigure) has(text string) {
	if !strings.Contains(f.text, text) {
		f.ts.Fatalf("it does not say %q", text)
	}
}

type character struct{ code, name string }

// unicode reads the characters, each once.
func (f *demoFigure) unicode() (out []character) {
	z, err := gzip.NewReader(bytes.NewReader(unicodeData))
	f.ts.Check(err)
	all, err := io.ReadAll(z)
	f.ts.Check(err)
	seen := map[string]bool{}
	for line := range strings.Lines(string(all)) {
		fields := strings.Split(line, ";")
		if seen[fields[0]] {
			f.ts.Fatalf("%s comes twice", fields[0])
		}
		seen[fields[0]] = true
		out = append(out, character{fields[0], fields[1]})
	}
	return out
}
