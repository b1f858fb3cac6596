package concurrent

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
	"github.com/seerdb-go/seerdb/observe"
)

// hooked is a merge operator that calls the program when it is asked for a value.
type hooked struct {
	merger.Append
	hook *func()
}

func (m hooked) Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	if *m.hook != nil {
		(*m.hook)()
	}
	return m.Append.Full(dst, key, existing, exists, operands)
}

// TestCloseBesideRunningCalls: Close does not wait for a running read, and does not report
// what the read uses as a leak. The read ends with its value or with ErrClosed.
func TestCloseBesideRunningCalls(t *testing.T) {
	key := []byte("k")
	for name, call := range map[string]func(db *seerdb.DB) error{
		"Get":       func(db *seerdb.DB) error { _, err := db.Get(key); return err },
		"AppendGet": func(db *seerdb.DB) error { _, err := db.AppendGet(nil, key); return err },
		"GetFunc":   func(db *seerdb.DB) error { return db.GetFunc(key, func([]byte) error { return nil }) },
		"PutIfAbsent": func(db *seerdb.DB) error {
			_, err := db.PutIfAbsent(key, nil)
			return err
		},
		"CompareAndSwap": func(db *seerdb.DB) error {
			_, err := db.CompareAndSwap(key, nil, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := dbtest.SmallOn(memfs.New(), seerdb.Relaxed)
			var hook func()
			o.Merger = hooked{hook: &hook}
			db, err := seerdb.Open("db", o)
			dbtest.Must(t, err)
			dbtest.Must(t, db.Merge(key, []byte("operand")))
			closed := errors.New("was not closed")
			hook = func() { hook = nil; closed = db.Close() }
			if err := call(db); err != nil && !errors.Is(err, seerdb.ErrClosed) {
				t.Error(err)
			}
			dbtest.Must(t, closed)
		})
	}
}

// TestCloseAnswersTheSame: a second Close returns the error of the first.
func TestCloseAnswersTheSame(t *testing.T) {
	fs := memfs.New()
	db, err := seerdb.Open("db", dbtest.SmallOn(fs, seerdb.Sync))
	dbtest.Must(t, err)
	it, err := db.NewIter(nil)
	dbtest.Must(t, err)
	fs.FailSync("*.wal", memfs.SyncForgets, syscall.EIO)
	if err := db.Put([]byte("k"), nil); err == nil {
		t.Fatal("the sync did not fail")
	}
	first := db.Close()
	if first == nil || errors.Is(first, seerdb.ErrLeaked) {
		t.Fatalf("Close after a failed sync, with an iterator open: %v; only where all is durable is it a leak", first)
	}
	if second := db.Close(); second == nil || second.Error() != first.Error() {
		t.Fatalf("the second Close: %v; the first: %v", second, first)
	}
	_ = it.Close()
}

// TestSnapshotReadInItsOwnRead: a snapshot is read, and closed, while GetFunc
// shows one of its values; nothing waits for anything, and what the snapshot
// pinned is there until the read has ended.
func TestSnapshotReadInItsOwnRead(t *testing.T) {
	ctx := context.Background()
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("a=1", "b=1")
	dbtest.Must(t, r.Flush())
	for _, closer := range []func(*seerdb.Snapshot){
		func(s *seerdb.Snapshot) { dbtest.Must(t, s.Close()) },
		func(s *seerdb.Snapshot) { dbtest.Must(t, r.Finish(dbtest.Async(s.Close))) },
	} {
		s := r.DB.NewSnapshot()
		in := errors.New("fn was not called")
		done := dbtest.Async(func() error {
			return s.GetFunc([]byte("a"), func(a []byte) error {
				b, err := s.Get([]byte("b"))
				if in = err; !bytes.Equal(a, b) {
					in = errors.Join(err, errors.New("a and b differ"))
				}
				closer(s)
				if _, err := s.Get([]byte("b")); !errors.Is(err, seerdb.ErrClosed) {
					t.Errorf("a read after Close: %v", err)
				}
				if n := r.DB.Metrics().Snapshots; n != 1 {
					t.Errorf("%d snapshots are held while one is read", n)
				}
				return nil
			})
		})
		dbtest.Must(t, r.Finish(done))
		dbtest.Must(t, in)
		dbtest.Must(t, s.Close())
		if m := r.DB.Metrics(); m.Snapshots != 0 || m.OldestSnapshotSeq != 0 {
			t.Errorf("after the read %d snapshots are held", m.Snapshots)
		}
	}
	dbtest.Must(t, r.DB.Compact(ctx, nil, nil))
}

// TestVerifyBesideClose: a check that Close interrupts returns an error, and reports no
// damage.
func TestVerifyBesideClose(t *testing.T) {
	for _, file := range []string{"*.sst", "*.wal", "CURRENT"} {
		r := dbtest.NewRig(t)
		r.Put("a=1")
		dbtest.Must(t, r.Flush())
		r.Put("b=2")
		var report *observe.Report
		h := r.Hold(faultfs.OpOpen, file)
		done := dbtest.Async(func() (err error) {
			report, err = r.DB.Verify(context.Background())
			return err
		})
		h.Wait()
		dbtest.Must(t, r.DB.Close())
		h.Release()
		if err := r.Finish(done); !errors.Is(err, seerdb.ErrClosed) || report != nil && !report.Clean() {
			t.Errorf("%s: %v, %v", file, report, err)
		}
	}
}

// TestCloseMakesAllDurable: after a clean Close the durable sequence is that of the last
// commit, in every mode, with a log that is kept and with tables.
func TestCloseMakesAllDurable(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.NoWAL, seerdb.Relaxed, seerdb.Buffered, seerdb.Sync} {
		for _, size := range []int{10, 2 << 20} {
			db, err := seerdb.Open(t.TempDir(), &seerdb.Options{Durability: d})
			dbtest.Must(t, err)
			dbtest.Must(t, db.Put([]byte("k"), make([]byte, size)))
			dbtest.Must(t, db.Close())
			if durable, visible := db.DurableSeq(), db.VisibleSeq(); durable != visible {
				t.Errorf("%v, %d bytes: durable up to %d of %d", d, size, durable, visible)
			}
		}
	}
}
