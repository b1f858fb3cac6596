package commit

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// oneRow is a batch with a row.
func oneRow(r *rig) *batch.Batch {
	b := new(batch.Batch)
	r.check(b.Put(0, []byte("row"), nil))
	return b
}

// beginTxn begins a transaction that reads keys and is ready to commit. The test ends it.
func (r *rig) beginTxn(x *txn.Txn, keys ...string) {
	at := r.BeginTxn(x, new(readstate.Hold))
	r.Cleanup(func() { r.store.Snapshots.Drop(at) })
	for _, key := range keys {
		r.check(x.Key(0, []byte(key)))
	}
	r.check(x.Seal())
}

// commitTxn commits one row.
func (r *rig) commitTxn(ctx context.Context, x *txn.Txn, key string) error {
	var b batch.Batch
	r.check(b.Put(0, []byte(key), nil))
	_, err := r.Commit(ctx, &b, DefaultDurability, x)
	return err
}

// open says whether a transaction is open.
func (r *rig) open() bool {
	_, open := r.OldestTxn()
	return open
}

// TestConflict: a commit since a transaction began that touched what it read is a conflict,
// definite, and ends it; other commits are none.
func TestConflict(t *testing.T) {
	r := newRig(t, nil)
	var x, y txn.Txn
	r.beginTxn(&x, "a")
	r.beginTxn(&y, "b")
	if seq, open := r.OldestTxn(); !open || seq != r.store.Visible() {
		t.Errorf("the oldest transaction reads at %d: %v", seq, open)
	}
	r.check(r.write(t.Context(), "a", Sync))
	last := r.LastSeq()
	if err := r.MayCommit(t.Context(), &y, nil); err != nil {
		t.Errorf("one that read another row: %v", err)
	}
	if err := r.commitTxn(t.Context(), &x, "x"); !errors.Is(err, base.ErrConflict) || r.LastSeq() != last {
		t.Errorf("one that read the row: %v", err)
	}
	r.sees("x", false)
	r.check(r.commitTxn(t.Context(), &y, "y"))
	if r.open() {
		t.Error("a transaction is open after both have ended")
	}
	r.EndTxn(&x) // once more does nothing
	r.beginTxn(&x, "a")
	r.EndTxn(&x)
	if r.open() {
		t.Error("a transaction is open after EndTxn")
	}
}

// TestConflictOnTheWay: a conflict with a commit that is on its way counts once that is
// visible, and not at all if that fails; a context ends the wait.
func TestConflictOnTheWay(t *testing.T) {
	for _, fails := range []bool{false, true} {
		r := newRig(t, buffered)
		var x, y txn.Txn
		r.beginTxn(&x, "a")
		r.beginTxn(&y, "a")
		rule := faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Delay: time.Hour, Count: 1}
		if fails {
			rule.Err = syscall.ENOSPC
		}
		writes := r.fs.Inject(rule)
		other := begun(func() error { return r.write(t.Context(), "a", Buffered) })
		r.held(writes)
		out := begun(func() error { return r.commitTxn(t.Context(), &x, "x") })
		r.until("a transaction that waits", func() bool { return r.head.passed != nil })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.MayCommit(ctx, &y, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("a context that has ended: %v", err)
		}
		if !still(out) {
			t.Error("the transaction does not wait for the other commit")
		}
		writes.Remove()
		otherErr := r.ended("the other commit", other)
		if errors.Is(otherErr, base.ErrNoSpace) != fails {
			t.Errorf("the other commit: %v", otherErr)
		}
		if err := r.ended("the transaction", out); errors.Is(err, base.ErrConflict) == fails || fails && err != nil {
			t.Errorf("the other fails: %v; the transaction: %v", fails, err)
		}
		r.sees("x", fails)
		if err := r.commitTxn(t.Context(), &y, "y"); errors.Is(err, base.ErrConflict) == fails || fails && err != nil {
			t.Errorf("the other fails: %v; a later transaction: %v", fails, err)
		}
	}
}

// TestBeginsBesideACommit: a transaction that begins while a commit is on its way does not
// see it, and so conflicts with it.
func TestBeginsBesideACommit(t *testing.T) {
	r := newRig(t, nil)
	syncs := r.hold(faultfs.OpSync, "*.wal")
	other := begun(func() error { return r.write(t.Context(), "a", Sync) })
	r.held(syncs)
	var x txn.Txn
	r.beginTxn(&x, "a")
	syncs.Remove()
	r.check(r.ended("the other commit", other))
	if err := r.commitTxn(t.Context(), &x, "x"); !errors.Is(err, base.ErrConflict) {
		t.Errorf("%v, want a conflict", err)
	}
}

// TestAskedKeys: what a transaction that committed asked for conflicts with writes of those
// that were open beside it; what one that failed asked for does not.
func TestAskedKeys(t *testing.T) {
	for _, fails := range []bool{false, true} {
		r := newRig(t, buffered)
		var x, y txn.Txn
		at := r.BeginTxn(&x, new(readstate.Hold))
		defer r.store.Snapshots.Drop(at)
		r.check(x.Ask(0, []byte("a")))
		r.check(x.Seal())
		at = r.BeginTxn(&y, new(readstate.Hold))
		defer r.store.Snapshots.Drop(at)
		var b batch.Batch
		r.check(b.Put(0, []byte("a"), nil))
		r.check(y.Batch(&b))
		r.check(y.Seal())
		if fails {
			r.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Err: syscall.ENOSPC, Count: 1})
		}
		if err := r.commitTxn(t.Context(), &x, "x"); errors.Is(err, base.ErrNoSpace) != fails {
			t.Errorf("the one that asked: %v", err)
		}
		if _, err := r.Commit(t.Context(), &b, DefaultDurability, &y); errors.Is(err, base.ErrConflict) == fails || fails && err != nil {
			t.Errorf("the one that asked fails: %v; the one that writes: %v", fails, err)
		}
	}
}

