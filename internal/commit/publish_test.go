package commit

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// buffered, relaxed and nowal are options of a rig.
func buffered(e *Env) { e.Durability = Buffered }
func relaxed(e *Env)  { e.Durability = Relaxed }
func nowal(e *Env)    { e.Durability = NoWAL }

// hold makes an operation on files wait until the fault is removed.
func (r *rig) hold(op faultfs.OpKind, path string) *faultfs.Fired {
	f := r.fs.Inject(faultfs.Rule{Op: op, Path: path, Delay: time.Hour})
	r.holds = append(r.holds, f)
	return f
}

// held waits until an operation waits.
func (r *rig) held(f *faultfs.Fired) {
	r.until("an operation on files that waits", func() bool { return f.Count() > 0 })
}

// write commits one row with a durability.
func (r *rig) write(ctx context.Context, key string, d Durability) error {
	var b batch.Batch
	r.check(b.Put(0, []byte(key), []byte(key)))
	_, err := r.Commit(ctx, &b, d, nil)
	return err
}

// sees checks which rows a reader sees.
func (r *rig) sees(key string, want bool) {
	r.Helper()
	if _, ok := r.get(key); ok != want {
		r.Errorf("a reader sees %q: %v, want %v", key, ok, want)
	}
}

// TestVisibleInOrder: a commit that has done all of its own work is not visible before one
// that has an earlier sequence.
func TestVisibleInOrder(t *testing.T) {
	r := newRig(t, buffered)
	before := r.store.Visible()
	syncs := r.hold(faultfs.OpSync, "*.wal")
	first := begun(func() error { return r.write(t.Context(), "first", Sync) })
	r.held(syncs)
	second := begun(func() error { return r.write(t.Context(), "second", Buffered) })
	r.until("the second commit", func() bool { return r.head.next != nil && r.head.next.parked })
	if v := r.store.Visible(); v != before || !still(second) {
		t.Errorf("%d is visible, and %d was before; the commit that has to wait has not: %v", v, before, !still(second))
	}
	r.sees("second", false)
	syncs.Remove()
	r.check(r.ended("the first commit", first))
	r.check(r.ended("the second commit", second))
	if v := r.store.Visible(); v != before+2 {
		t.Errorf("%d is visible after two commits behind %d", v, before)
	}
	r.sees("first", true)
	r.sees("second", true)
}

// TestDurableBeforeVisible: a Sync commit is not visible before it is durable.
func TestDurableBeforeVisible(t *testing.T) {
	r := newRig(t, nil)
	syncs := r.hold(faultfs.OpSync, "*.wal")
	out := begun(func() error { return r.write(t.Context(), "k", Sync) })
	r.held(syncs)
	r.sees("k", false)
	if d := r.DurableSeq(); d >= r.LastSeq() {
		t.Errorf("%d is durable while its sync has not ended", d)
	}
	syncs.Remove()
	r.check(r.ended("the commit", out))
	r.sees("k", true)
	if d := r.DurableSeq(); d != r.LastSeq() {
		t.Errorf("%d is durable after a commit up to %d", d, r.LastSeq())
	}
}

// TestFullDisk: a commit that meets a full disk is definitely refused, its sequence stays
// empty, and the next one goes on.
func TestFullDisk(t *testing.T) {
	for _, d := range []Durability{Buffered, Sync} {
		r := newRig(t, func(e *Env) { e.Durability = d })
		r.check(r.write(t.Context(), "before", d))
		seq := r.store.Visible()
		full := r.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Err: syscall.ENOSPC, Count: 1})
		err := r.write(t.Context(), "refused", d)
		if !errors.Is(err, base.ErrNoSpace) || errors.Is(err, base.ErrCommitUnknown) || full.Count() != 1 {
			t.Errorf("%v: a commit on a full disk: %v", d, err)
		}
		if err := r.Refusing(); !errors.Is(err, base.ErrNoSpace) {
			t.Errorf("%v: a commit would meet %v", d, err)
		}
		r.sees("refused", false)
		if v := r.store.Visible(); v != seq+1 {
			t.Errorf("%v: %d is visible, and not %d: the refused commit is not passed over", d, v, seq+1)
		}
		r.check(r.write(t.Context(), "after", d))
		if v := r.store.Visible(); v != seq+2 {
			t.Errorf("%v: %d is visible, and not %d", d, v, seq+2)
		}
		r.sees("after", true)
		r.sees("refused", false)
		if err := r.Refusing(); err != nil || r.Refused() != nil || r.env.Latch.Cause() != nil {
			t.Errorf("%v: writing did not resume: %v, %v", d, err, r.Refused())
		}
	}
}

