package commit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// large are options with a memtable that needs a reserve before it is full.
func large(d Durability) func(*Env) {
	return func(e *Env) { e.Durability, e.MemoryBudget, e.MemtableSize = d, 64<<20, 4<<20 }
}

// put64 commits a row of 64 KB.
func (r *rig) put64(ctx context.Context, i int) error {
	var b batch.Batch
	r.check(b.Put(0, fmt.Append(nil, "row ", i), make([]byte, 64<<10)))
	_, err := r.Commit(ctx, &b, DefaultDurability, nil)
	return err
}

// remove commits a delete.
func (r *rig) remove(ctx context.Context, key string) error {
	var b batch.Batch
	r.check(b.Delete(0, []byte(key)))
	_, err := r.Commit(ctx, &b, DefaultDurability, nil)
	return err
}

// reserved is how much the reserve has.
func (r *rig) reserved() bool {
	_, err := r.disk.Stat("db/" + base.FileName(base.FileTypeReserve, 0))
	return err == nil
}

// TestReserveGrows: the keeper keeps room for what memtables hold, on no more than a tiny
// database needs none. Commits never hold more than it allowed for.
func TestReserveGrows(t *testing.T) {
	for d := NoWAL; d <= Sync; d++ {
		r := newRig(t, large(d))
		r.check(r.put64(t.Context(), 0))
		if r.reserved() {
			t.Errorf("%v: a tiny database has a reserve", d)
		}
		for i := range 30 {
			r.check(r.put64(t.Context(), i))
			r.mu.Lock()
			if taken, k := r.gen.Mem.Bytes(), &r.keeping; taken > k.limit {
				t.Errorf("%v: the memtable holds %d bytes, and the reserve allows for %d", d, taken, k.limit)
			}
			r.mu.Unlock()
		}
		if !r.reserved() {
			t.Errorf("%v: there is no reserve", d)
		}
		want, _ := r.roomWanted(0)
		if want < r.gen.Mem.Bytes() {
			t.Errorf("%v: the reserve is to have %d bytes, and the memtable holds %d", d, want, r.gen.Mem.Bytes())
		}
		r.KeepReserve()
	}
}

// TestCommitsWaitForTheKeeper: a commit that would take more than the reserve allows for
// waits until the keeper has made it larger; one that frees space does not, and a context
// ends the wait.
func TestCommitsWaitForTheKeeper(t *testing.T) {
	r := newRig(t, large(Buffered))
	r.check(r.put64(t.Context(), 0))
	grows := r.hold(faultfs.OpPreallocate|faultfs.OpCreate, base.FileName(base.FileTypeReserve, 0))
	var out <-chan error
	for i := 0; out == nil; i++ {
		before := r.LastSeq()
		put := begun(func() error { return r.put64(t.Context(), i) })
		passed := false
		r.until("a commit, or a keeper that waits", func() bool {
			passed = r.nextSeq-1 > before
			return passed || grows.Count() > 0 && r.gen.Mem.Bytes()+64<<10 > r.keeping.limit
		})
		if passed {
			r.check(r.ended("a commit", put))
		} else {
			out = put
		}
	}
	r.held(grows)
	var deletes batch.Batch
	for i := range 2000 {
		r.check(deletes.Delete(0, fmt.Append(nil, "row ", i)))
	}
	_, err := r.Commit(t.Context(), &deletes, DefaultDurability, nil)
	r.check(err)
	ctx, cancel := context.WithCancel(t.Context())
	given := begun(func() error { return r.put64(ctx, 1000) })
	cancel()
	if err := r.ended("a commit whose context ended", given); !errors.Is(err, context.Canceled) {
		t.Errorf("a commit whose context ended: %v", err)
	}
	if !still(out) {
		t.Error("a commit did not wait for the keeper")
	}
	grows.Remove()
	r.check(r.ended("the commit", out))
}

// TestNoRoomForTheReserve: where the reserve cannot grow, commits that take space are
// definitely refused, deletes are not; what is in the log is sent to tables; and when there is
// room again commits go on by themselves.
func TestNoRoomForTheReserve(t *testing.T) {
	r := newRig(t, large(Buffered))
	first := r.gen
	full := r.fs.Inject(faultfs.Rule{Op: faultfs.OpPreallocate, Err: syscall.ENOSPC})
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = r.put64(t.Context(), i)
	}
	if !errors.Is(err, base.ErrNoSpace) || errors.Is(err, base.ErrCommitUnknown) {
		t.Fatalf("without room for a reserve: %v", err)
	}
	if err := r.Refusing(); !errors.Is(err, base.ErrNoSpace) {
		t.Errorf("a commit would meet %v", err)
	}
	r.check(r.remove(t.Context(), "row 0"))
	r.until("another memtable", func() bool { return r.gen != first })
	full.Remove()
	r.until("room", func() bool { return r.room.Lacking() == nil && r.trouble.Load() == nil })
	r.check(r.put64(t.Context(), 1000))
	if err := r.Refusing(); err != nil {
		t.Errorf("with room again a commit would meet %v", err)
	}
}

