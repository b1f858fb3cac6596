package concurrent

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// prompt runs calls that must return while a disk operation is held up.
func prompt(t *testing.T, db *seerdb.DB) {
	t.Helper()
	for what, call := range map[string]func(){
		"Get":         func() { _, _ = db.Get([]byte("a")) },
		"Health":      func() { db.Health() },
		"Metrics":     func() { db.Metrics() },
		"NewSnapshot": func() { _ = db.NewSnapshot().Close() },
		"Begin": func() {
			if x, err := db.Begin(nil); err == nil {
				x.Rollback()
			}
		},
		"Begin, read-only": func() {
			if x, err := db.Begin(&seerdb.TxnOptions{ReadOnly: true}); err == nil {
				_, _ = x.Get([]byte("a"))
				x.Rollback()
			}
		},
		"Flush, 20 ms": func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			_ = db.Flush(ctx)
		},
		"ApplyContext, 20 ms": func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			b := db.NewBatch()
			_ = b.Put([]byte("large"), make([]byte, 8<<10))
			if err := db.ApplyContext(ctx, b, seerdb.DefaultDurability); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a commit with a deadline: %v", err)
			}
		},
	} {
		done := make(chan struct{})
		go func() { call(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Errorf("%s waits for the disk", what)
		}
	}
}

// TestNothingWaitsForASlowDisk holds up what a change of generation asks of the
// disk, until everything that does not need it has returned.
func TestNothingWaitsForASlowDisk(t *testing.T) {
	for what, rule := range map[string]faultfs.Rule{
		"sync of the directory": {Op: faultfs.OpDirSync},
		"creation of a log":     {Op: faultfs.OpCreate, Path: "*.wal"},
		"write of the log":      {Op: faultfs.OpWrite, Path: "*.wal"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
				o.Durability, o.MemtableSize = seerdb.Relaxed, 16<<10
			})
			r.Put("a=1")
			dbtest.Must(t, r.DB.Sync())
			rule.Delay = time.Hour // that is, until the rule is removed
			slow := r.Fault.Inject(rule)
			written := make(chan error, 1)
			go func() {
				var err error
				for i := 0; err == nil && i < 200; i++ {
					err = r.DB.Put(fmt.Appendf(nil, "%06d", i), make([]byte, 200))
				}
				written <- err
			}()
			dbtest.Eventually(t, 10*time.Second, "the disk is asked", func() bool { return slow.Matched() > 0 })
			time.Sleep(20 * time.Millisecond) // writers go on until they need what is held up
			prompt(t, r.DB)
			slow.Remove()
			dbtest.Must(t, <-written)
			dbtest.Must(t, r.Flush())
		})
	}
}

// TestSnapshotsDoNotWaitForAFilter: while the changes of a compaction filter are being
// installed, a snapshot can be taken without waiting, and never sees them.
func TestSnapshotsDoNotWaitForAFilter(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
		o.CompactionFilter = func(_, _ []byte) (seerdb.FilterVerdict, []byte, error) { return seerdb.FilterRemove, nil, nil }
	})
	want := dbtest.Rows("k", 50, "v")
	r.Put(want...)
	dbtest.Must(t, r.Flush())
	slow := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "MANIFEST-*", Delay: time.Hour})
	compacted := dbtest.Async(func() error { return r.DB.Compact(context.Background(), nil, nil) })
	dbtest.Eventually(t, 10*time.Second, "the edit is synced", func() bool { return slow.Matched() > 0 })
	prompt(t, r.DB)
	snap := r.DB.NewSnapshot()
	x, err := r.DB.Begin(nil)
	dbtest.Must(t, err)
	count := func(src interface {
		Range(lo, hi []byte) *seerdb.Rows
	}) (n int) {
		rows := src.Range([]byte("k"), []byte("l"))
		for range rows.All() {
			n++
		}
		dbtest.Must(t, rows.Err())
		return n
	}
	check := func(when string) {
		t.Helper()
		if a, b := count(snap), count(x); a != len(want) || b != len(want) {
			t.Errorf("%s: the snapshot has %d rows and the transaction %d, of %d", when, a, b, len(want))
		}
		k, v := dbtest.KeyOf(want[7]), "v"
		if got, err := snap.Get([]byte(k)); err != nil || len(got) == 0 {
			t.Errorf("%s: the snapshot has %q for %s, %v; want %s", when, got, k, err, v)
		}
	}
	check("while the filter is being installed")
	slow.Remove()
	dbtest.Must(t, r.Finish(compacted))
	check("after it")
	if n := count(r.DB); n != 0 {
		t.Errorf("%d rows are left by a filter that removes all", n)
	}
	x.Rollback()
	dbtest.Must(t, snap.Close())
	if n := count(r.DB.NewSnapshot()); n != 0 {
		t.Errorf("a new snapshot has %d rows", n)
	}
}
