package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb"
)

var largeRows = flag.Bool("rows.large", false, "also try rows of 340 MiB")

// The formats, with the options that change them.
var rowFormats = []struct {
	name, format string
	raw, crlf    bool
}{
	{"tsv", "tsv", false, false}, {"raw tsv", "tsv", true, false}, {"tsv of Windows", "tsv", false, true},
	{"jsonl", "jsonl", false, false}, {"jsonl of Windows", "jsonl", false, true}, {"binary", "binary", false, false},
}

// anyBytes draws keys and values of what formats give a meaning to.
func anyBytes() *rapid.Generator[[]byte] {
	piece := rapid.OneOf(rapid.SampledFrom([]string{
		"", "\t", "\n", "\r", "\r\n", "\\", "t", "x41", "n", "\x00", "\xff", "é", "\u2028", "\ufeff", "<>&", `"`, "\xed\xa0\x80",
		"\U0001f600", "\xc3", "\ufffd", "a", `\u0000`, "null", "{", "}", strings.Repeat("\x00", 50), strings.Repeat("text ", 1000),
	}), rapid.Map(rapid.Byte(), func(c byte) string { return string([]byte{c}) }))
	return rapid.Map(rapid.SliceOfN(piece, 0, 6), func(p []string) []byte { return []byte(strings.Join(p, "")) })
}

// anyMoment draws expiries, which are whole milliseconds, over all of their range.
func anyMoment() *rapid.Generator[time.Time] {
	ms := rapid.OneOf(rapid.Int64Range(1, lastMillisecond), rapid.Int64Range(1, 1<<45),
		rapid.SampledFrom([]int64{1, 253402300799999, 253402300800000, lastMillisecond}))
	return rapid.OneOf(rapid.Just(time.Time{}), rapid.Map(ms, time.UnixMilli))
}

func writeRows(t rapid.TB, format string, o *rowOptions, rows []row) ([]byte, error) {
	t.Helper()
	var out bytes.Buffer
	buffered := bufio.NewWriter(&out)
	w, err := newRowWriter(format, buffered, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := w.write(r); err != nil {
			return nil, err
		}
	}
	err = buffered.Flush()
	return out.Bytes(), err
}

// TestRowsComeBack: any rows survive every format, however the input comes.
func TestRowsComeBack(t *testing.T) {
	for _, f := range rowFormats {
		t.Run(f.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				o := newRowOptions()
				o.raw, o.crlf = f.raw, f.crlf
				var rows []row
				for range rapid.IntRange(1, 5).Draw(t, "rows") {
					r := row{key: anyBytes().Draw(t, "key"), value: anyBytes().Draw(t, "value")}
					if f.format == "jsonl" {
						r.expires = anyMoment().Draw(t, "expires")
					}
					rows = append(rows, r)
				}
				text, err := writeRows(t, f.format, o, rows)
				if err != nil {
					if !f.raw || !strings.Contains(err.Error(), "that --raw cannot write") {
						t.Fatal(err)
					}
					t.Skip("not to be written raw")
				}
				if f.crlf {
					text = append([]byte(bom), bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))...)
				}
				in := io.Reader(bytes.NewReader(text))
				if rapid.Bool().Draw(t, "in pieces") {
					in = iotest.OneByteReader(in)
				}
				mustRead(t, f.format, in, o, rows)
			})
		})
	}
}

// TestRowsThatLookLikeSomethingElse: a key that begins like a byte order mark, and
// expiries that RFC 3339 cannot write, come back.
func TestRowsThatLookLikeSomethingElse(t *testing.T) {
	for _, format := range []string{"tsv", "jsonl", "binary"} {
		rows := []row{{key: []byte("\ufeffkey"), value: []byte("\r")}, {key: []byte("\ufeff"), value: []byte("\ufeff")}}
		if format == "jsonl" {
			rows[0].expires, rows[1].expires = time.UnixMilli(253402300800000), time.UnixMilli(lastMillisecond)
		}
		text, err := writeRows(t, format, newRowOptions(), rows)
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, format, bytes.NewReader(text), newRowOptions(), rows)
	}
}

