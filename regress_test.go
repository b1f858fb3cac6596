package seerdb_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// Bugs that were found by reading, each with the input that showed it.

// A seek whose target is what Key returned: the first source to move overwrites
// that buffer, and the next one must not look for the overwritten key.
func TestSeekToOwnKey(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	for _, run := range []string{"bdeg", "af"} {
		for _, k := range run {
			dbtest.Must(t, db.Put([]byte(string(k)), []byte{byte(k)}))
		}
		dbtest.Must(t, db.Flush(context.Background()))
	}
	it, err := db.NewIter(nil)
	dbtest.Must(t, err)
	if !it.SeekGE([]byte("f")) || !it.SeekLT(it.Key()) || string(it.Key()) != "e" {
		t.Fatalf("before f comes %q, want e", it.Key())
	}
	if !it.SeekGE([]byte("f")) || !it.SeekLT(it.Value()) || string(it.Key()) != "e" {
		t.Fatalf("before the value of f comes %q, want e", it.Key())
	}
	dbtest.Must(t, it.Close())
}

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

// Two callers of Compact: both return when it is done, not when it has begun.
func TestConcurrentManualCompactions(t *testing.T) {
	o, to := dbtest.Tiny()
	to.FS, to.L0Trigger = memfs.New(), 100
	db := dbtest.Open(t, "db", dbtest.With(o, to))
	for range 3 {
		for i := range 50 {
			dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%03d", i), make([]byte, 50)))
		}
		dbtest.Must(t, db.Flush(context.Background()))
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := db.Compact(context.Background(), nil, nil); err != nil {
				t.Error(err)
			}
			if n := db.Metrics().Levels[0].Files; n != 0 {
				t.Errorf("Compact returned with %d tables in L0", n)
			}
		})
	}
	wg.Wait()
}

// Sync beside flushes that drop logs: never ErrClosed on an open database.
func TestSyncBesideFlush(t *testing.T) {
	o, to := dbtest.Tiny()
	o.Durability, o.MemtableSize, to.FS = seerdb.Buffered, 1<<10, memfs.New()
	db := dbtest.Open(t, "db", dbtest.With(o, to))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := db.Sync(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 3000 {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%05d", i), make([]byte, 100)))
	}
	close(stop)
	wg.Wait()
}
