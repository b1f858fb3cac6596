package hazards

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/observe"
)

// flushSteps are the operations of a flush at which a test stops it.
var flushSteps = []struct {
	op      faultfs.OpKind
	pattern string
}{
	{faultfs.OpCreate, "*.wal"},
	{faultfs.OpDirSync, "db"},
	{faultfs.OpCreate, "*.val"},
	{faultfs.OpSync, "*.val"},
	{faultfs.OpCreate, "*.sst"},
	{faultfs.OpWrite, "*.sst"},
	{faultfs.OpSync, "*.sst"},
	{faultfs.OpWrite, "MANIFEST-*"},
	{faultfs.OpSync, "MANIFEST-*"},
	{faultfs.OpRemove, "*.wal"},
}

// Between the switch of the memtables and their publication as immutable,
// readers saw neither: acknowledged keys disappeared, or older values came up.
func TestS05NothingIsInvisibleDuringAFlush(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	var all []string
	for i, s := range flushSteps {
		more := []string{fmt.Sprintf("k%02d=%s", i, strings.Repeat("v", 300)), fmt.Sprintf("same=%d", i)}
		r.Put(more...)
		all = append(all, more[0])
		held := r.Hold(s.op, s.pattern)
		flushed := dbtest.Async(r.Flush)
		held.Wait()
		r.Want(append(slices.Clone(all), more[1])...)
		held.Release()
		dbtest.Must(t, r.Finish(flushed))
		r.Want(append(slices.Clone(all), more[1])...)
	}
}

// A flushed entry was visible in the table before it left the memtable, and
// a merge operand was applied twice. No entry is ever in two places.
func TestS06NothingIsVisibleTwiceDuringAFlush(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	for i := range 30 {
		r.Put(dbtest.Rows(fmt.Sprintf("%02d/", i), 10, "v")...)
		n := int64(10 * (i + 1))
		flushed := dbtest.Async(r.Flush)
		for done := false; !done; {
			select {
			case err := <-flushed:
				dbtest.Must(t, err)
				done = true
			default:
			}
			if got := r.Entries(); got != n {
				t.Fatalf("%d entries are visible; %d were written", got, n)
			}
		}
	}
}

// The one place for an immutable memtable was overwritten when a wait for it
// timed out.
func TestS07FullMemtablesQueueUpAndNoneIsLost(t *testing.T) {
	var stalled atomic.Bool
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
		o.MemtableSize = 2 << 10
		o.Listener.StallBegin = func(string) { stalled.Store(true) }
	})
	held := r.Hold(faultfs.OpCreate, "*.sst")
	all := dbtest.Rows("k", 200, "some value")
	var acked atomic.Int64
	wrote := dbtest.Async(func() error {
		for _, row := range all {
			k, v, _ := strings.Cut(row, "=")
			if err := r.DB.Put([]byte(k), []byte(v)); err != nil {
				return err
			}
			acked.Add(1)
		}
		return nil
	})
	dbtest.Eventually(t, 20*time.Second, "writers are stopped", stalled.Load)
	r.Blocked(wrote, "memtables are full and cannot be flushed")
	n := int(acked.Load())
	if m := r.DB.Metrics(); m.Memtable.Queue < 2 {
		t.Fatalf("%d memtables in the queue: the test fills too few", m.Memtable.Queue)
	}
	r.Want(all[:n]...)
	r.Crash(0).Want(all[:n]...)
	held.Release()
	dbtest.Must(t, r.Finish(wrote))
	dbtest.Must(t, r.Flush())
	r.Want(all...)
	r.Crash(0).Want(all...)
}

// The retry of a flush took the memtable out of the view before it was
// written, so a second failure lost it.
func TestS08FlushThatKeepsFailingLosesNothing(t *testing.T) {
	for _, op := range []faultfs.OpKind{faultfs.OpCreate, faultfs.OpWrite, faultfs.OpSync} {
		r := dbtest.NewRig(t, dbtest.Quiet)
		r.Put("a=1", "b=2")
		fired := r.Inject(op, "*.sst", dbtest.ErrDisk)
		for range 4 {
			if err := r.Flush(); !errors.Is(err, dbtest.ErrDisk) {
				t.Fatalf("flush: %v", err)
			}
			r.Want("a=1", "b=2")
		}
		r.Crash(0).Want("a=1", "b=2")
		fired.Remove()
		dbtest.Must(t, r.Flush())
		r.Want("a=1", "b=2")
		r.Crash(0).Want("a=1", "b=2")
		r.TidyDir()
	}
}