// mustRead checks that an input has these rows and no others.
func mustRead(t rapid.TB, format string, in io.Reader, o *rowOptions, rows []row) {
	t.Helper()
	r, err := newRowReader(format, in, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range rows {
		got, err := r.next()
		if err != nil || !bytes.Equal(got.key, want.key) || !bytes.Equal(got.value, want.value) || !got.expires.Equal(want.expires) {
			t.Fatalf("row %d: %.80q=%.80q until %v, %v; want %.80q=%.80q until %v", i, got.key, got.value, got.expires, err,
				want.key, want.value, want.expires)
		}
	}
	if _, err := r.next(); err != io.EOF {
		t.Fatalf("after the last row: %v", err)
	}
}

// TestRowsAreSkipped: passing over rows ends at the same place as reading them.
func TestRowsAreSkipped(t *testing.T) {
	rows := []row{{key: []byte("a"), value: bytes.Repeat([]byte("x\n"), 1<<20)}, {key: []byte("\n"), value: nil}, {key: []byte("last"), value: []byte("v")}}
	for _, format := range []string{"tsv", "jsonl", "binary"} {
		text, err := writeRows(t, format, newRowOptions(), rows)
		if err != nil {
			t.Fatal(err)
		}
		r, err := newRowReader(format, bytes.NewReader(text), newRowOptions())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.skip(), r.skip()); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if got, err := r.next(); err != nil || string(got.key) != "last" {
			t.Fatalf("%s: %q, %v", format, got.key, err)
		}
		if err := r.skip(); err != io.EOF {
			t.Fatalf("%s: %v", format, err)
		}
	}
}

// TestJSONIsTakenAtItsWord: what other readers of JSON pass over, repair or guess
// is an error with the number of the line, and the next line is read.
func TestJSONIsTakenAtItsWord(t *testing.T) {
	for line, want := range map[string]string{
		`{"key":"a","value":"1"}{"key":"b","value":"2"}`:           "one row on each",
		`{"key":"a","value":"1"} garbage`:                          "one row on each",
		`{"key":"a","value":"1"},`:                                 "one row on each",
		`{"key":"a","key":"b","value":"1"}`:                        "the field key is there twice",
		`{"key":"a","value":"1","value":"1"}`:                      "the field value is there twice",
		`{"KEY":"a","VALUE":"1"}`:                                  `there is no field "KEY"`,
		`{"key":"a","value":"1","ttl":"5s"}`:                       `there is no field "ttl"`,
		"{\"key\":\"a\xff\",\"value\":\"1\"}":                      "belong in key64 and value64",
		"{\"key\":\"a\",\"value\":\"\xed\xa0\x80\"}":               "not UTF-8",
		`{"key":"\ud800","value":"1"}`:                             `half of a surrogate pair, \ud800`,
		`{"key":"\ud800a","value":"1"}`:                            "half of a surrogate pair",
		`{"key":"\ud800\u0041","value":"1"}`:                       "half of a surrogate pair",
		`{"key":"\udc00","value":"1"}`:                             "half of a surrogate pair",
		`{"key":"a","value":"1","expires":"0001-01-01T00:00:00Z"}`: "from 1970 on",
		`{"key":"a","value":"1","expires":"1969-12-31T23:59:59Z"}`: "from 1970 on",
		`{"key":"a","value":"1","expires":"tomorrow"}`:             "expected a moment",
		`{"key":"a","value":"1","expires":""}`:                     "expected a moment",
		`{"key":"a","value":"1","expires":"2026-05-01"}`:           "expected a moment",
		`{"key":"a","value":"1","expires":0}`:                      "milliseconds from 1",
		`{"key":"a","value":"1","expires":-1}`:                     "milliseconds from 1",
		`{"key":"a","value":"1","expires":1e3}`:                    "milliseconds from 1",
		`{"key":"a","value":"1","expires":1.5}`:                    "a comma or }",
		`{"key":"a","value":"1","expires":9223372036854775807}`:    "milliseconds from 1",
		`{"key64":"YQ==\n","value":"1"}`:                           "key64 is not base64",
		`{"key64":"Y\nQ==","value":"1"}`:                           "key64 is not base64",
		`{"key64":"YR==","value":"1"}`:                             "key64 is not base64",
		`{"key64":"YQ","value":"1"}`:                               "key64 is not base64",
		`{"key":null,"key64":"YQ==","value":"1"}`:                  "found 'n'",
		`{"key":"a","key64":"YQ==","value":"1"}`:                   "one of key and key64",
		`{"key":"a","value":null}`:                                 "found 'n'",
		`{"key":"a","value":1}`:                                    "found '1'",
		`{"key":"a"}`:                                              "one of value and value64",
		`{"value":"a"}`:                                            "one of key and key64",
		`{}`:                                                       "before the name of a field",
		`{"key":"a","value":"b",}`:                                 "before the name of a field",
		`{"key":"a" "value":"b"}`:                                  "a comma or }",
		`{"key":"a","value":"b"`:                                   "the end of the line",
		`{"key":"a","value":"b`:                                    "not closed",
		`{"key":"a\q","value":"b"}`:                                "escape that JSON does not know",
		`{"key":"\u00g0","value":"b"}`:                             "four hexadecimal digits",
		"{\"key\":\"a\tb\",\"value\":\"b\"}":                       "control character",
		`[]`:                                                       "before the row", `null`: "before the row", ``: "before the row", ` `: "before the row",
	} {
		r, err := newRowReader("jsonl", strings.NewReader(`{"key":"0","value":"0"}`+"\n"+line+"\n"+`{"key":"z","value":"z"}`), newRowOptions())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.next(); err != nil {
			t.Fatal(err)
		}
		row, err := r.next()
		if err == nil || !strings.HasPrefix(err.Error(), "line 2: ") || !strings.Contains(err.Error(), want) || !errors.As(err, new(badRow)) ||
			exitCode(err) != exitUsage {
			t.Errorf("%q: key %q, value %q, %v; want %q", line, row.key, row.value, err, want)
		}
		if row, err := r.next(); err != nil || string(row.key) != "z" {
			t.Errorf("after %q: %q, %v", line, row.key, err)
		}
	}
	for line, want := range map[string]row{
		" {\t\"value\" : \"\\ud83d\\ude00\\/\" , \"key\":\"\\u0000\" } \t\r": {key: []byte{0}, value: []byte("\U0001f600/")},
		`{"key64":"","value64":"AAECAwQ=","expires":null}`:                   {value: []byte{0, 1, 2, 3, 4}},
		`{"expires":1,"key":"","value":""}`:                                  {expires: time.UnixMilli(1)},
		`{"key":"","value":"","expires":"2026-05-01T14:00:00.25+02:00"}`:     {expires: time.UnixMilli(1777636800250)},
	} {
		mustRead(t, "jsonl", strings.NewReader(line), newRowOptions(), []row{want})
	}
}

