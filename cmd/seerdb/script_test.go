package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

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
			"figures": demoFigures,
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
