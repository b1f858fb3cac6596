package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

func TestFullDiskResumes(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.Buffered, seerdb.Relaxed} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			fs := memfs.New()
			db, err := seerdb.Open("db", dbtest.SmallOn(fs, d))
			dbtest.Must(t, err)
			acked := map[string]bool{}
			put := func(i int) error {
				k := fmt.Sprintf("key%06d", i)
				err := db.Put([]byte(k), []byte(strings.Repeat("v", 100)))
				if err == nil {
					acked[k] = true
				}
				return err
			}
			for i := range 200 {
				dbtest.Must(t, put(i))
			}
			fs.SetCapacity(fs.Used() + 4096)
			failed, sick := 0, false
			for i := 200; failed < 20 && i < 100000; i++ {
				if err := put(i); err != nil {
					if !errors.Is(err, seerdb.ErrNoSpace) {
						t.Fatalf("put %d on a full disk: %v, want ErrNoSpace", i, err)
					}
					failed++
					// A flush may make room at any time.
					sick = sick || db.Health().Status != observe.OK
				}
			}
			if failed == 0 {
				t.Fatal("the disk never filled")
			}
			if _, err := db.Get([]byte("key000007")); err != nil {
				t.Fatalf("read on a full disk: %v", err)
			}
			if !sick {
				t.Fatal("health was ok each time when a commit met a full disk")
			}
			fs.SetCapacity(0)
			dbtest.Eventually(t, 5*time.Second, "a commit after space returned", func() bool { return put(999999) == nil })
			dbtest.Must(t, db.Flush(context.Background()))
			dbtest.Eventually(t, 5*time.Second, "health is ok again", func() bool { return db.Health().Status == observe.OK })
			dbtest.Must(t, db.Close())
			db = dbtest.Open(t, "db", dbtest.SmallOn(fs, d))
			for k := range acked {
				if _, err := db.Get([]byte(k)); err != nil {
					t.Fatalf("acknowledged %s: %v", k, err)
				}
			}
		})
	}
}

func TestCloseOnFullDisk(t *testing.T) {
	fs := memfs.New()
	db, err := seerdb.Open("db", dbtest.SmallOn(fs, seerdb.Sync))
	dbtest.Must(t, err)
	dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
	fs.SetCapacity(1)
	dbtest.Must(t, db.Close())
	fs.SetCapacity(0)
	db = dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Sync))
	if _, err := db.Get([]byte("a")); err != nil {
		t.Fatal(err)
	}
}

func TestFailedLogSyncPoisons(t *testing.T) {
	fs := memfs.New()
	db, err := seerdb.Open("db", dbtest.SmallOn(fs, seerdb.Sync))
	dbtest.Must(t, err)
	dbtest.Must(t, db.Put([]byte("before"), []byte("1")))
	fs.FailSync("*.wal", memfs.SyncForgets, syscall.EIO)
	err = db.Put([]byte("during"), []byte("2"))
	if !errors.Is(err, seerdb.ErrCommitUnknown) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("commit whose sync failed: %v", err)
	}
	if _, err := db.Get([]byte("during")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatalf("a commit of unknown outcome is visible: %v", err)
	}
	if err := db.Put([]byte("after"), []byte("3")); !errors.Is(err, seerdb.ErrReadOnly) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("commit after a failed sync: %v", err)
	}
	if v, err := db.Get([]byte("before")); err != nil || string(v) != "1" {
		t.Fatalf("reads must go on: %q, %v", v, err)
	}
	if h := db.Health(); h.Status != observe.ReadOnly {
		t.Fatalf("health: %+v", h)
	}
	if err := db.Close(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("close: %v", err)
	}
	db = dbtest.Open(t, "db", dbtest.SmallOn(fs.CrashClone(memfs.CrashOptions{}), seerdb.Sync))
	if _, err := db.Get([]byte("before")); err != nil {
		t.Fatal(err)
	}
}

