package crash

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// load is one commit of the model, by a bulk load.
func (l *life) load(n int, unsorted bool) error {
	c := l.m.Commits() + 1
	ops := []testkit.Op{{Key: dbtest.CounterKey, Value: string(binary.BigEndian.AppendUint64(nil, uint64(c)))}}
	for i := range n {
		// Between and upon what Gen writes.
		ops = append(ops, testkit.Op{Key: fmt.Sprintf("k%03d", i*3+c%3), Value: strings.Repeat(fmt.Sprint(c, "."), 1+i%20)})
	}
	slices.SortFunc(ops, func(a, b testkit.Op) int { return cmp.Compare(a.Key, b.Key) })
	l.m.Commit(ops)
	if unsorted {
		slices.Reverse(ops)
	}
	_, err := l.db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
		for _, op := range ops {
			if !yield([]byte(op.Key), []byte(op.Value)) {
				return
			}
		}
	}, &seerdb.BulkOptions{Unsorted: unsorted})
	if err == nil {
		l.durable = c // in every mode
	}
	return err
}

// TestBulkCrashSweep loses power at every operation on the file system.
func TestBulkCrashSweep(t *testing.T) {
	for _, s := range []struct {
		name string
		d    seerdb.Durability
		run  func(l *life) error
	}{
		{"empty", seerdb.Sync, func(l *life) error {
			return steps(l.open, func() error { return l.load(60, false) }, func() error { return l.commits(2) })
		}},
		{"over", seerdb.Sync, func(l *life) error {
			more := func() error { return l.commits(4) }
			return steps(l.open, more, l.flush, more, func() error { return l.load(40, false) }, more, func() error { return l.load(20, false) }, l.compact)
		}},
		{"buffered", seerdb.Buffered, func(l *life) error {
			more := func() error { return l.commits(4) }
			return steps(l.open, more, func() error { return l.load(20, false) }, more, l.close, l.open)
		}},
		{"no-wal", seerdb.NoWAL, func(l *life) error {
			more := func() error { return l.commits(4) }
			return steps(l.open, more, func() error { return l.load(20, false) }, more)
		}},
		{"unsorted", seerdb.Sync, func(l *life) error {
			more := func() error { return l.commits(3) }
			return steps(l.open, more, func() error { return l.load(900, true) }, more)
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			crashes, recoveries, step := 0, 0, int64(1)
			if s.name == "unsorted" && (testing.Short() || dbtest.RaceEnabled) {
				step = 7
			}
			for k := int64(1); ; k += step {
				fs := memfs.New()
				fs.FreezeAt(k)
				l := newLife(fs, s.d)
				l.o.MemoryBudget = 128 << 10 // for the sort, all there is to be had
				err := s.run(l)
				frozen := fs.Frozen()
				if l.db != nil {
					_ = l.db.Close()
				}
				if !frozen {
					dbtest.Must(t, err)
					break
				}
				crashes++
				recoveries += recoverAll(t, l, fs, k)
			}
			t.Logf("%d crash points, %d recoveries", crashes, recoveries)
			if crashes < 10 {
				t.Fatal("hardly anything crashed")
			}
		})
	}
}

// TestBulkErrorSweep makes every operation on the file system fail, once or
// from there on: the load is there wholly or not at all, as its error says, and
// nothing is left of one that is not.
func TestBulkErrorSweep(t *testing.T) {
	for _, unsorted := range []bool{false, true} {
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
			for _, count := range []int{1, 0} {
				t.Run(fmt.Sprintf("unsorted=%v, %s, %d times", unsorted, errno, count), func(t *testing.T) {
					t.Parallel()
					step, runs, definite := 1, 0, 0
					if testing.Short() || dbtest.RaceEnabled || unsorted {
						step = 5
					}
					for k := int(errno) % step; ; k += step {
						fired, failed := bulkFault(t, unsorted, faultfs.Rule{Op: faultfs.OpAll, Skip: k, Count: count, Err: errno, Short: errno == syscall.ENOSPC})
						if !fired {
							break
						}
						runs++
						if failed {
							definite++
						}
					}
					t.Logf("%d faults, %d failed loads", runs, definite)
					if runs < 5 || definite < 3 {
						t.Fatal("hardly anything failed")
					}
				})
			}
		}
	}
}