// forgetful makes the records of commits end: the next transaction to commit has to ask the
// tree.
func (r *rig) forgetful() {
	var b batch.Batch
	for i := range 200 {
		r.check(b.Put(0, fmt.Append(nil, "other ", i), nil))
	}
	_, err := r.Commit(r.Context(), &b, DefaultDurability, nil)
	r.check(err)
}

// TestTreeIsAsked: where the records do not reach back the stored versions are asked, without
// the lock, and of what is visible by then.
func TestTreeIsAsked(t *testing.T) {
	own := errors.New("a table that cannot be read")
	for want, answer := range map[error]func(r *rig) (base.SeqNum, error){
		nil:              func(r *rig) (base.SeqNum, error) { return 1, nil },
		base.ErrConflict: func(r *rig) (base.SeqNum, error) { return r.store.Visible(), nil },
		own:              func(r *rig) (base.SeqNum, error) { return 0, own },
	} {
		r := newRig(t, nil)
		r.check(r.write(t.Context(), "before", Sync))
		var x txn.Txn
		r.beginTxn(&x, "a")
		r.forgetful()
		syncs := r.hold(faultfs.OpSync, "*.wal")
		other := begun(func() error { return r.write(t.Context(), "b", Sync) })
		r.held(syncs)
		asked := 0
		r.tree.newest = func(space uint32, key []byte) (base.SeqNum, error) {
			asked++
			if last := r.LastSeq(); r.store.Visible() != last { // LastSeq takes the lock
				t.Errorf("the tree is asked when %d is visible of %d", r.store.Visible(), last)
			}
			return answer(r)
		}
		out := begun(func() error { return r.commitTxn(t.Context(), &x, "x") })
		r.until("a transaction that waits", func() bool { return r.head.passed != nil })
		syncs.Remove()
		r.check(r.ended("the other commit", other))
		if err := r.ended("the transaction", out); !errors.Is(err, want) || asked != 1 {
			t.Errorf("%v, want %v; the tree was asked %d times", err, want, asked)
		}
		r.EndTxn(&x)
		if r.open() {
			t.Error("the transaction is open")
		}
	}
}

// TestMayCommit: an ingestion gets the error that its commit would meet.
func TestMayCommit(t *testing.T) {
	r := newRig(t, nil)
	k := r.space("gone")
	var x txn.Txn
	r.beginTxn(&x, "a")
	r.check(r.MayCommit(t.Context(), &x, []uint32{k.ID()}))
	r.drop(k)
	if err := r.MayCommit(t.Context(), &x, []uint32{k.ID()}); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("a keyspace that was dropped: %v", err)
	}
	r.check(r.MayCommit(t.Context(), &x, nil))
	r.Close()
	if err := r.MayCommit(t.Context(), &x, nil); !errors.Is(err, base.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestDropAndAdd: a keyspace that is dropped takes no commit any more, and its drop says
// whether an open transaction may have missed a commit to it. One that is added knows the
// sequence of its ingestion.
func TestDropAndAdd(t *testing.T) {
	r := newRig(t, nil)
	write := func(id uint32) error {
		var b batch.Batch
		r.check(b.Put(id, []byte("k"), nil))
		_, err := r.Commit(t.Context(), &b, DefaultDurability, nil)
		return err
	}
	a, b, c := r.space("a"), r.space("b"), r.space("c")
	r.check(write(a.ID()))
	seq := r.store.Visible()
	if newest, asked := r.drop(a); newest != seq || asked {
		t.Errorf("without transactions: newest %d of %d, asked %v", newest, seq, asked)
	}
	if err := write(a.ID()); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("a commit to a keyspace that was dropped: %v", err)
	}
	var x txn.Txn
	r.beginTxn(&x, "row")
	if newest, asked := r.drop(c); newest != 0 || asked {
		t.Errorf("nothing was written: newest %d, asked %v", newest, asked)
	}
	r.check(write(b.ID()))
	if newest, asked := r.drop(b); newest != r.store.Visible() || !asked {
		t.Errorf("with a transaction from before: newest %d of %d, asked %v", newest, r.store.Visible(), asked)
	}
	r.EndTxn(&x)
	r.env.Versions.Lock()
	r.Add(b, 1000)
	r.env.Versions.Unlock()
	if newest, _ := r.drop(b); newest != 1000 {
		t.Errorf("a keyspace that was added: newest %d", newest)
	}
}

// TestDroppedDuringAWait: a commit that waits looks again whether its keyspace is there.
func TestDroppedDuringAWait(t *testing.T) {
	r := newRig(t, nil)
	k := r.space("gone")
	pl, err := r.TakePlace(t.Context(), &Ingestion{Batch: oneRow(r)})
	r.check(err)
	out := begun(func() error {
		var b batch.Batch
		r.check(b.Put(k.ID(), []byte("k"), nil))
		_, err := r.Commit(t.Context(), &b, DefaultDurability, nil)
		return err
	})
	time.Sleep(time.Millisecond)
	r.drop(k)
	r.EndPlace(pl, nil, nil)
	if err := r.ended("the commit", out); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("%v, want that there is no keyspace", err)
	}
}