func TestFailedManifestSyncPoisons(t *testing.T) {
	fs := memfs.New()
	db, err := seerdb.Open("db", dbtest.SmallOn(fs, seerdb.Sync))
	dbtest.Must(t, err)
	dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
	fs.FailSync("MANIFEST-*", memfs.SyncForgets, syscall.EIO)
	if err := db.Flush(context.Background()); err == nil {
		t.Fatal("flush succeeded though the manifest did not sync")
	}
	if err := db.Put([]byte("b"), []byte("2")); !errors.Is(err, seerdb.ErrReadOnly) {
		t.Fatalf("commit: %v", err)
	}
	if v, err := db.Get([]byte("a")); err != nil || string(v) != "1" {
		t.Fatalf("%q, %v", v, err)
	}
	_ = db.Close()
	db = dbtest.Open(t, "db", dbtest.SmallOn(fs.CrashClone(memfs.CrashOptions{}), seerdb.Sync))
	if v, err := db.Get([]byte("a")); err != nil || string(v) != "1" {
		t.Fatalf("after reopening: %q, %v", v, err)
	}
}

// A table that cannot be synced is given up and written again under another
// number; the database stays up and the log stays until it worked.
func TestFailedTableSyncIsRetriedElsewhere(t *testing.T) {
	fs := memfs.New()
	var mu sync.Mutex
	var created []string
	var failures atomic.Int64
	o := dbtest.SmallOn(fs, seerdb.Sync)
	o.Listener = observe.EventListener{
		TableCreated:    func(e observe.FileEvent) { mu.Lock(); created = append(created, e.Name); mu.Unlock() },
		BackgroundError: func(error) { failures.Add(1) },
	}
	db := dbtest.Open(t, "db", o)
	dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
	fs.FailSync("*.sst", memfs.SyncForgets, syscall.EIO)
	if err := db.Flush(context.Background()); !errors.Is(err, syscall.EIO) {
		t.Fatalf("flush: %v", err)
	}
	if v, err := db.Get([]byte("a")); err != nil || string(v) != "1" {
		t.Fatalf("%q, %v", v, err)
	}
	dbtest.Must(t, db.Put([]byte("b"), []byte("2")))
	dbtest.Must(t, db.Flush(context.Background()))
	tables := 0
	names, err := fs.List("db")
	dbtest.Must(t, err)
	for _, n := range names {
		if path.Ext(n) == ".sst" {
			tables++
		}
	}
	// What the failed attempt wrote is gone, and events come when they come.
	dbtest.Eventually(t, 10*time.Second, "the listener has the failure and every table that there is", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return failures.Load() > 0 && tables > 0 && len(created) >= tables
	})
}

// When memtables cannot be flushed, writers are stopped, and a stop ends with
// the error: not with a time-out that lets them through.
func TestStopEndsWithTheError(t *testing.T) {
	fault := faultfs.New(memfs.New())
	db, err := seerdb.Open("db", dbtest.SmallOn(fault, seerdb.Sync))
	dbtest.Must(t, err)
	fired := fault.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Err: syscall.EACCES})
	var putErr error
	for i := 0; i < 5000 && putErr == nil; i++ {
		putErr = db.Put(fmt.Appendf(nil, "key%06d", i), make([]byte, 100))
	}
	if !errors.Is(putErr, syscall.EACCES) || fired.Count() == 0 {
		t.Fatalf("writers were let through, or told something else: %v (fired %d)", putErr, fired.Count())
	}
	fault.Clear()
	dbtest.Eventually(t, 5*time.Second, "commits work again", func() bool { return db.Put([]byte("x"), nil) == nil })
	dbtest.Must(t, db.Close())
}