// TestTSVIsTakenAtItsWord: what would get into the data silently is an error.
func TestTSVIsTakenAtItsWord(t *testing.T) {
	for _, c := range []struct {
		text, want string
		bad        bool
	}{
		{"a\tb\nno tab\n", "line 2: there is no tab between key and value", true},
		{"a\tb\na\\<\tb\n", `line 2: \< is no escape; expected \t, \n, \r, \\ or \x and two hexadecimal digits, or --raw`, true},
		{"a\tb\n\\x4g\tb", `line 2: \x4g is no escape`, true},
		{"a\tb\na\tb\\", "line 2: a backslash ends the line", true},
		{"a\tb\n\na\tb", "line 2: there is no tab", true},
		{"a\tb\na\tb\r\n", "line 2: the line ends in CR LF, and the CR would become part of the row; --crlf removes it", false},
		{"a\tb\na\tb\r", "line 2: the line ends in CR LF", false},
		{"\ufeffa\tb\n", "a byte order mark (EF BB BF) stands before the first row and would become part of it; --crlf", false},
	} {
		for _, raw := range []bool{false, true} {
			o := newRowOptions()
			if o.raw = raw; raw && strings.Contains(c.text, "\\") {
				continue
			}
			r, err := newRowReader("tsv", strings.NewReader(c.text), o)
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = r.next()
			}
			if !strings.HasPrefix(err.Error(), c.want) || errors.As(err, new(badRow)) != c.bad || exitCode(err) != exitUsage {
				t.Errorf("%q: %v; want %q", c.text, err, c.want)
			}
		}
	}
	raw := newRowOptions()
	raw.raw = true
	mustRead(t, "tsv", strings.NewReader("\\<\t\\\nk\ta\tb"), raw, []row{{key: []byte(`\<`), value: []byte(`\`)}, {key: []byte("k"), value: []byte("a\tb")}})
	crlf := newRowOptions()
	crlf.crlf = true
	mustRead(t, "tsv", strings.NewReader("\ufeffa\tb\r\nc\td\ne\tf\r"), crlf,
		[]row{{key: []byte("a"), value: []byte("b")}, {key: []byte("c"), value: []byte("d")}, {key: []byte("e"), value: []byte("f")}})
}

// TestBinaryIsCut: an input that ends in the middle of a row is an error, and a
// row that is announced is no reason to take memory for it.
func TestBinaryIsCut(t *testing.T) {
	rows := []row{{key: []byte("key"), value: bytes.Repeat([]byte("v"), 300)}, {key: bytes.Repeat([]byte("k"), 200)}}
	text, err := writeRows(t, "binary", newRowOptions(), rows)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(text) {
		for _, read := range []func(rowReader) error{rowReader.skip, func(r rowReader) error { _, err := r.next(); return err }} {
			r := &binaryReader{r: bufio.NewReader(bytes.NewReader(text[:n])), o: newRowOptions()}
			var err error
			for err == nil {
				err = read(r)
			}
			if whole := n == 0 || n == 1+3+2+300; (err == io.EOF) != whole || !whole && exitCode(err) != exitUsage {
				t.Errorf("cut at %d: %v", n, err)
			}
		}
	}
	b := binaryReader{r: bufio.NewReader(strings.NewReader("\x01k\xff\xff\xff\xff\x03only this")), o: newRowOptions()}
	if _, err := b.next(); !errors.Is(err, errCut) || cap(b.value) > 4*pieceOfRow {
		t.Errorf("%v with %d bytes taken", err, cap(b.value))
	}
	b = binaryReader{r: bufio.NewReader(strings.NewReader("\x01k\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffx")), o: newRowOptions()}
	if _, err := b.next(); exitCode(err) != exitUsage {
		t.Error(err)
	}
}

// TestLimitsAreOfRowsNotOfText: what a row may have is measured in its bytes, and
// not in the length of the line that they are written in.
func TestLimitsAreOfRowsNotOfText(t *testing.T) {
	for _, n := range []int{1000, 1001} {
		for _, c := range []struct{ format, before, each, after string }{
			{"jsonl", `{"key":"k","value":"`, `\u0000`, `"}`}, {"jsonl", `{"key":"`, `\ud83d\ude00`, `","value":"v"}`},
			{"jsonl", `{"key64":"`, "", `","value":"v"}`},
			{"tsv", "k\t", `\x00`, ""}, {"tsv", "", `\n`, "\tv"}, {"tsv", "k\t", "v", ""},
		} {
			size, text := n, strings.Repeat(c.each, n)
			switch c.each {
			case `\ud83d\ude00`:
				size, text = 4*n, strings.Repeat(c.each, n)
			case "":
				e, err := writeRows(t, "jsonl", newRowOptions(), []row{{key: bytes.Repeat([]byte{0xff}, n)}})
				if err != nil {
					t.Fatal(err)
				}
				text = strings.Split(string(e), `"`)[3]
			}
			o := newRowOptions()
			o.maxKey, o.maxValue = size/n*1000, size/n*1000
			r, err := newRowReader(c.format, strings.NewReader(c.before+text+c.after), o)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := r.next(); (err == nil) != (n == 1000) || err == nil && len(got.key)+len(got.value) != size+1 {
				t.Errorf("%s %s of %d times %q: %d bytes, %v", c.format, c.before, n, c.each, len(got.key)+len(got.value), err)
			}
		}
	}
	if !*largeRows {
		return
	}
	want := row{key: []byte("zeros"), value: make([]byte, 340<<20)}
	for _, format := range []string{"tsv", "jsonl", "binary"} {
		in, out := io.Pipe()
		go func() {
			buffered := bufio.NewWriterSize(out, 1<<20)
			w, err := newRowWriter(format, buffered, newRowOptions())
			if err == nil {
				err = errors.Join(w.write(want), buffered.Flush())
			}
			_ = out.CloseWithError(err)
		}()
		mustRead(t, format, in, newRowOptions(), []row{want})
	}
	zeros := io.MultiReader(strings.NewReader(`{"key":"zeros","value":"`), io.LimitReader(&endless{text: `\u0000`}, 6*340<<20), strings.NewReader(`"}`))
	mustRead(t, "jsonl", zeros, newRowOptions(), []row{want})
}

