package seerdb_test

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
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// The original had one log, which a flush cleared as a whole: what was written
// while the flush ran was lost with it.
func TestS01WritesDuringAFlushSurviveACrash(t *testing.T) {
	r := newRig(t, quiet)
	r.put("before=1")
	held := r.hold(faultfs.OpSync, "*.sst")
	flushed := async(r.flush)
	held.wait()
	r.put("during=2")
	held.release()
	must(t, r.finish(flushed))
	r.crash(0).want("before=1", "during=2")
}

// The retry of a failed flush wrote the old memtable and cleared the log with
// the records of the new one.
func TestS02RetriedFlushKeepsLaterWrites(t *testing.T) {
	r := newRig(t, quiet)
	r.put("a=1")
	fired := r.fail(faultfs.OpCreate, "*.sst", errDisk)
	if err := r.flush(); !errors.Is(err, errDisk) {
		t.Fatalf("flush: %v", err)
	}
	r.put("b=2")
	fired.Remove()
	eventually(t, 10*time.Second, "the retry is done", func() bool { return r.db.Metrics().Memtable.Queue == 0 })
	r.put("c=3")
	r.crash(0).want("a=1", "b=2", "c=3")
}

// A writer that had fetched a memtable and slept through the switch put its
// entry where the flush no longer looked.
func TestS03SlowWriterIsPartOfTheFlush(t *testing.T) {
	r := newRig(t, quiet)
	r.put("first=1")
	held := r.hold(faultfs.OpSync, "*.wal")
	acked := async(func() error { return r.db.Put([]byte("slow"), []byte("2")) })
	held.wait()
	flushed := async(r.flush)
	r.blocked(flushed, "a writer is inside the memtable being flushed")
	held.release()
	must(t, r.finish(acked))
	must(t, r.finish(flushed))
	r.want("first=1", "slow=2")
	r.crash(0).want("first=1", "slow=2")
}

// The sixteen memtables were switched one by one, and a batch fell apart over
// two generations.
func TestS04BatchIsNeverSplitByASwitch(t *testing.T) {
	r := newRig(t, quiet, func(o *seerdb.Options, to *seerdb.TestOptions) {
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
				if err := r.db.Apply(numbered(r.db, w, keys, i), seerdb.DefaultDurability); err != nil {
					t.Error(err)
				}
				acked[w].Store(i)
			}
		})
	}
	crashes := some(12)
	for i := range crashes {
		atLeast := make([]int64, len(acked))
		for w := range acked {
			atLeast[w] = acked[w].Load()
		}
		must(t, r.flush())
		time.Sleep(time.Duration(i%3) * time.Millisecond)
		after := r.crash([]float64{0, 0.5, 1}[i%3])
		for w := range acked {
			if got := wholeBatch(t, after.db, w, keys); got < atLeast[w] {
				t.Fatalf("batch %d of writer %d was flushed, batch %d is there", atLeast[w], w, got)
			}
		}
		must(t, after.db.Close())
	}
	stop.Store(true)
	wg.Wait()
}

// numbered is a batch that sets all keys of a writer to one number.
func numbered(db *seerdb.DB, writer, keys int, n int64) *seerdb.Batch {
	b := db.NewBatch()
	for k := range keys {
		_ = b.Put(fmt.Appendf(nil, "w%d/%03d", writer, k), fmt.Appendf(nil, "%d", n))
	}
	return b
}

// wholeBatch reads what numbered wrote, and checks that it is of one batch.
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
	must(t, rows.Err())
	if n != 0 && n != keys {
		t.Fatalf("half a batch: %d keys of %d", n, keys)
	}
	return number
}

// The log of commits that were written ahead of the flush was cleared by it,
// and a flush in the middle of a batch took half of it.
func TestH02CommitsQueuedInTheLogSurviveAFlush(t *testing.T) {
	r := newRig(t, quiet)
	r.put("w0/x=0")
	r.del("w0/x")
	held := r.hold(faultfs.OpSync, "*.wal")
	var acks []<-chan error
	commit := func(w int) {
		acks = append(acks, async(func() error { return r.db.Apply(numbered(r.db, w, 10, 1), seerdb.Sync) }))
	}
	for w := range 4 {
		commit(w)
	}
	held.wait()
	flushed := async(r.flush)
	for w := range 4 {
		commit(4 + w)
	}
	r.blocked(flushed, "commits wait for the log")
	held.release()
	for _, a := range append(acks, flushed) {
		must(t, r.finish(a))
	}
	after := r.crash(0)
	for w := range 8 {
		if wholeBatch(t, after.db, w, 10) != 1 {
			t.Errorf("acknowledged batch %d is lost", w)
		}
	}
}

// A snapshot saw a commit appear later whose sequence was below its own.
func TestH08NothingAppearsBelowTheVisibleSequence(t *testing.T) {
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Durability = seerdb.Buffered })
	held := r.hold(faultfs.OpSync, "*.wal")
	b := r.db.NewBatch()
	must(t, b.Put([]byte("slow"), []byte("1")))
	slow := async(func() error { return r.db.Apply(b, seerdb.Sync) })
	held.wait()
	fast := async(func() error { return r.db.Put([]byte("fast"), []byte("2")) })
	r.blocked(fast, "an older commit is not yet visible")
	snap := r.db.NewSnapshot()
	defer snap.Close()
	r.want()
	held.release()
	must(t, r.finish(slow))
	must(t, r.finish(fast))
	r.want("slow=1", "fast=2")
	for _, k := range []string{"slow", "fast"} {
		if v, err := snap.Get([]byte(k)); !errors.Is(err, seerdb.ErrNotFound) {
			t.Errorf("%s appeared in the snapshot: %q, %v", k, v, err)
		}
	}
}