func TestDamagedTableIsAnErrorNotAnAnswer(t *testing.T) {
	mem := memfs.New()
	fault := faultfs.New(mem)
	o, to := dbtest.Tiny()
	to.FS, to.NoCache = fault, true
	db := dbtest.Open(t, "db", dbtest.With(o, to))
	for i := range 300 {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%06d", i), []byte("old")))
	}
	dbtest.Must(t, db.Compact(context.Background(), nil, nil))
	for i := range 300 {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%06d", i), []byte("new")))
	}
	dbtest.Must(t, db.Flush(context.Background()))
	if _, err := db.Get([]byte("key000005")); err != nil {
		t.Fatal(err)
	}
	fired := fault.Inject(faultfs.Rule{Op: faultfs.OpRead, Path: "*.sst", Flip: true})
	damaged := 0
	for i := range 300 {
		v, err := db.Get(fmt.Appendf(nil, "key%06d", i))
		var c *seerdb.CorruptionError
		switch {
		case errors.As(err, &c):
			damaged++
			if c.File == "" {
				t.Fatalf("no file named: %v", err)
			}
		case err != nil || string(v) != "new":
			t.Fatalf("a flipped bit gave %q, %v", v, err)
		}
	}
	if damaged == 0 || fired.Count() == 0 {
		t.Fatal("no damage was met")
	}
	fault.Clear()
	if v, err := db.Get([]byte("key000005")); err != nil || string(v) != "new" {
		t.Fatalf("the damage was remembered though the disk is good: %q, %v", v, err)
	}
}

func TestSecondOpenerIsLockedOut(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"memory": memfs.New(), "system": vfs.OS} {
		t.Run(name, func(t *testing.T) {
			dir := "db"
			if fs == vfs.OS {
				dir = t.TempDir()
			}
			o, to := dbtest.Tiny()
			to.FS = fs
			dbtest.Open(t, dir, dbtest.With(o, to))
			if _, err := seerdb.Open(dir, dbtest.With(o, to)); !errors.Is(err, seerdb.ErrLocked) {
				t.Fatalf("second open: %v", err)
			}
		})
	}
}

