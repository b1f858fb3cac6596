package seerdb_test

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
	r := newRig(t, quiet)
	var all []string
	for i, s := range flushSteps {
		more := []string{fmt.Sprintf("k%02d=%s", i, strings.Repeat("v", 300)), fmt.Sprintf("same=%d", i)}
		r.put(more...)
		all = append(all, more[0])
		held := r.hold(s.op, s.pattern)
		flushed := async(r.flush)
		held.wait()
		r.want(append(slices.Clone(all), more[1])...)
		held.release()
		must(t, r.finish(flushed))
		r.want(append(slices.Clone(all), more[1])...)
	}
}

// A flushed entry was to be seen in the table before it left the memtable, and
// a merge operand was applied twice. No entry is ever in two places.
func TestS06NothingIsVisibleTwiceDuringAFlush(t *testing.T) {
	r := newRig(t, quiet)
	for i := range 30 {
		r.put(rows(fmt.Sprintf("%02d/", i), 10, "v")...)
		n := int64(10 * (i + 1))
		flushed := async(r.flush)
		for done := false; !done; {
			select {
			case err := <-flushed:
				must(t, err)
				done = true
			default:
			}
			if got := r.entries(); got != n {
				t.Fatalf("%d entries are visible; %d were written", got, n)
			}
		}
	}
}

// The one place for an immutable memtable was overwritten when a wait for it
// timed out.
func TestS07FullMemtablesQueueUpAndNoneIsLost(t *testing.T) {
	var stalled atomic.Bool
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) {
		o.MemtableSize = 2 << 10
		o.Listener.StallBegin = func(string) { stalled.Store(true) }
	})
	held := r.hold(faultfs.OpCreate, "*.sst")
	all := rows("k", 200, "some value")
	var acked atomic.Int64
	wrote := async(func() error {
		for _, row := range all {
			k, v, _ := strings.Cut(row, "=")
			if err := r.db.Put([]byte(k), []byte(v)); err != nil {
				return err
			}
			acked.Add(1)
		}
		return nil
	})
	eventually(t, 20*time.Second, "writers are stopped", stalled.Load)
	r.blocked(wrote, "memtables are full and cannot be flushed")
	n := int(acked.Load())
	if m := r.db.Metrics(); m.Memtable.Queue < 2 {
		t.Fatalf("%d memtables in the queue: the test fills too few", m.Memtable.Queue)
	}
	r.want(all[:n]...)
	r.crash(0).want(all[:n]...)
	held.release()
	must(t, r.finish(wrote))
	must(t, r.flush())
	r.want(all...)
	r.crash(0).want(all...)
}

// The retry of a flush took the memtable out of the view before it was
// written, so a second failure lost it.
func TestS08FlushThatKeepsFailingLosesNothing(t *testing.T) {
	for _, op := range []faultfs.OpKind{faultfs.OpCreate, faultfs.OpWrite, faultfs.OpSync} {
		r := newRig(t, quiet)
		r.put("a=1", "b=2")
		fired := r.fail(op, "*.sst", errDisk)
		for range 4 {
			if err := r.flush(); !errors.Is(err, errDisk) {
				t.Fatalf("flush: %v", err)
			}
			r.want("a=1", "b=2")
		}
		r.crash(0).want("a=1", "b=2")
		fired.Remove()
		must(t, r.flush())
		r.want("a=1", "b=2")
		r.crash(0).want("a=1", "b=2")
		r.tidyDir()
	}
}