// A flush with nothing new to write answered nil although the memtable of the
// one before had failed and was still not on disk.
func TestS09FlushMeansEverythingBefore(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Durability = seerdb.NoWAL })
	r.Put("a=1")
	fired := r.Inject(faultfs.OpCreate, "*.sst", dbtest.ErrDisk)
	for range 3 {
		if err := r.Flush(); !errors.Is(err, dbtest.ErrDisk) {
			t.Fatalf("flush of what cannot be written: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	fired.Remove()
	held := r.Hold(faultfs.OpSync, "*.sst")
	if err := r.DB.Flush(ctx); err == nil {
		t.Fatal("the flush returned before the table was synced")
	}
	held.Release()
	dbtest.Must(t, r.Flush())
	r.Crash(0).Want("a=1")
}

// Whatever was called like a table was adopted at open, complete or not.
func TestS10OnlyTheManifestMakesATable(t *testing.T) {
	for _, s := range flushSteps {
		r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.MemtableSize = 64 << 10 }) // no log is made ahead
		all := dbtest.Rows("k", 30, strings.Repeat("v", 250))
		r.Put("k00000=old")
		dbtest.Must(t, r.Flush())
		r.Put(all...)
		held := r.Hold(s.op, s.pattern)
		flushed := dbtest.Async(r.Flush)
		held.Wait()
		for _, keep := range []float64{0, 0.5, 1} {
			after := r.Crash(keep)
			after.Want(all...).Clean()
			if n := after.Entries(); n > 31 {
				t.Errorf("crash at %d %s, keeping %v: %d entries of 31: some are there twice", s.op, s.pattern, keep, n)
			}
			after.TidyDir()
			dbtest.Must(t, after.DB.Close())
		}
		held.Release()
		dbtest.Must(t, r.Finish(flushed))
	}
}

// A whole table under a name of ours that no edit names is not part of the
// database.
func TestS10ForgottenTableIsNotAdopted(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("a=1")
	dbtest.Must(t, r.Flush())
	copied := r.Read("db/" + r.Files(".sst")[0])
	r.Delete("a")
	dbtest.Must(t, r.Flush())
	dbtest.Must(t, r.DB.Close())
	f, err := r.Mem.Create("db/900000.sst")
	dbtest.Must(t, err)
	_, err = f.Write(copied)
	dbtest.Must(t, errors.Join(err, f.Sync(), f.Close()))
	r = r.Reopen()
	r.Want()
	r.TidyDir()
}

// The log of values was synced after the table that points into it.
func TestS11OrderOfDurability(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.ValueThreshold = 10 })
	order := func(what string, steps ...string) (noted func()) {
		n := len(r.Ops.Since(0))
		return func() {
			dbtest.Eventually(t, 10*time.Second, fmt.Sprintf("%s did %v in this order", what, steps), func() bool {
				left := steps
				for _, op := range r.Ops.Since(n) {
					if ok, _ := path.Match(left[0], op); ok {
						if left = left[1:]; len(left) == 0 {
							return true
						}
					}
				}
				return false
			})
		}
	}
	table := []string{"create *.sst", "sync *.sst", "dirsync db", "sync MANIFEST-*"}
	r.Put(dbtest.Rows("a", 5, "a value that is kept apart")...)
	done := order("a flush", append(append([]string{"create *.val", "sync *.val"}, table[1:]...), "remove *.wal")...)
	dbtest.Must(t, r.Flush())
	done()
	r.Put(dbtest.Rows("a", 5, "another value that is kept apart")...)
	done = order("a flush and a compaction", slices.Concat(table, table, []string{"remove *.sst"})...)
	dbtest.Must(t, r.Flush())
	r.Compact()
	done()
}

// A sequence was compared with a number of files, and tables were never, or
// always, ripe for compaction.
func TestS12NumbersOfFilesAndSequencesAreNotMixedUp(t *testing.T) {
	for _, commits := range []int{1, 300} {
		t.Run(fmt.Sprintf("%d commits a flush", commits), func(t *testing.T) {
			r := dbtest.NewRig(t)
			want := map[string]string{}
			for round := range 3 {
				dbtest.Must(t, r.Finish(dbtest.Async(func() error {
					for i := range 12 {
						for c := range commits {
							k := fmt.Sprintf("k%03d", (i*7+c)%40)
							want[k] = fmt.Sprintf("%d/%d/%d", round, i, c)
							if err := r.DB.Put([]byte(k), []byte(want[k])); err != nil {
								return err
							}
						}
						if err := r.Flush(); err != nil {
							return err
						}
					}
					return nil
				})))
				dbtest.Eventually(t, 20*time.Second, "L0 is compacted", func() bool { return r.DB.Metrics().Levels[0].Runs <= 2 })
				r = r.Reopen()
				r.Want(lines(want)...).Clean()
			}
		})
	}
}