// bulkFaultExpires says when a row of bulkFault is gone: some day, or never.
func bulkFaultExpires(k, _ []byte) time.Time {
	if k[len(k)-1]%2 == 0 {
		return time.Time{}
	}
	return time.UnixMilli(1 << 50)
}

// bulkFaultMoments compares when loaded keys are gone.
func bulkFaultMoments(t *testing.T, what string, db *seerdb.DB, keys []string) {
	t.Helper()
	for _, k := range keys {
		if at, _, err := db.Expiry([]byte(k)); err != nil || !at.Equal(bulkFaultExpires([]byte(k), nil)) {
			t.Fatalf("%s, reopened: %q is there until %v, %v", what, k, at, err)
		}
	}
}

// bulkFault loads while a rule holds.
func bulkFault(t *testing.T, unsorted bool, rule faultfs.Rule) (fired, failed bool) {
	mem := memfs.New()
	fault := faultfs.New(mem)
	o, to := dbtest.Tiny()
	to.FS, to.ManualOnly, o.MemoryBudget = fault, true, 128<<10
	db, err := seerdb.Open("db", dbtest.With(o, to))
	dbtest.Must(t, err)
	old := dbtest.BulkMap(dbtest.BulkKeys(0, 100, 2), dbtest.BulkValue("old"))
	for k, v := range old {
		dbtest.Must(t, db.Put([]byte(k), []byte(v)))
	}
	dbtest.Must(t, db.Flush(context.Background()))
	dbtest.Must(t, db.Put([]byte("z"), []byte("1")))
	old["z"] = "1"
	n := 120
	if unsorted {
		n = 1200
	}
	keys, loaded := dbtest.BulkKeys(50, n, 1), map[string]string{}
	for k, v := range old {
		loaded[k] = v
	}
	for k, v := range dbtest.BulkMap(keys, dbtest.BulkValue("new")) {
		loaded[k] = v
	}
	active := fault.Inject(rule)
	_, err = db.BulkLoad(context.Background(), dbtest.BulkRows(keys, dbtest.BulkValue("new")), &seerdb.BulkOptions{Unsorted: unsorted, Expires: bulkFaultExpires})
	fired = active.Count() > 0
	fault.Clear()
	what := fmt.Sprintf("operation %d fails: %v", rule.Skip, err)
	if rule.Err == syscall.ENOSPC && err != nil && !errors.Is(err, seerdb.ErrNoSpace) && !errors.Is(err, seerdb.ErrCommitUnknown) && !errors.Is(err, seerdb.ErrReadOnly) {
		t.Fatalf("%s: that is not ErrNoSpace", what)
	}
	want := old
	if err == nil {
		want = loaded
	}
	dbtest.BulkCheck(t, what, db, want)
	poisoned := db.Put([]byte("y"), []byte("2")) != nil
	if !poisoned {
		old["y"], loaded["y"] = "2", "2"
		dbtest.BulkCheck(t, what+", then a commit", db, want)
	}
	cerr := db.Close()
	if !poisoned && cerr != nil {
		t.Fatalf("%s: close: %v", what, cerr)
	}
	for _, keep := range []float64{0, 1} {
		disk := mem.CrashClone(memfs.CrashOptions{Keep: keep})
		db := dbtest.BulkSmall(t, disk)
		dbtest.BulkNoLeftovers(t, disk)
		if errors.Is(err, seerdb.ErrCommitUnknown) {
			want = old
			if ok, gerr := db.Has([]byte(keys[1])); gerr == nil && ok {
				want = loaded
			}
		}
		dbtest.BulkCheck(t, what+", reopened", db, want)
		if len(want) == len(loaded) {
			bulkFaultMoments(t, what, db, keys[:20])
		}
		dbtest.BulkVerify(t, db)
		dbtest.Must(t, db.Close())
	}
	return fired, err != nil
}
