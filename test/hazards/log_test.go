package hazards

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// The original had one log, which a flush cleared as a whole: what was written
// while the flush ran was lost with it.
func TestS01WritesDuringAFlushSurviveACrash(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("before=1")
	held := r.Hold(faultfs.OpSync, "*.sst")
	flushed := dbtest.Async(r.Flush)
	held.Wait()
	r.Put("during=2")
	held.Release()
	dbtest.Must(t, r.Finish(flushed))
	r.Crash(0).Want("before=1", "during=2")
}

// The retry of a failed flush wrote the old memtable and cleared the log with
// the records of the new one.
func TestS02RetriedFlushKeepsLaterWrites(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("a=1")
	fired := r.Inject(faultfs.OpCreate, "*.sst", dbtest.ErrDisk)
	if err := r.Flush(); !errors.Is(err, dbtest.ErrDisk) {
		t.Fatalf("flush: %v", err)
	}
	r.Put("b=2")
	fired.Remove()
	dbtest.Eventually(t, 10*time.Second, "the retry is done", func() bool { return r.DB.Metrics().Memtable.Queue == 0 })
	r.Put("c=3")
	r.Crash(0).Want("a=1", "b=2", "c=3")
}

// A writer that had fetched a memtable and slept through the switch put its
// entry where the flush no longer looked.
func TestS03SlowWriterIsPartOfTheFlush(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("first=1")
	held := r.Hold(faultfs.OpSync, "*.wal")
	acked := dbtest.Async(func() error { return r.DB.Put([]byte("slow"), []byte("2")) })
	held.Wait()
	flushed := dbtest.Async(r.Flush)
	r.Blocked(flushed, "a writer is inside the memtable being flushed")
	held.Release()
	dbtest.Must(t, r.Finish(acked))
	dbtest.Must(t, r.Finish(flushed))
	r.Want("first=1", "slow=2")
	r.Crash(0).Want("first=1", "slow=2")
}

// The sixteen memtables were switched one by one, and a batch fell apart over
// two generations.
func TestS04BatchIsNeverSplitByASwitch(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) {
		// Most of the log is not synced when the power goes.
		o.Durability, o.MemtableSize, to.Partitions = seerdb.Buffered, 6<<10, 16
	})
	const keys = 20
	var stop atomic.Bool
	var wg sync.WaitGroup
	acked := make([]atomic.Int64, 3)
	for w := range acked {
		wg.Go(func() {
			for i := int64(1); !stop.Load() && !t.Failed(); i++ {
				if err := r.DB.Apply(dbtest.Numbered(r.DB, w, keys, i), seerdb.DefaultDurability); err != nil {
					t.Error(err)
				}
				acked[w].Store(i)
			}
		})
	}
	crashes := dbtest.Some(12)
	for i := range crashes {
		atLeast := make([]int64, len(acked))
		for w := range acked {
			atLeast[w] = acked[w].Load()
		}
		dbtest.Must(t, r.Flush())
		time.Sleep(time.Duration(i%3) * time.Millisecond)
		after := r.Crash([]float64{0, 0.5, 1}[i%3])
		for w := range acked {
			if got := wholeBatch(t, after.DB, w, keys); got < atLeast[w] {
				t.Fatalf("batch %d of writer %d was flushed, batch %d is there", atLeast[w], w, got)
			}
		}
		dbtest.Must(t, after.DB.Close())
	}
	stop.Store(true)
	wg.Wait()
}

// wholeBatch reads what dbtest.Numbered wrote, and checks that it is of one batch.
func wholeBatch(t testing.TB, src interface {
	Prefix([]byte) *seerdb.Rows
}, writer, keys int) (number int64) {
	t.Helper()
	n := 0
	rows := src.Prefix(fmt.Appendf(nil, "w%d/", writer))
	for k, v := range rows.All() {
		var i int64
		if _, err := fmt.Sscanf(string(v), "%d", &i); err != nil {
			t.Fatal(err)
		}
		if n++; n > 1 && i != number {
			t.Fatalf("half a batch: %s is of batch %d, others of %d", k, i, number)
		}
		number = i
	}
	dbtest.Must(t, rows.Err())
	if n != 0 && n != keys {
		t.Fatalf("half a batch: %d keys of %d", n, keys)
	}
	return number
}