// Commits were acknowledged out of a buffer in memory, which even Sync did not
// empty.
func TestH18AcknowledgedIsWhereTheModeSays(t *testing.T) {
	durability := func(d seerdb.Durability) change {
		return func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Durability = d }
	}
	t.Run("Sync", func(t *testing.T) {
		r := newRig(t, durability(seerdb.Sync))
		for i, row := range rows("k", 20, "v") {
			r.put(row)
			r.crash(0).want(rows("k", i+1, "v")...)
		}
	})
	t.Run("Buffered", func(t *testing.T) {
		r := newRig(t, durability(seerdb.Buffered))
		for i, row := range rows("k", 20, "v") {
			r.put(row)
			r.crash(1).want(rows("k", i+1, "v")...)
		}
		must(t, r.db.Sync())
		r.crash(0).want(rows("k", 20, "v")...)
	})
	t.Run("Relaxed", func(t *testing.T) {
		r := newRig(t, durability(seerdb.Relaxed))
		r.put("a=1")
		eventually(t, 10*time.Second, "the log reached the system without another commit", func() bool {
			_, err := r.crash(1).db.Get([]byte("a"))
			return err == nil
		})
		r.put("b=2")
		must(t, r.db.Sync())
		r.crash(0).want("a=1", "b=2")
	})
}

// A short write left half a record in the log; what was acknowledged after it
// could not be reached again.
func TestH19ShortWriteOfTheLogIsCutBack(t *testing.T) {
	r := newRig(t, quiet)
	r.put("a=1")
	fired := r.fault.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Short: true, Count: 1, Err: syscall.ENOSPC})
	if err := r.db.Put([]byte("lost"), []byte("2")); !errors.Is(err, seerdb.ErrNoSpace) || fired.Count() != 1 {
		t.Fatalf("commit on a full disk: %v", err)
	}
	r.gone("lost")
	r.put("b=3")
	r.crash(0).want("a=1", "b=3")
	r.crash(1).want("a=1", "b=3")

	r.fault.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Short: true, Count: 1, Err: errDisk})
	if err := r.db.Put([]byte("torn"), []byte("4")); !errors.Is(err, seerdb.ErrCommitUnknown) {
		t.Fatalf("commit whose write broke off: %v", err)
	}
	if err := r.db.Put([]byte("after"), nil); !errors.Is(err, seerdb.ErrReadOnly) || !errors.Is(err, errDisk) {
		t.Fatalf("commit after a broken log: %v", err)
	}
	r.crash(1).want("a=1", "b=3")
}

// A failed sync was forgotten by the next.
func TestH19FailedSyncOfTheLogSticks(t *testing.T) {
	r := newRig(t, quiet)
	r.put("a=1")
	r.mem.FailSync("*.wal", memfs.SyncForgets, errDisk)
	if err := r.db.Put([]byte("b"), []byte("2")); !errors.Is(err, seerdb.ErrCommitUnknown) {
		t.Fatalf("commit whose sync failed: %v", err)
	}
	for range 3 {
		if err := r.db.Put([]byte("c"), nil); !errors.Is(err, seerdb.ErrReadOnly) {
			t.Fatalf("commit after a failed sync: %v", err)
		}
	}
	if err := r.db.Sync(); !errors.Is(err, errDisk) {
		t.Fatalf("sync after a failed sync: %v", err)
	}
	r.want("a=1")
	r.crash(0).want("a=1")
}

// A log cut anywhere made the open fail, if it hit the header, or was read past
// its end.
func TestH19LogCutAnywhereOpensAsAPrefix(t *testing.T) {
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Durability = seerdb.Buffered })
	all := rows("k", 7, "some value")
	r.put(all...)
	name := r.files(".wal")[0]
	size := len(r.read("db/" + name))
	last := 0
	step := 9 / some(8) // every byte, or every third
	for cut := size % step; cut <= size; cut += step {
		after := r.disk(1)
		after.rewrite(name, func(b []byte) []byte { return b[:cut] })
		must(t, after.tryOpen())
		n := len(contents(t, after.db))
		if n < last {
			t.Fatalf("cut at %d: %d commits, fewer than with less of the log", cut, n)
		}
		after.want(all[:n]...)
		last = n
		must(t, after.db.Close())
	}
	if last != len(all) {
		t.Fatalf("the whole log gives %d commits of %d", last, len(all))
	}
}

// The reader allocated what a length field said before it looked at the
// checksum.
func TestH19LengthInTheLogIsNotBelieved(t *testing.T) {
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Durability = seerdb.Buffered })
	r.put(rows("k", 5, "v")...)
	name := r.files(".wal")[0]
	size := len(r.read("db/" + name))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for at := range size - 4 {
		d := r.disk(1)
		d.rewrite(name, func(b []byte) []byte {
			copy(b[at:], "\xff\xff\xff\x7f")
			return b
		})
		if err := d.tryOpen(); err == nil {
			must(t, d.db.Close())
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
	rounds := some(150)
	for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.Buffered, seerdb.Relaxed, seerdb.NoWAL} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Durability = d })
			for i := range rounds {
				var wg sync.WaitGroup
				for g := range 16 {
					wg.Go(func() {
						if err := r.db.Put(fmt.Appendf(nil, "%d/%d", i, g), nil); err != nil {
							t.Error(err)
						}
					})
				}
				must(t, r.finish(async(func() error { wg.Wait(); return nil })))
			}
		})
	}
}