func TestUseAfterClose(t *testing.T) {
	db, err := seerdb.Open("db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	dbtest.Must(t, err)
	dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
	it, err := db.NewIter(nil)
	dbtest.Must(t, err)
	if !it.First() {
		t.Fatal(it.Err())
	}
	snap := db.NewSnapshot()
	err = db.Close()
	var leak *seerdb.LeakError
	if !errors.Is(err, seerdb.ErrLeaked) || !errors.As(err, &leak) || leak.Open != 2 || len(leak.Places) != 2 {
		t.Fatalf("close with an open iterator and snapshot: %v", err)
	}
	if !strings.Contains(err.Error(), "fault_test.go") || !strings.Contains(err.Error(), "2 iterators, snapshots or transactions") {
		t.Fatalf("close with an open iterator and snapshot: %v", err)
	}
	if again := db.Close(); !errors.Is(again, err) {
		t.Fatalf("a second Close: %v, want %v", again, err)
	}
	if it.Next() || !errors.Is(it.Err(), seerdb.ErrClosed) {
		t.Fatalf("iterator after close: %v", it.Err())
	}
	_ = it.Close()
	ctx := context.Background()
	calls := map[string]func() error{
		"Put":                func() error { return db.Put([]byte("k"), nil) },
		"Delete":             func() error { return db.Delete([]byte("k")) },
		"Get":                func() error { _, err := db.Get([]byte("a")); return err },
		"Has":                func() error { _, err := db.Has([]byte("a")); return err },
		"NewIter":            func() error { _, err := db.NewIter(nil); return err },
		"Flush":              func() error { return db.Flush(ctx) },
		"Compact":            func() error { return db.Compact(ctx, nil, nil) },
		"Sync":               func() error { return db.Sync() },
		"Verify":             func() error { _, err := db.Verify(ctx); return err },
		"Range":              func() error { r := db.Range(nil, nil); r.All()(func(_, _ []byte) bool { return true }); return r.Err() },
		"Apply of nothing":   func() error { return db.Apply(db.NewBatch(), seerdb.DefaultDurability) },
		"DeleteRange, empty": func() error { return db.DeleteRange([]byte("b"), []byte("a")) },
		"View":               func() error { return db.View(func(*seerdb.Snapshot) error { t.Error("was called"); return nil }) },
		"Update":             func() error { return db.Update(ctx, func(*seerdb.Txn) error { t.Error("was called"); return nil }) },
		"snapshot Get": func() error {
			_, err := snap.Get([]byte("a"))
			return err
		},
		"snapshot of closed": func() error { _, err := db.NewSnapshot().Get([]byte("a")); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, seerdb.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	_ = snap.Close()
	_ = db.Metrics()
	if h := db.Health(); h.Status != observe.ReadOnly {
		t.Errorf("health after Close: %+v", h)
	}
}

func TestConcurrentClose(t *testing.T) {
	for range 20 {
		db, err := seerdb.Open("db", dbtest.SmallOn(memfs.New(), seerdb.Buffered))
		dbtest.Must(t, err)
		var wg sync.WaitGroup
		work := func(f func(i int) error) {
			wg.Go(func() {
				for i := 0; ; i++ {
					if err := f(i); err != nil {
						if !errors.Is(err, seerdb.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		for range 2 {
			work(func(i int) error { return db.Put(fmt.Appendf(nil, "key%05d", i%500), make([]byte, 50)) })
			work(func(i int) error {
				_, err := db.Get(fmt.Appendf(nil, "key%05d", i%500))
				if errors.Is(err, seerdb.ErrNotFound) {
					return nil
				}
				return err
			})
			work(func(int) error {
				it, err := db.NewIter(nil)
				if err != nil {
					return err
				}
				for ok := it.First(); ok; ok = it.Next() {
					_ = it.Value()
				}
				return it.Close()
			})
		}
		work(func(int) error { return db.Flush(context.Background()) })
		time.Sleep(5 * time.Millisecond)
		for range 3 {
			wg.Go(func() {
				if err := db.Close(); err != nil && !errors.Is(err, seerdb.ErrLeaked) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

var _ io.Closer = (*seerdb.DB)(nil)

// A read error on the way back over many versions of a key is an error, never
// an older version.
func TestReadErrorOnTheWayBack(t *testing.T) {
	fault := faultfs.New(memfs.New())
	o, to := dbtest.Tiny()
	o.PageSize, o.ValueThreshold, to.FS, to.NoCache = 80, -1, fault, true
	o.MemtableSize = 1 << 20
	db := dbtest.Open(t, "db", dbtest.With(o, to))
	var snaps []*seerdb.Snapshot
	for i := range 30 {
		dbtest.Must(t, db.Put([]byte("key"), fmt.Appendf(nil, "value %03d, and some more to fill pages", i)))
		snaps = append(snaps, db.NewSnapshot())
	}
	dbtest.Must(t, db.Flush(context.Background()))
	failed := 0
	for skip := range 40 {
		fired := fault.Inject(faultfs.Rule{Op: faultfs.OpRead, Path: "*.sst", Skip: skip, Count: 1, Err: syscall.EIO})
		it, err := db.NewIter(nil)
		dbtest.Must(t, err)
		ok := it.Last()
		switch {
		case ok && string(it.Value()[:9]) != "value 029":
			t.Fatalf("read %d failed and %q was shown", skip, it.Value())
		case !ok && it.Err() == nil:
			t.Fatalf("read %d failed, and the key is silently gone", skip)
		}
		if !ok {
			failed++
		}
		_ = it.Close()
		if fired.Count() == 0 && skip > 0 {
			break
		}
		fault.Clear()
	}
	if failed == 0 {
		t.Fatal("no read failed")
	}
	fault.Clear()
	for _, s := range snaps {
		dbtest.Must(t, s.Close())
	}
}

// A full disk that is met first by the manifest is no end either.
func TestFullDiskAtTheManifestResumes(t *testing.T) {
	fault := faultfs.New(memfs.New())
	db := dbtest.Open(t, "db", dbtest.SmallOn(fault, seerdb.Sync))
	dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
	fired := fault.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "MANIFEST*", Count: 1, Err: syscall.ENOSPC})
	_ = db.Flush(context.Background())
	if fired.Count() == 0 {
		t.Fatal("the manifest was not written")
	}
	dbtest.Eventually(t, 5*time.Second, "commits work", func() bool { return db.Put([]byte("b"), []byte("2")) == nil })
	dbtest.Must(t, db.Flush(context.Background()))
	r, err := db.Verify(context.Background())
	dbtest.Must(t, err)
	if !r.Clean() {
		t.Fatal(r.Damage)
	}
}