// The log of commits that were written ahead of the flush was cleared by it,
// and a flush in the middle of a batch took half of it.
func TestH02CommitsQueuedInTheLogSurviveAFlush(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("w0/x=0")
	r.Delete("w0/x")
	held := r.Hold(faultfs.OpSync, "*.wal")
	var acks []<-chan error
	commit := func(w int) {
		acks = append(acks, dbtest.Async(func() error { return r.DB.Apply(dbtest.Numbered(r.DB, w, 10, 1), seerdb.Sync) }))
	}
	for w := range 4 {
		commit(w)
	}
	held.Wait()
	flushed := dbtest.Async(r.Flush)
	for w := range 4 {
		commit(4 + w)
	}
	r.Blocked(flushed, "commits wait for the log")
	held.Release()
	for _, a := range append(acks, flushed) {
		dbtest.Must(t, r.Finish(a))
	}
	after := r.Crash(0)
	for w := range 8 {
		if wholeBatch(t, after.DB, w, 10) != 1 {
			t.Errorf("acknowledged batch %d is lost", w)
		}
	}
}

// A snapshot saw a commit appear later whose sequence was below its own.
func TestH08NothingAppearsBelowTheVisibleSequence(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Durability = seerdb.Buffered })
	held := r.Hold(faultfs.OpSync, "*.wal")
	b := r.DB.NewBatch()
	dbtest.Must(t, b.Put([]byte("slow"), []byte("1")))
	slow := dbtest.Async(func() error { return r.DB.Apply(b, seerdb.Sync) })
	held.Wait()
	fast := dbtest.Async(func() error { return r.DB.Put([]byte("fast"), []byte("2")) })
	r.Blocked(fast, "an older commit is not yet visible")
	snap := r.DB.NewSnapshot()
	defer snap.Close()
	r.Want()
	held.Release()
	dbtest.Must(t, r.Finish(slow))
	dbtest.Must(t, r.Finish(fast))
	r.Want("slow=1", "fast=2")
	for _, k := range []string{"slow", "fast"} {
		if v, err := snap.Get([]byte(k)); !errors.Is(err, seerdb.ErrNotFound) {
			t.Errorf("%s appeared in the snapshot: %q, %v", k, v, err)
		}
	}
}

// Commits were acknowledged out of a buffer in memory, which even Sync did not
// empty.
func TestH18AcknowledgedIsWhereTheModeSays(t *testing.T) {
	durability := func(d seerdb.Durability) dbtest.Change {
		return func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Durability = d }
	}
	t.Run("Sync", func(t *testing.T) {
		r := dbtest.NewRig(t, durability(seerdb.Sync))
		for i, row := range dbtest.Rows("k", 20, "v") {
			r.Put(row)
			r.Crash(0).Want(dbtest.Rows("k", i+1, "v")...)
		}
	})
	t.Run("Buffered", func(t *testing.T) {
		r := dbtest.NewRig(t, durability(seerdb.Buffered))
		for i, row := range dbtest.Rows("k", 20, "v") {
			r.Put(row)
			r.Crash(1).Want(dbtest.Rows("k", i+1, "v")...)
		}
		dbtest.Must(t, r.DB.Sync())
		r.Crash(0).Want(dbtest.Rows("k", 20, "v")...)
	})
	t.Run("Relaxed", func(t *testing.T) {
		r := dbtest.NewRig(t, durability(seerdb.Relaxed))
		r.Put("a=1")
		dbtest.Eventually(t, 10*time.Second, "the log reached the system without another commit", func() bool {
			_, err := r.Crash(1).DB.Get([]byte("a"))
			return err == nil
		})
		r.Put("b=2")
		dbtest.Must(t, r.DB.Sync())
		r.Crash(0).Want("a=1", "b=2")
	})
}

