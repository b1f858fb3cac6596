package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/merger"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"seerdb": main})
}

// TestScripts runs the tool the way a person does; see testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"flip":    flipByte,
			"words":   makeWords,
			"foreign": makeForeign,
			"exits":   exits,
		},
	})
}

// exits runs the tool and checks its exit code: exits CODE ARGUMENT...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("seerdb", args[1:]...)
	code := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d; want %s", code, args[0])
	}
}

// flipByte damages a file: flip FILE OFFSET, from the end when negative.
func flipByte(ts *testscript.TestScript, _ bool, args []string) {
	var off int
	if len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	if _, err := fmt.Sscan(args[1], &off); err != nil {
		ts.Fatalf("%v", err)
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	if off < 0 {
		off += len(b)
	}
	b[off] ^= 0x40
	ts.Check(os.WriteFile(path, b, 0o600))
}

// makeWords writes sorted TSV rows: words FILE COUNT.
func makeWords(ts *testscript.TestScript, _ bool, args []string) {
	var n int
	_, err := fmt.Sscan(args[1], &n)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	w := bufio.NewWriter(f)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range n {
		fmt.Fprintf(w, "word-%07d\t%x %0*d\n", i, r.Uint64(), r.IntN(60), i)
	}
	ts.Check(w.Flush())
	ts.Check(f.Close())
}

// last is a merge operator that the tool does not know: the last operand wins.
type last struct{ merger.Max }

func (last) Name() string { return "example.com/last" }

func (last) Full(dst, _, _ []byte, _ bool, operands [][]byte) ([]byte, error) {
	return append(dst, operands[len(operands)-1]...), nil
}

// makeForeign writes a database with merge operators of a program of its own:
// foreign DIR.
func makeForeign(ts *testscript.TestScript, _ bool, args []string) {
	db, err := seerdb.Open(ts.MkAbs(args[0]), &seerdb.Options{Merger: last{}})
	ts.Check(err)
	k, err := db.Keyspace("lasts", &seerdb.KeyspaceOptions{Merger: last{}})
	ts.Check(err)
	for _, t := range []interface {
		Put(k, v []byte) error
		Merge(k, v []byte) error
	}{db, k} {
		ts.Check(t.Put([]byte("plain"), []byte("value")))
		ts.Check(t.Merge([]byte("merged"), []byte("one")))
		ts.Check(t.Merge([]byte("merged"), []byte("two")))
	}
	ts.Check(db.Close())
}

// TestRowFormats: any rows survive every format.
func TestRowFormats(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func() []byte {
		b := make([]byte, r.IntN(30))
		for i := range b {
			b[i] = "\t\n\r\\ab\x00\xffé\""[r.IntN(10)]
		}
		return b
	}
	for _, format := range []string{"tsv", "jsonl", "binary"} {
		t.Run(format, func(t *testing.T) {
			var rows []row
			var out bytes.Buffer
			buffered := bufio.NewWriter(&out)
			w, err := newRowWriter(format, buffered)
			if err != nil {
				t.Fatal(err)
			}
			for range 500 {
				in := row{key: random(), value: random()}
				if format == "jsonl" && r.IntN(2) == 0 {
					in.expires = time.UnixMilli(r.Int64N(1 << 47)).UTC()
				}
				rows = append(rows, in)
				if err := w.write(in); err != nil {
					t.Fatal(err)
				}
			}
			if err := buffered.Flush(); err != nil {
				t.Fatal(err)
			}
			in, err := newRowReader(format, &out)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range rows {
				got, err := in.next()
				if err != nil || !bytes.Equal(got.key, want.key) || !bytes.Equal(got.value, want.value) || !got.expires.Equal(want.expires) {
					t.Fatalf("row %d: %q=%q until %v, %v; want %q=%q until %v", i, got.key, got.value, got.expires, err,
						want.key, want.value, want.expires)
				}
			}
		})
	}
}

// FuzzRows: no input makes a reader panic or return a row that is too large.
func FuzzRows(f *testing.F) {
	f.Add("tsv", []byte("a\tb\n\\t\t\\\\"))
	f.Add("jsonl", []byte(`{"key":"a","value64":"AAEC"}`))
	f.Add("binary", []byte{1, 'a', 2, 'b', 'c'})
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		in, err := newRowReader(format, bytes.NewReader(data))
		if err != nil {
			return
		}
		for range 1000 {
			r, err := in.next()
			if err != nil {
				return
			}
			if n := len(r.key) + len(r.value); n > len(data)*2+16 {
				t.Fatalf("row of %d bytes from %d", n, len(data))
			}
		}
	})
}

// TestExpiryBeyondJSON: what expires after all that JSON can tell is exported.
func TestExpiryBeyondJSON(t *testing.T) {
	var out bytes.Buffer
	buffered := bufio.NewWriter(&out)
	w, err := newRowWriter("jsonl", buffered)
	if err != nil {
		t.Fatal(err)
	}
	err = w.write(row{key: []byte("k"), value: []byte("v"), expires: time.UnixMilli(1 << 60)})
	if err := errors.Join(err, buffered.Flush()); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), `{"key":"k","value":"v","expires":"9999-12-31T23:59:59.999Z"}`+"\n"; got != want {
		t.Fatalf("%s; want %s", got, want)
	}
}