// endless repeats a text.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.text[e.at]
		e.at = (e.at + 1) % len(e.text)
	}
	return len(p), nil
}

// TestExportThenLoadIsTheIdentity: a database that is loaded with what another
// one exported has the same keys, values and expiries.
func TestExportThenLoadIsTheIdentity(t *testing.T) {
	tmp, n := t.TempDir(), 0
	open := func(t *rapid.T) *seerdb.DB {
		n++
		db, err := seerdb.Open(filepath.Join(tmp, fmt.Sprint(n)), &seerdb.Options{Durability: seerdb.Relaxed, MemtableSize: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	rounds := 0
	rapid.Check(t, func(t *rapid.T) {
		if rounds++; rounds > 15 {
			return // each opens databases
		}
		from := open(t)
		soon := time.Now().Add(time.Hour).UnixMilli()
		for range rapid.IntRange(0, 20).Draw(t, "rows") {
			var at time.Time
			if ms := rapid.Int64Range(soon-soon/4, lastMillisecond).Draw(t, "expires"); ms >= soon {
				at = time.UnixMilli(ms)
			}
			if err := from.PutUntil(anyBytes().Draw(t, "key"), anyBytes().Draw(t, "value"), at); err != nil {
				t.Fatal(err)
			}
		}
		for _, format := range []string{"jsonl", "tsv", "binary"} {
			var first, second bytes.Buffer
			to := open(t)
			e := exporter{format: format, o: newRowOptions()}
			l := loader{format: format, o: newRowOptions()}
			if err := e.run(from, &first, io.Discard); err != nil {
				t.Fatal(err)
			}
			if err := l.run(to, to, bytes.NewReader(first.Bytes()), -1, io.Discard); err != nil {
				t.Fatal(err)
			}
			if err := e.run(to, &second, io.Discard); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first.Bytes(), second.Bytes()) {
				t.Fatalf("%s: exported %.500q, loaded, and exported again %.500q", format, first.Bytes(), second.Bytes())
			}
			mustBeSame(t, from, to, format == "jsonl")
		}
	})
}

// mustBeSame compares two databases row by row.
func mustBeSame(t *rapid.T, a, b *seerdb.DB, expiries bool) {
	x, err := a.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = x.Close(), y.Close() }()
	more := x.First()
	for also := y.First(); more || also; more, also = x.Next(), y.Next() {
		if more != also || !bytes.Equal(x.Key(), y.Key()) || !bytes.Equal(x.Value(), y.Value()) {
			t.Fatalf("%q=%.80q became %q=%.80q", x.Key(), x.Value(), y.Key(), y.Value())
		}
		at, _ := x.Expiry()
		if other, _ := y.Expiry(); expiries && !at.Equal(other) {
			t.Fatalf("%q expires at %v, and expired at %v", x.Key(), other, at)
		}
	}
}

// FuzzRows: no input makes a reader panic, loop, or return a row that is larger
// than it can be; skipping passes over as many rows as there are.
func FuzzRows(f *testing.F) {
	f.Add("tsv", []byte("a\tb\n\\t\t\\\\"))
	f.Add("jsonl", []byte(`{"key":"a","value64":"AAEC","expires":12}`))
	f.Add("binary", []byte{1, 'a', 2, 'b', 'c'})
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		in, err := newRowReader(format, bytes.NewReader(data), newRowOptions())
		if err != nil {
			return
		}
		for n := 0; ; n++ {
			r, err := in.next()
			if err != nil && !errors.As(err, new(badRow)) {
				return
			}
			if size := len(r.key) + len(r.value); size > len(data)*2+16 || n > len(data) {
				t.Fatalf("row %d of %d bytes from %d", n, size, len(data))
			}
		}
	})
}