// A short write left half a record in the log; what was acknowledged after it
// could not be reached again.
func TestH19ShortWriteOfTheLogIsCutBack(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("a=1")
	fired := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Short: true, Count: 1, Err: syscall.ENOSPC})
	if err := r.DB.Put([]byte("lost"), []byte("2")); !errors.Is(err, seerdb.ErrNoSpace) || fired.Count() != 1 {
		t.Fatalf("commit on a full disk: %v", err)
	}
	r.Gone("lost")
	r.Put("b=3")
	r.Crash(0).Want("a=1", "b=3")
	r.Crash(1).Want("a=1", "b=3")

	r.Fault.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Short: true, Count: 1, Err: dbtest.ErrDisk})
	if err := r.DB.Put([]byte("torn"), []byte("4")); !errors.Is(err, seerdb.ErrCommitUnknown) {
		t.Fatalf("commit whose write broke off: %v", err)
	}
	if err := r.DB.Put([]byte("after"), nil); !errors.Is(err, seerdb.ErrReadOnly) || !errors.Is(err, dbtest.ErrDisk) {
		t.Fatalf("commit after a broken log: %v", err)
	}
	r.Crash(1).Want("a=1", "b=3")
}

// A failed sync was forgotten by the next.
func TestH19FailedSyncOfTheLogSticks(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("a=1")
	r.Mem.FailSync("*.wal", memfs.SyncForgets, dbtest.ErrDisk)
	if err := r.DB.Put([]byte("b"), []byte("2")); !errors.Is(err, seerdb.ErrCommitUnknown) {
		t.Fatalf("commit whose sync failed: %v", err)
	}
	for range 3 {
		if err := r.DB.Put([]byte("c"), nil); !errors.Is(err, seerdb.ErrReadOnly) {
			t.Fatalf("commit after a failed sync: %v", err)
		}
	}
	if err := r.DB.Sync(); !errors.Is(err, dbtest.ErrDisk) {
		t.Fatalf("sync after a failed sync: %v", err)
	}
	r.Want("a=1")
	r.Crash(0).Want("a=1")
}

// A log cut anywhere made the open fail, if it hit the header, or was read past
// its end.
func TestH19LogCutAnywhereOpensAsAPrefix(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Durability = seerdb.Buffered })
	all := dbtest.Rows("k", 7, "some value")
	r.Put(all...)
	name := r.Files(".wal")[0]
	size := len(r.Read("db/" + name))
	last := 0
	step := 9 / dbtest.Some(8) // every byte, or every third
	for cut := size % step; cut <= size; cut += step {
		after := r.Disk(1)
		after.Rewrite(name, func(b []byte) []byte { return b[:cut] })
		dbtest.Must(t, after.TryOpen())
		n := len(dbtest.Contents(t, after.DB))
		if n < last {
			t.Fatalf("cut at %d: %d commits, fewer than with less of the log", cut, n)
		}
		after.Want(all[:n]...)
		last = n
		dbtest.Must(t, after.DB.Close())
	}
	if last != len(all) {
		t.Fatalf("the whole log gives %d commits of %d", last, len(all))
	}
}

// The reader allocated what a length field said before it looked at the
// checksum.
func TestH19LengthInTheLogIsNotBelieved(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Durability = seerdb.Buffered })
	r.Put(dbtest.Rows("k", 5, "v")...)
	name := r.Files(".wal")[0]
	size := len(r.Read("db/" + name))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for at := range size - 4 {
		d := r.Disk(1)
		d.Rewrite(name, func(b []byte) []byte {
			copy(b[at:], "\xff\xff\xff\x7f")
			return b
		})
		if err := d.TryOpen(); err == nil {
			dbtest.Must(t, d.DB.Close())
		} else if !errors.Is(err, seerdb.ErrCorruption) && !errors.Is(err, seerdb.ErrFormatTooNew) {
			t.Fatalf("2 GiB at %d: %v", at, err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / uint64(size); each > 4<<20 {
		t.Fatalf("%d bytes were allocated for each open", each)
	}
}

// A follower could be left waiting until another client committed.
func TestH21NoCommitIsLeftWaiting(t *testing.T) {
	rounds := dbtest.Some(150)
	for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.Buffered, seerdb.Relaxed, seerdb.NoWAL} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			r := dbtest.NewRig(t, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Durability = d })
			for i := range rounds {
				var wg sync.WaitGroup
				for g := range 16 {
					wg.Go(func() {
						if err := r.DB.Put(fmt.Appendf(nil, "%d/%d", i, g), nil); err != nil {
							t.Error(err)
						}
					})
				}
				dbtest.Must(t, r.Finish(dbtest.Async(func() error { wg.Wait(); return nil })))
			}
		})
	}
}
