//go:build failpoints

package crash

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// failpointNames are all the names there are, read from where they are
// declared, so that a new one is tested from its first day.
func failpointNames(t *testing.T) (names []failpoint.Name) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dbtest.ModuleRoot(), "internal", "failpoint", "doc.go"), nil, 0)
	dbtest.Must(t, err)
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.ValueSpec); ok {
			name, err := strconv.Unquote(s.Values[0].(*ast.BasicLit).Value)
			dbtest.Must(t, err)
			names = append(names, failpoint.Name(name))
		}
		return true
	})
	if len(names) < 20 {
		t.Fatalf("only %v", names)
	}
	return names
}

// The work of a child that is to be killed: commit i sets the counter to i and
// changes one of killKeys keys, so that the counter alone says what must be
// there.
const killKeys = 40

func killKey(i int) []byte { return fmt.Appendf(nil, "key%02d", i%killKeys) }

// killValue is what commit i sets its key to; nil deletes it.
func killValue(i int) []byte {
	if i%7 == 0 {
		return nil
	}
	return fmt.Appendf(nil, "%d%s", i, strings.Repeat("v", i%5*80)) // some apart, some inline
}

func init() { dbtest.ChildJobs["kill"] = killJob }

func killOptions() *seerdb.Options {
	o, t := dbtest.Tiny()
	o.MemtableSize = 4 << 10
	return dbtest.With(o, t)
}

// killJob opens the database twice, commits, flushes and compacts, and says
// after each commit that it was acknowledged.
func killJob(dir string) error {
	for range 2 {
		db, err := seerdb.Open(dir, killOptions())
		if err != nil {
			return err
		}
		c, err := killCounter(db)
		if err != nil {
			return err
		}
		fmt.Println("found", c)
		for i := c + 1; i <= c+57; i++ { // the last few stay in the log
			b := db.NewBatch()
			if v := killValue(i); v == nil {
				err = b.Delete(killKey(i))
			} else {
				err = b.Put(killKey(i), v)
			}
			err = errors.Join(err, b.Put([]byte(dbtest.CounterKey), binary.BigEndian.AppendUint64(nil, uint64(i))))
			if err = errors.Join(err, db.Apply(b, seerdb.Sync)); err != nil {
				return err
			}
			fmt.Println("acked", i)
			if i%12 == 0 {
				err = db.Flush(context.Background())
			}
			if i%25 == 0 {
				err = errors.Join(err, db.Compact(context.Background(), nil, nil))
			}
			if err != nil {
				return err
			}
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
	return nil
}

func killCounter(db *seerdb.DB) (int, error) {
	v, err := db.Get([]byte(dbtest.CounterKey))
	if errors.Is(err, seerdb.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint64(v)), nil
}

// TestKilledAtEveryFailpoint kills a child process at each step of each
// protocol: at the first time it gets there, then, in the directory that this
// left, at a later one. Every acknowledged commit must be there afterwards, and
// nothing that was not committed.
func TestKilledAtEveryFailpoint(t *testing.T) {
	for _, name := range failpointNames(t) {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			acked := 0
			for _, hit := range []int{1, 3, 2, 17}[:dbtest.Some(4)] {
				killed := runKilled(t, dir, fmt.Sprintf("%s=kill@%d", name, hit), &acked)
				if hit == 1 && !killed {
					t.Fatalf("%s was never reached: nothing was tested", name)
				}
			}
			checkKilled(t, dir, acked)
		})
	}
}

// runKilled runs a child until it is killed or done. The child must find the
// last commit that was acknowledged, and says which ones it got acknowledged.
func runKilled(t *testing.T, dir, points string, acked *int) (killed bool) {
	t.Helper()
	cmd := dbtest.Child(t, "kill", dir, failpoint.EnvVar+"="+points)
	out, err := cmd.StdoutPipe()
	dbtest.Must(t, err)
	cmd.Stderr = os.Stderr
	dbtest.Must(t, cmd.Start())
	rest := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var word string
		var n int
		switch _, err := fmt.Sscanf(lines.Text(), "%s %d", &word, &n); {
		case err == nil && word == "acked":
			*acked = n
		case err == nil && word == "found":
			if n < *acked {
				t.Errorf("%s: commit %d was acknowledged; a child found commit %d", points, *acked, n)
			}
		default:
			rest += lines.Text() + "\n"
		}
	}
	if err := cmd.Wait(); err == nil {
		return false
	}
	if code := cmd.ProcessState.ExitCode(); code != -1 || rest != "" {
		t.Fatalf("%s: the child was not killed, it failed with %d:\n%s", points, code, rest)
	}
	return true
}

// checkKilled opens what is left, and compares it with what the counter says.
func checkKilled(t *testing.T, dir string, acked int) {
	t.Helper()
	db := dbtest.Open(t, dir, killOptions())
	c, err := killCounter(db)
	dbtest.Must(t, err)
	if c < acked {
		t.Fatalf("commit %d was acknowledged; commit %d is the newest that is there", acked, c)
	}
	for i := max(c-killKeys, 0) + 1; i <= c; i++ {
		want := killValue(i)
		got, err := db.Get(killKey(i))
		if want == nil && !errors.Is(err, seerdb.ErrNotFound) || want != nil && (err != nil || string(got) != string(want)) {
			t.Errorf("of %d commits, commit %d set %s to %.10q; it is %.10q, %v", c, i, killKey(i), want, got, err)
		}
	}
	report, err := db.Verify(context.Background())
	dbtest.Must(t, err)
	if !report.Clean() {
		t.Error(report.Damage)
	}
}

// TestErrorAtEveryFailpoint makes each step fail, at the first time it is
// reached, the second, and so on until it is not reached any more. The scenario
// ends there; reopening must give a prefix with all that was acknowledged.
func TestErrorAtEveryFailpoint(t *testing.T) {
	boom := errors.New("boom")
	for _, name := range failpointNames(t) {
		t.Run(string(name), func(t *testing.T) {
			fired := 0
			for at := int64(1); at <= int64(dbtest.Some(12)); at++ {
				var hits, failed atomic.Int64
				failpoint.Set(name, func() error {
					if hits.Add(1) == at {
						failed.Add(1)
						return boom
					}
					return nil
				})
				l := newLife(memfs.New(), seerdb.Sync)
				more := func() error { return l.commits(9) }
				err := steps(l.open, more, l.flush, more, l.flush, l.compact, more, l.close, l.open, more, l.close)
				if l.db != nil {
					_ = l.db.Close()
				}
				failpoint.Set(name, nil)
				if failed.Load() == 0 {
					dbtest.Must(t, err)
					break
				}
				fired++
				for _, keep := range []float64{0, 1} {
					l.recoverOne(t, l.fs.CrashClone(memfs.CrashOptions{Keep: keep}), fmt.Sprintf("failing at hit %d, keeping %v", at, keep))
				}
			}
			if fired == 0 {
				t.Fatal("the step was never reached")
			}
		})
	}
}
