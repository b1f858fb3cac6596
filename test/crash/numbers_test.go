package crash

// This file holds the numbers of files: a log that commits were acknowledged in
// has a number that the manifest reserved, whatever used up numbers before it.

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// rotatedRows puts rows in Sync mode, over several logs, while the manifest
// cannot be written, loses power, and looks whether every row is there.
func rotatedRows(t *testing.T, r *dbtest.Rig) {
	t.Helper()
	slow := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "MANIFEST-*", Delay: time.Hour})
	var acked atomic.Int64
	done := make(chan error, 1)
	go func() {
		for i := range 300 { // in memtables of 16 KiB, of which three may wait
			if err := r.DB.Put(fmt.Appendf(nil, "acked%04d", i), make([]byte, 100)); err != nil {
				done <- err
				return
			}
			acked.Store(int64(i + 1))
		}
		done <- nil
	}()
	for deadline := time.Now().Add(10 * time.Second); slow.Count() == 0 || acked.Load() < 200; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d rows were acknowledged and %d syncs of the manifest waited", acked.Load(), slow.Count())
		}
	}
	n := int(acked.Load())
	after := r.Crash(0)
	for i := range n {
		if _, err := after.DB.Get(fmt.Appendf(nil, "acked%04d", i)); err != nil {
			t.Fatalf("row %d of %d acknowledged ones: %v", i, n, err)
		}
	}
	slow.Remove()
	dbtest.Must(t, <-done)
}

// TestLogsOfALoadingDatabase: what a load spills has numbers of its own, so that
// the logs of commits beside it are not beyond those that the manifest reserved.
func TestLogsOfALoadingDatabase(t *testing.T) {
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.Durability, o.MemoryBudget, to.ManualOnly = seerdb.Sync, 64<<10, true
	})
	var rows iter.Seq2[[]byte, []byte] = func(yield func(k, v []byte) bool) {
		for i := range 12_000 {
			if i == 11_999 {
				rotatedRows(t, r)
			}
			if !yield(fmt.Appendf(nil, "loaded%08d", (i*7919)%1_000_000), make([]byte, 1000)) {
				return
			}
		}
	}
	_, err := r.DB.BulkLoad(context.Background(), rows, &seerdb.BulkOptions{Unsorted: true})
	dbtest.Must(t, err)
}

// TestLogsAfterFailedOnes: attempts to make a log that fail use up numbers too.
func TestLogsAfterFailedOnes(t *testing.T) {
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.Durability, to.ManualOnly = seerdb.Sync, true
	})
	full := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.wal", Err: syscall.ENOSPC})
	failed := 0
	for i := 0; failed < 300 && i < 3000; i++ {
		if r.DB.Put(fmt.Appendf(nil, "before%04d", i), make([]byte, 100)) != nil {
			failed++
		}
	}
	if full.Count() == 0 {
		t.Fatal("no log was kept from being made")
	}
	full.Remove()
	rotatedRows(t, r)
}

// TestSpilledFilesGo: what a load spilled and a kill left, or what could not be
// removed before a clean Close, is gone after the next Open, whichever opening of
// the database it was.
func TestSpilledFilesGo(t *testing.T) {
	for _, killed := range []bool{true, false} {
		r := dbtest.NewRig(t, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.MemoryBudget = 64 << 10 })
		r.Put("a=1")
		r = r.Reopen()
		d := r
		if !killed {
			r.Inject(faultfs.OpRemove, "*.tmp", syscall.EIO)
		}
		var rows iter.Seq2[[]byte, []byte] = func(yield func(k, v []byte) bool) {
			for i := range 300 {
				if killed && i == 299 {
					d = r.Disk(1)
				}
				if !yield(fmt.Appendf(nil, "loaded%08d", i*7919%300), make([]byte, 1000)) {
					return
				}
			}
		}
		_, err := r.DB.BulkLoad(context.Background(), rows, &seerdb.BulkOptions{Unsorted: true})
		dbtest.Must(t, err)
		if !killed {
			dbtest.Must(t, r.DB.Close())
		}
		left := func() (names []string) {
			all, err := d.Mem.List("db")
			dbtest.Must(t, err)
			return slices.DeleteFunc(all, func(n string) bool { return !strings.HasSuffix(n, ".tmp") })
		}
		if len(left()) == 0 {
			t.Fatal("nothing was spilled")
		}
		d.Open()
		if names := left(); len(names) > 0 {
			t.Errorf("killed %v: after Open there are %v", killed, names)
		}
	}
}