// A flush with nothing new to write answered nil although the memtable of the
// one before had failed and was still not on disk.
func TestS09FlushMeansEverythingBefore(t *testing.T) {
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Durability = seerdb.NoWAL })
	r.put("a=1")
	fired := r.fail(faultfs.OpCreate, "*.sst", errDisk)
	for range 3 {
		if err := r.flush(); !errors.Is(err, errDisk) {
			t.Fatalf("flush of what cannot be written: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	fired.Remove()
	held := r.hold(faultfs.OpSync, "*.sst")
	if err := r.db.Flush(ctx); err == nil {
		t.Fatal("the flush returned before the table was synced")
	}
	held.release()
	must(t, r.flush())
	r.crash(0).want("a=1")
}

// Whatever was called like a table was adopted at open, complete or not.
func TestS10OnlyTheManifestMakesATable(t *testing.T) {
	for _, s := range flushSteps {
		r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.MemtableSize = 64 << 10 }) // no log is made ahead
		all := rows("k", 30, strings.Repeat("v", 250))
		r.put("k00000=old")
		must(t, r.flush())
		r.put(all...)
		held := r.hold(s.op, s.pattern)
		flushed := async(r.flush)
		held.wait()
		for _, keep := range []float64{0, 0.5, 1} {
			after := r.crash(keep)
			after.want(all...).clean()
			if n := after.entries(); n > 31 {
				t.Errorf("crash at %d %s, keeping %v: %d entries of 31: some are there twice", s.op, s.pattern, keep, n)
			}
			after.tidyDir()
			must(t, after.db.Close())
		}
		held.release()
		must(t, r.finish(flushed))
	}
}

// A whole table under a name of ours that no edit names is not part of the
// database.
func TestS10ForgottenTableIsNotAdopted(t *testing.T) {
	r := newRig(t, quiet)
	r.put("a=1")
	must(t, r.flush())
	copied := r.read("db/" + r.files(".sst")[0])
	r.del("a")
	must(t, r.flush())
	must(t, r.db.Close())
	f, err := r.mem.Create("db/900000.sst")
	must(t, err)
	_, err = f.Write(copied)
	must(t, errors.Join(err, f.Sync(), f.Close()))
	r = r.reopen()
	r.want()
	r.tidyDir()
}