// TestCloseWaitsForCommits: Close refuses new commits at once, and waits for those that have
// their place.
func TestCloseWaitsForCommits(t *testing.T) {
	r := newRig(t, nil)
	syncs := r.hold(faultfs.OpSync, "*.wal")
	out := begun(func() error { return r.write(t.Context(), "k", Sync) })
	r.held(syncs)
	closed := begun(func() error { r.Close(); return nil })
	r.until("Close", func() bool { return r.closing })
	if err := r.write(t.Context(), "late", Sync); !errors.Is(err, base.ErrClosed) {
		t.Errorf("a commit during Close: %v", err)
	}
	if !still(closed) {
		t.Error("Close does not wait for a commit")
	}
	syncs.Remove()
	r.check(r.ended("the commit", out))
	r.check(r.ended("Close", closed))
	r.sees("k", true)
}

// TestPoisonDuringClose: commits that fail while Close waits for them leave it at that:
// later calls meet ErrClosed.
func TestPoisonDuringClose(t *testing.T) {
	r := newRig(t, nil)
	syncs := r.fs.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "*.wal", Err: syscall.EIO, Delay: time.Hour})
	out := begun(func() error { return r.write(t.Context(), "k", Sync) })
	r.held(syncs)
	closed := begun(func() error { r.Close(); return nil })
	r.until("Close", func() bool { return r.closing })
	syncs.Remove()
	if err := r.ended("the commit", out); !errors.Is(err, base.ErrCommitUnknown) {
		t.Errorf("a commit whose sync failed: %v", err)
	}
	r.check(r.ended("Close", closed))
	if err := r.Refused(); !errors.Is(err, base.ErrClosed) || errors.Is(err, base.ErrReadOnly) {
		t.Errorf("after Close: %v", err)
	}
	if r.env.Latch.Cause() == nil {
		t.Error("the failure left no cause")
	}
}

// TestRangeDeletes: of the operations of a batch the later ones count, and a snapshot sees
// what was deleted by then, also when the same is deleted twice more.
func TestRangeDeletes(t *testing.T) {
	r := newRig(t, nil)
	sees := func(at readstate.Point, want map[string]bool) {
		t.Helper()
		for key, there := range want {
			var q readstate.Query
			q.Begin(r.store, 0, []byte(key), at, false)
			if out, err := q.Get(); err != nil || (out == readstate.Plain) != there {
				t.Errorf("at %d a read sees %q: %v, %v", at.Seq, key, out == readstate.Plain, err)
			}
			q.Done()
		}
	}
	r.check(r.write(t.Context(), "a", Sync))
	r.check(r.write(t.Context(), "b", Sync))
	full := r.store.Snapshots.Take(new(readstate.Hold))
	defer r.store.Snapshots.Drop(full)
	var b batch.Batch
	r.check(b.Put(0, []byte("c"), nil))
	r.check(b.DeleteRange(0, []byte("a"), []byte("x")))
	r.check(b.Put(0, []byte("b"), []byte("again")))
	_, err := r.Commit(t.Context(), &b, DefaultDurability, nil)
	r.check(err)
	deleted := r.store.Snapshots.Take(new(readstate.Hold))
	defer r.store.Snapshots.Drop(deleted)
	for range 2 {
		b.Reset()
		r.check(b.Put(0, []byte("a"), nil))
		r.check(b.DeleteRange(0, []byte("a"), []byte("x")))
		_, err = r.Commit(t.Context(), &b, DefaultDurability, nil)
		r.check(err)
	}
	sees(full, map[string]bool{"a": true, "b": true, "c": false})
	sees(deleted, map[string]bool{"a": false, "b": true, "c": false})
	sees(readstate.Newest, map[string]bool{"a": false, "b": false, "c": false})
}
