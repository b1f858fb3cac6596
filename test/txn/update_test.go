package txn

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestUpdatesOfAHotKeyAllSucceed: 128 goroutines add to one counter while syncs, or the
// updates themselves, are slow. No update gives up or is passed over again and again, and
// all of them together try about as often as one lane allows.
func TestUpdatesOfAHotKeyAllSucceed(t *testing.T) {
	t.Run("slow syncs", func(t *testing.T) {
		fs := faultfs.New(memfs.New())
		db := dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Sync))
		fs.Inject(faultfs.Rule{Op: faultfs.OpSync, Delay: 500 * time.Microsecond})
		updateHotKey(t, db, func() {})
	})
	t.Run("slow updates", func(t *testing.T) {
		db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Relaxed))
		updateHotKey(t, db, func() { time.Sleep(100 * time.Microsecond) })
	})
}

// updateHotKey adds to a counter; work is between reading and writing it.
func updateHotKey(t *testing.T, db *seerdb.DB, work func()) {
	workers, each := 128, 4
	if testing.Short() {
		each = 1
	}
	var runs, most atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				tries := int64(0)
				err := db.Update(context.Background(), func(x *seerdb.Txn) error {
					tries++
					v, err := x.Get([]byte("counter"))
					if err != nil && !errors.Is(err, seerdb.ErrNotFound) {
						return err
					}
					work()
					n := uint64(0)
					if err == nil {
						n = binary.BigEndian.Uint64(v)
					}
					return x.Put([]byte("counter"), binary.BigEndian.AppendUint64(nil, n+1))
				})
				if err != nil {
					t.Error(err)
				}
				runs.Add(tries)
				for m := most.Load(); tries > m && !most.CompareAndSwap(m, tries); m = most.Load() {
				}
			}
		})
	}
	wg.Wait()
	v, err := db.Get([]byte("counter"))
	dbtest.Must(t, err)
	all := workers * each
	if n := binary.BigEndian.Uint64(v); n != uint64(all) {
		t.Errorf("the counter is %d, not %d", n, all)
	}
	if runs.Load() > int64(8*all) || most.Load() > 60 {
		t.Errorf("%d updates took %d tries, one of them %d", all, runs.Load(), most.Load())
	}
	t.Logf("%d updates, %d tries, at most %d of one", all, runs.Load(), most.Load())
}

// TestConflictComesWithWhatItLostTo: when a commit returns ErrConflict, the commit that it
// lost to is visible, even if that was not durable when the conflict arose.
func TestConflictComesWithWhatItLostTo(t *testing.T) {
	fs := faultfs.New(memfs.New())
	db := dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Sync))
	x := dbtest.Begin(t, db, nil)
	if _, err := x.Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	dbtest.Must(t, x.Put([]byte("l"), nil))
	slow := fs.Inject(faultfs.Rule{Op: faultfs.OpSync, Delay: 200 * time.Millisecond})
	done := make(chan error)
	go func() { done <- db.Put([]byte("k"), []byte("1")) }()
	for slow.Count() == 0 {
		time.Sleep(time.Millisecond)
	}
	if v, err := db.Get([]byte("k")); err == nil {
		t.Fatalf("visible before it is durable: %q", v)
	}
	conflicts(t, "what read the key", x.Commit(), true)
	if v, err := db.Get([]byte("k")); string(v) != "1" {
		t.Errorf("after the conflict: %q, %v", v, err)
	}
	dbtest.Must(t, <-done)
	// A context ends the wait, definitely.
	x = dbtest.Begin(t, db, nil)
	_, err := x.Get([]byte("k"))
	dbtest.Must(t, err)
	dbtest.Must(t, x.Put([]byte("l"), nil))
	before := slow.Count()
	go func() { done <- db.Put([]byte("k"), []byte("2")) }()
	for slow.Count() == before {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := x.CommitContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("commit with a context that ended: %v", err)
	}
	dbtest.Must(t, <-done)
	if ok, err := db.Has([]byte("l")); ok || err != nil {
		t.Errorf("what was given up is there: %v, %v", ok, err)
	}
}

// TestUpdateThatConflictsWithItselfEnds: a function that writes what it read
// outside of its transaction is tried again until the context ends.
func TestUpdateThatConflictsWithItselfEnds(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Relaxed))
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	err := db.Update(ctx, func(x *seerdb.Txn) error {
		if _, err := x.Get([]byte("k")); err != nil && !errors.Is(err, seerdb.ErrNotFound) {
			return err
		}
		dbtest.Must(t, db.Put([]byte("k"), nil))
		return x.Put([]byte("k"), nil)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ends with %v", err)
	}
}