// rested writes until there is a reserve and the keeper has nothing to do for some more rows.
func (r *rig) rested() {
	for i := 0; ; i++ {
		r.check(r.put64(r.Context(), i))
		r.mu.Lock()
		left := r.keeping.topUp - r.gen.Mem.Bytes()
		r.mu.Unlock()
		if left > 100<<10 && left < 1<<30 && i > 20 && r.reserved() {
			return
		}
	}
}

// TestDeletesTakeTheReserve: on a disk that is full to the last byte a delete takes the
// reserve, and a put does not. From then on puts are refused until there is room again.
func TestDeletesTakeTheReserve(t *testing.T) {
	r := newRig(t, large(Buffered))
	r.rested()
	r.disk.SetCapacity(r.disk.Used())
	if err := r.write(t.Context(), "k", Buffered); !errors.Is(err, base.ErrNoSpace) || !r.reserved() {
		t.Errorf("a put on a full disk: %v; the reserve is there: %v", err, r.reserved())
	}
	r.check(r.remove(t.Context(), "row 0"))
	r.sees("row 0", false)
	if r.room.Lacking() == nil {
		t.Error("commits that take space are let in with the reserve given up")
	}
	if err := r.write(t.Context(), "k", Buffered); !errors.Is(err, base.ErrNoSpace) {
		t.Errorf("a put without a reserve: %v", err)
	}
	// What is left may be in use by a flush: a delete tries for a while.
	r.disk.SetCapacity(r.disk.Used())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.remove(ctx, strings.Repeat("k", 2000)); err == nil || errors.Is(err, base.ErrCommitUnknown) {
		t.Errorf("a delete on a disk without a byte: %v", err)
	}
	if ctx.Err() == nil {
		t.Error("a delete does not try again")
	}
	r.disk.SetCapacity(0)
	for begin := time.Now(); ; time.Sleep(time.Millisecond) { // what failed before may give it up once more
		err := r.write(t.Context(), "k", Buffered)
		if err == nil {
			break
		}
		if !errors.Is(err, base.ErrNoSpace) || time.Since(begin) > 30*time.Second {
			t.Fatalf("a put with room again: %v", err)
		}
	}
}

// TestDeleteWithoutReserve: where there is none a delete on a full disk is refused at once; one
// of a transaction is tried once.
func TestDeleteWithoutReserve(t *testing.T) {
	r := newRig(t, buffered)
	full := r.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Err: syscall.ENOSPC})
	if err := r.remove(t.Context(), "k"); !errors.Is(err, base.ErrNoSpace) || full.Count() != 1 {
		t.Errorf("without a reserve: %v after %d attempts", err, full.Count())
	}
	r.fs.Clear()
	r = newRig(t, large(Buffered))
	r.rested()
	full = r.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Err: syscall.ENOSPC})
	var x txn.Txn
	r.beginTxn(&x, "row 0")
	var b batch.Batch
	r.check(b.Delete(0, []byte("row 0")))
	if _, err := r.Commit(t.Context(), &b, DefaultDurability, &x); !errors.Is(err, base.ErrNoSpace) || full.Count() != 1 {
		t.Errorf("a transaction: %v after %d attempts", err, full.Count())
	}
}

// TestWantedRoom: a Relaxed log needs more than others, for what is acknowledged and not
// written; and nothing is wanted once the database is closed.
func TestWantedRoom(t *testing.T) {
	want := func(d Durability) int64 {
		r := newRig(t, large(d))
		for i := range 10 {
			r.check(r.put64(t.Context(), i))
		}
		n, _ := r.roomWanted(0)
		r.close()
		if left, more := r.roomWanted(0); left != 0 || more != reserve.From {
			t.Errorf("%v: after Close %d is wanted", d, left)
		}
		return n
	}
	if b, x := want(Buffered), want(Relaxed); x < b+reserve.Min {
		t.Errorf("Relaxed wants %d, Buffered %d", x, b)
	}
}