// lines lists a map as "key=value".
func lines(m map[string]string) (out []string) {
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	return out
}

// A failed compaction was reported as a failed flush.
func TestS13FailedCompactionIsNotAFailedFlush(t *testing.T) {
	var reported atomic.Int64
	r := dbtest.NewRig(t, func(o *seerdb.Options, _ *dbtest.TestOptions) {
		o.Listener = observe.EventListener{BackgroundError: func(error) { reported.Add(1) }}
	})
	fired := r.Inject(faultfs.OpRead, "*.sst", dbtest.ErrDisk)
	for i := range 4 {
		r.Put(fmt.Sprintf("k=%d", i))
		dbtest.Must(t, r.Flush())
	}
	dbtest.Eventually(t, 10*time.Second, "compaction fails, and says so", func() bool {
		return fired.Count() > 0 && reported.Load() > 0 && r.DB.Health().Status == observe.Degraded
	})
	if m := r.DB.Metrics(); m.Flushes.Count != 4 || m.Flushes.Failures != 0 {
		t.Fatalf("flushes: %+v", m.Flushes)
	}
	r.Put("k=4")
	held := r.Hold(faultfs.OpSync, "*.sst")
	flushed := dbtest.Async(r.Flush)
	held.Wait()
	before := reported.Load()
	dbtest.Eventually(t, 10*time.Second, "another compaction fails, during the flush", func() bool { return reported.Load() > before })
	r.Blocked(flushed, "its table is not synced")
	held.Release()
	dbtest.Must(t, r.Finish(flushed))
	fired.Remove()
	dbtest.Eventually(t, 10*time.Second, "the compaction is made up for", func() bool { return r.DB.Metrics().Levels[0].Runs < 2 })
	r.Want("k=4")
}

// A dead worker was never reported, and writers waited for it for ever, or
// went on after a minute.
func TestS17WorkerThatCannotWorkIsReported(t *testing.T) {
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) { o.MemtableSize, to.L0Trigger = 1<<10, 1 })
	fired := r.Inject(faultfs.OpRead, "*.sst", dbtest.ErrDisk)
	wrote := dbtest.Async(func() error {
		for i := range 3000 {
			if err := r.DB.Put(fmt.Appendf(nil, "key%06d", i), make([]byte, 100)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := r.Finish(wrote); !errors.Is(err, dbtest.ErrDisk) {
		t.Fatalf("writers learned %v", err)
	}
	if h := r.DB.Health(); h.Status == observe.OK || len(h.Reasons) == 0 {
		t.Fatalf("health: %+v", h)
	}
	fired.Remove()
	dbtest.Eventually(t, 20*time.Second, "commits work again", func() bool { return r.DB.Put([]byte("x"), nil) == nil })
}

// An error after the table was installed left it half forgotten.
func TestS18LogThatCannotBeRemovedIsOnlyLeftOver(t *testing.T) {
	r := dbtest.NewRig(t)
	fired := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpRemove, Path: "*.wal", Count: 2, Err: syscall.EACCES})
	for i := range 6 {
		r.Put(fmt.Sprintf("k=%d", i))
		dbtest.Must(t, r.Flush())
	}
	dbtest.Eventually(t, 10*time.Second, "the tables are compacted", func() bool { return r.DB.Metrics().Levels[0].Runs <= 2 })
	dbtest.Eventually(r, 10*time.Second, "two logs could not be removed", func() bool { return fired.Count() == 2 })
	if n := len(r.Files(".wal")); n < 3 {
		t.Fatalf("%d logs: none was left over", n)
	}
	for _, keep := range []float64{0, 1} {
		after := r.Crash(keep).Want("k=5")
		after.TidyDir()
		after.Put("k=6")
		after.Crash(0).Want("k=6")
	}
}

// A failed flush burnt a number and left half a file under a valid name.
func TestS19FailedFlushLeavesNoFile(t *testing.T) {
	for _, s := range flushSteps {
		if s.op&(faultfs.OpWrite|faultfs.OpSync) == 0 || path.Ext(s.pattern) == "" {
			continue
		}
		r := dbtest.NewRig(t, dbtest.Quiet)
		all := dbtest.Rows("k", 10, strings.Repeat("v", 250))
		r.Put(all...)
		fired := r.Fault.Inject(faultfs.Rule{Op: s.op, Path: s.pattern, Short: s.op == faultfs.OpWrite, Count: 1, Err: dbtest.ErrDisk})
		if err := r.Flush(); err == nil || fired.Count() != 1 {
			t.Fatalf("flush with a failing %s: %v", s.pattern, err)
		}
		dbtest.Must(t, r.Flush())
		r.TidyDir()
		created := slices.DeleteFunc(r.Ops.Since(0), func(o string) bool { return !strings.HasPrefix(o, "create") })
		slices.Sort(created)
		if len(slices.Compact(slices.Clone(created))) != len(created) {
			t.Fatalf("a name was used twice: %v", created)
		}
		r.Want(all...)
		r.Crash(0).Want(all...)
	}
}

// Flush reports the first failed attempt that began after it was called, and of
// no other: a caller that had made room on a full disk got the error of the attempt
// before, and one that looked after the next attempt saw no failure.
func TestFlushReportsItsOwnAttempts(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("a=1")
	before := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Delay: time.Hour, Count: 1, Err: dbtest.ErrDisk})
	early := dbtest.Async(r.Flush)
	dbtest.Eventually(t, 10*time.Second, "a flush is under way", func() bool { return before.Count() == 1 })
	r.Put("b=2")
	late := dbtest.Async(r.Flush)
	dbtest.Eventually(t, 10*time.Second, "another is asked for", func() bool { return r.DB.Metrics().Memtable.Queue == 2 })
	before.Remove()
	if err := r.Finish(early); !errors.Is(err, dbtest.ErrDisk) {
		t.Errorf("the flush whose attempt failed says %v", err)
	}
	dbtest.Must(t, r.Finish(late))
	for i := range 100 {
		r.Put(fmt.Sprintf("c=%d", i))
		failing := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Count: 1, Err: dbtest.ErrDisk})
		if err := r.Flush(); !errors.Is(err, dbtest.ErrDisk) || failing.Count() != 1 {
			t.Fatalf("flush %d, whose attempt failed, says %v", i, err)
		}
		dbtest.Must(t, r.Flush())
		failing.Remove()
	}
	r.Want("a=1", "b=2", "c=99")
}