// The log of values was synced after the table that points into it.
func TestS11OrderOfDurability(t *testing.T) {
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.ValueThreshold = 10 })
	order := func(what string, steps ...string) (noted func()) {
		n := len(r.log.since(0))
		return func() {
			eventually(t, 10*time.Second, fmt.Sprintf("%s did %v in this order", what, steps), func() bool {
				left := steps
				for _, op := range r.log.since(n) {
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
	r.put(rows("a", 5, "a value that is kept apart")...)
	done := order("a flush", append(append([]string{"create *.val", "sync *.val"}, table[1:]...), "remove *.wal")...)
	must(t, r.flush())
	done()
	r.put(rows("a", 5, "another value that is kept apart")...)
	done = order("a flush and a compaction", slices.Concat(table, table, []string{"remove *.sst"})...)
	must(t, r.flush())
	r.compact()
	done()
}

// A sequence was compared with a number of files, and tables were never, or
// always, ripe for compaction.
func TestS12NumbersOfFilesAndSequencesAreNotMixedUp(t *testing.T) {
	for _, commits := range []int{1, 300} {
		t.Run(fmt.Sprintf("%d commits a flush", commits), func(t *testing.T) {
			r := newRig(t)
			want := map[string]string{}
			for round := range 3 {
				must(t, r.finish(async(func() error {
					for i := range 12 {
						for c := range commits {
							k := fmt.Sprintf("k%03d", (i*7+c)%40)
							want[k] = fmt.Sprintf("%d/%d/%d", round, i, c)
							if err := r.db.Put([]byte(k), []byte(want[k])); err != nil {
								return err
							}
						}
						if err := r.flush(); err != nil {
							return err
						}
					}
					return nil
				})))
				eventually(t, 20*time.Second, "L0 is compacted", func() bool { return r.db.Metrics().Levels[0].Runs <= 2 })
				r = r.reopen()
				r.want(lines(want)...).clean()
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
	r := newRig(t, func(o *seerdb.Options, _ *seerdb.TestOptions) {
		o.Listener = observe.EventListener{BackgroundError: func(error) { reported.Add(1) }}
	})
	fired := r.fail(faultfs.OpRead, "*.sst", errDisk)
	for i := range 4 {
		r.put(fmt.Sprintf("k=%d", i))
		must(t, r.flush())
	}
	eventually(t, 10*time.Second, "compaction fails, and says so", func() bool {
		return fired.Count() > 0 && reported.Load() > 0 && r.db.Health().Status == observe.Degraded
	})
	if m := r.db.Metrics(); m.Flushes.Count != 4 || m.Flushes.Failures != 0 {
		t.Fatalf("flushes: %+v", m.Flushes)
	}
	r.put("k=4")
	held := r.hold(faultfs.OpSync, "*.sst")
	flushed := async(r.flush)
	held.wait()
	before := reported.Load()
	eventually(t, 10*time.Second, "another compaction fails, during the flush", func() bool { return reported.Load() > before })
	r.blocked(flushed, "its table is not synced")
	held.release()
	must(t, r.finish(flushed))
	fired.Remove()
	eventually(t, 10*time.Second, "the compaction is made up for", func() bool { return r.db.Metrics().Levels[0].Runs < 2 })
	r.want("k=4")
}

// A dead worker was never reported, and writers waited for it for ever, or
// went on after a minute.
func TestS17WorkerThatCannotWorkIsReported(t *testing.T) {
	r := newRig(t, func(o *seerdb.Options, to *seerdb.TestOptions) { o.MemtableSize, to.L0Trigger = 1<<10, 1 })
	fired := r.fail(faultfs.OpRead, "*.sst", errDisk)
	wrote := async(func() error {
		for i := range 3000 {
			if err := r.db.Put(fmt.Appendf(nil, "key%06d", i), make([]byte, 100)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := r.finish(wrote); !errors.Is(err, errDisk) {
		t.Fatalf("writers learned %v", err)
	}
	if h := r.db.Health(); h.Status == observe.OK || len(h.Reasons) == 0 {
		t.Fatalf("health: %+v", h)
	}
	fired.Remove()
	eventually(t, 20*time.Second, "commits work again", func() bool { return r.db.Put([]byte("x"), nil) == nil })
}

// An error after the table was installed left it half forgotten.
func TestS18LogThatCannotBeRemovedIsOnlyLeftOver(t *testing.T) {
	r := newRig(t)
	fired := r.fault.Inject(faultfs.Rule{Op: faultfs.OpRemove, Path: "*.wal", Count: 2, Err: syscall.EACCES})
	for i := range 6 {
		r.put(fmt.Sprintf("k=%d", i))
		must(t, r.flush())
	}
	eventually(t, 10*time.Second, "the tables are compacted", func() bool { return r.db.Metrics().Levels[0].Runs <= 2 })
	eventually(r, 10*time.Second, "two logs could not be removed", func() bool { return fired.Count() == 2 })
	if n := len(r.files(".wal")); n < 3 {
		t.Fatalf("%d logs: none was left over", n)
	}
	for _, keep := range []float64{0, 1} {
		after := r.crash(keep).want("k=5")
		after.tidyDir()
		after.put("k=6")
		after.crash(0).want("k=6")
	}
}

// A failed flush burnt a number and left half a file under a valid name.
func TestS19FailedFlushLeavesNoFile(t *testing.T) {
	for _, s := range flushSteps {
		if s.op&(faultfs.OpWrite|faultfs.OpSync) == 0 || path.Ext(s.pattern) == "" {
			continue
		}
		r := newRig(t, quiet)
		all := rows("k", 10, strings.Repeat("v", 250))
		r.put(all...)
		fired := r.fault.Inject(faultfs.Rule{Op: s.op, Path: s.pattern, Short: s.op == faultfs.OpWrite, Count: 1, Err: errDisk})
		if err := r.flush(); err == nil || fired.Count() != 1 {
			t.Fatalf("flush with a failing %s: %v", s.pattern, err)
		}
		must(t, r.flush())
		r.tidyDir()
		created := slices.DeleteFunc(r.log.since(0), func(o string) bool { return !strings.HasPrefix(o, "create") })
		slices.Sort(created)
		if len(slices.Compact(slices.Clone(created))) != len(created) {
			t.Fatalf("a name was used twice: %v", created)
		}
		r.want(all...)
		r.crash(0).want(all...)
	}
}

// Flush reports the first failed attempt that began after it was called, and of
// no other: who made room on a full disk was told of the attempt before, and a
// failure was not seen by who looked after the next attempt.
func TestFlushReportsItsOwnAttempts(t *testing.T) {
	r := newRig(t, quiet)
	r.put("a=1")
	before := r.fault.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Delay: time.Hour, Count: 1, Err: errDisk})
	early := async(r.flush)
	eventually(t, 10*time.Second, "a flush is under way", func() bool { return before.Count() == 1 })
	r.put("b=2")
	late := async(r.flush)
	eventually(t, 10*time.Second, "another is asked for", func() bool { return r.db.Metrics().Memtable.Queue == 2 })
	before.Remove()
	if err := r.finish(early); !errors.Is(err, errDisk) {
		t.Errorf("the flush whose attempt failed says %v", err)
	}
	must(t, r.finish(late))
	for i := range 100 {
		r.put(fmt.Sprintf("c=%d", i))
		failing := r.fault.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Count: 1, Err: errDisk})
		if err := r.flush(); !errors.Is(err, errDisk) || failing.Count() != 1 {
			t.Fatalf("flush %d, whose attempt failed, says %v", i, err)
		}
		must(t, r.flush())
		failing.Remove()
	}
	r.want("a=1", "b=2", "c=99")
}

// A failing stat after the table was complete made the retry write everything
// a second time, beside the first.
func TestS20FailureAfterTheTableIsComplete(t *testing.T) {
	r := newRig(t, quiet)
	all := rows("k", 10, "v")
	r.put(all...)
	fired := r.fault.Inject(faultfs.Rule{Op: faultfs.OpStat, Path: "*.sst", Count: 1})
	if err := r.flush(); err == nil || fired.Count() != 1 {
		t.Fatalf("flush with a failing stat: %v", err)
	}
	must(t, r.flush())
	r.tidyDir()
	for _, db := range []*rig{r, r.crash(0), r.crash(1)} {
		db.want(all...)
		if n := db.entries(); n != 10 {
			t.Errorf("%d entries of 10", n)
		}
		if n := len(db.files(".sst")); n != 1 {
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
		o    change
		end  func(*rig) *rig
	}
	noWAL := func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Durability = seerdb.NoWAL }
	ways := []way{
		{"memtable", quiet, func(r *rig) *rig { return r }},
		{"flush", quiet, func(r *rig) *rig { must(r, r.flush()); return r }},
		{"rotation", func(o *seerdb.Options, _ *seerdb.TestOptions) { o.MemtableSize = 1 << 10 }, func(r *rig) *rig { return r }},
		{"close", noWAL, (*rig).reopen},
		{"recovery", quiet, func(r *rig) *rig { return r.crash(0) }},
		{"recovery in pieces", quiet, func(r *rig) *rig { r.o.MemtableSize = 1 << 10; return r.crash(0) }},
	}
	var first []string
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t, w.o)
			rng := rand.New(rand.NewPCG(5, 5))
			for i := range 500 {
				k := fmt.Sprintf("%x", rng.IntN(80))
				if rng.IntN(4) == 0 {
					r.del(k)
				} else {
					r.put(fmt.Sprintf("%s=%d%s", k, i, strings.Repeat("x", rng.IntN(4)*100)))
				}
			}
			r = w.end(r)
			got := contents(t, r.db)
			r.want(got...)
			r.compact()
			r.clean().want(got...)
			if first == nil {
				first = got
			} else if d := cmp.Diff(first, got); d != "" {
				t.Fatalf("not what the memtable held:\n%s", d)
			}
		})
	}
}