// A failing stat after the table was complete made the retry write everything
// a second time, beside the first.
func TestS20FailureAfterTheTableIsComplete(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	all := dbtest.Rows("k", 10, "v")
	r.Put(all...)
	fired := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpStat, Path: "*.sst", Count: 1})
	if err := r.Flush(); err == nil || fired.Count() != 1 {
		t.Fatalf("flush with a failing stat: %v", err)
	}
	dbtest.Must(t, r.Flush())
	r.TidyDir()
	for _, db := range []*dbtest.Rig{r, r.Crash(0), r.Crash(1)} {
		db.Want(all...)
		if n := db.Entries(); n != 10 {
			t.Errorf("%d entries of 10", n)
		}
		if n := len(db.Files(".sst")); n != 1 {
			t.Errorf("%d tables, want 1", n)
		}
	}
}

// The flush of the writer and that of the worker wrote different tables, and
// the keys of one could not be read: there was a second path, and the kind of
// a table was guessed from a number. Here flush, rotation, close and recovery
// share one.
func TestS22EveryWayToATableIsTheSame(t *testing.T) {
	type way struct {
		name string
		o    dbtest.Change
		end  func(*dbtest.Rig) *dbtest.Rig
	}
	noWAL := func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Durability = seerdb.NoWAL }
	ways := []way{
		{"memtable", dbtest.Quiet, func(r *dbtest.Rig) *dbtest.Rig { return r }},
		{"flush", dbtest.Quiet, func(r *dbtest.Rig) *dbtest.Rig { dbtest.Must(r, r.Flush()); return r }},
		{"rotation", func(o *seerdb.Options, _ *dbtest.TestOptions) { o.MemtableSize = 1 << 10 }, func(r *dbtest.Rig) *dbtest.Rig { return r }},
		{"close", noWAL, (*dbtest.Rig).Reopen},
		{"recovery", dbtest.Quiet, func(r *dbtest.Rig) *dbtest.Rig { return r.Crash(0) }},
		{"recovery in pieces", dbtest.Quiet, func(r *dbtest.Rig) *dbtest.Rig { r.Options.MemtableSize = 1 << 10; return r.Crash(0) }},
	}
	var first []string
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			r := dbtest.NewRig(t, w.o)
			rng := rand.New(rand.NewPCG(5, 5))
			for i := range 500 {
				k := fmt.Sprintf("%x", rng.IntN(80))
				if rng.IntN(4) == 0 {
					r.Delete(k)
				} else {
					r.Put(fmt.Sprintf("%s=%d%s", k, i, strings.Repeat("x", rng.IntN(4)*100)))
				}
			}
			r = w.end(r)
			got := dbtest.Contents(t, r.DB)
			r.Want(got...)
			r.Compact()
			r.Clean().Want(got...)
			if first == nil {
				first = got
			} else if d := cmp.Diff(first, got); d != "" {
				t.Fatalf("not what the memtable held:\n%s", d)
			}
		})
	}
}
