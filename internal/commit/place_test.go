package commit

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// TestPlace: while an ingestion has its place commits wait and reads stay before it. At its
// end it is visible, whether its tables came or not, and commits go on behind that. It is
// durable if they came.
func TestPlace(t *testing.T) {
	for _, outcome := range []error{nil, base.ErrNoSpace, fmt.Errorf("%w: own", base.ErrCommitUnknown)} {
		r := newRig(t, nil)
		r.check(r.write(t.Context(), "before", Sync))
		var x txn.Txn
		r.beginTxn(&x, "row")
		before, first := r.store.Visible(), r.gen
		pl, err := r.TakePlace(t.Context(), &Ingestion{Batch: oneRow(r)})
		r.check(err)
		if pl.Seq != before+1 || pl.End != before+1 || r.gen == first || first.LastSeq != before || r.gen.After != pl.End {
			t.Errorf("%v: the place is %d to %d behind %d; the memtable before ends with %d, the next one follows %d", outcome, pl.Seq, pl.End, before, first.LastSeq, r.gen.After)
		}
		out := begun(func() error { return r.write(t.Context(), "after", Sync) })
		ctx, cancel := context.WithCancel(t.Context())
		given := begun(func() error { return r.write(ctx, "given up", Sync) })
		cancel()
		if err := r.ended("a commit whose context ended", given); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: a commit whose context ended: %v", outcome, err)
		}
		time.Sleep(2 * time.Millisecond) // for the commit that waits
		r.check(r.Sync())
		if d := r.DurableSeq(); d != before || r.store.Visible() != before || r.LastSeq() != pl.End || !still(out) {
			t.Errorf("%v: %d is durable, %d visible, %d the last sequence; the place is %d", outcome, d, r.store.Visible(), r.LastSeq(), pl.Seq)
		}
		seen := 0
		r.EndPlace(pl, outcome, func() {
			seen++
			if v := r.store.Visible(); v != pl.End || r.LastSeq() != pl.End {
				t.Errorf("%v: %d is visible at the end, and %d the last sequence", outcome, v, r.LastSeq())
			}
			if d := r.DurableSeq(); (d == pl.End) != (outcome == nil) {
				t.Errorf("%v: %d is durable", outcome, d)
			}
		})
		r.check(r.ended("the commit", out))
		if v := r.store.Visible(); v != pl.End+1 || seen != 1 || r.store.Current().Visible() != v {
			t.Errorf("%v: %d is visible, readers see up to %d", outcome, v, r.store.Current().Visible())
		}
		r.sees("after", true)
		// One that failed for good is no conflict; the stored versions know nothing of it.
		refused := errors.Is(outcome, base.ErrNoSpace)
		if err := r.commitTxn(t.Context(), &x, "x"); errors.Is(err, base.ErrConflict) == refused || refused && err != nil {
			t.Errorf("%v: a transaction that read the row: %v", outcome, err)
		}
	}
}

// endsDuringCheck returns a context that ends while the transaction of an ingestion waits for
// a commit that it may conflict with, and another commit for the ingestion. That one goes on
// before anything else happens.
func (r *rig) endsDuringCheck(in *Ingestion) context.Context {
	r.beginTxn(in.Txn, "a")
	r.Cleanup(func() { r.EndTxn(in.Txn) })
	syncs := r.hold(faultfs.OpSync, "*.wal")
	other := begun(func() error { return r.write(r.Context(), "a", Sync) })
	r.held(syncs)
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		r.until("a transaction that waits", func() bool { return r.head.passed != nil })
		last := r.LastSeq()
		waits := begun(func() error { return r.write(r.Context(), "waits", Sync) })
		time.Sleep(2 * time.Millisecond)
		cancel()
		r.until("a commit that waited, and the one below", func() bool { return r.nextSeq-1 == last+2 })
		syncs.Remove()
		<-other
		<-waits
	}()
	return ctx
}

// TestPlaceIsRefused: where an ingestion gets no place it leaves nothing behind: commits and
// reads go on.
func TestPlaceIsRefused(t *testing.T) {
	own := errors.New("cause")
	var x txn.Txn
	tests := map[string]struct {
		before func(r *rig, in *Ingestion) context.Context
		want   error
		over   bool // commits are refused as well
	}{
		"closed":    {func(r *rig, _ *Ingestion) context.Context { r.Close(); return nil }, base.ErrClosed, true},
		"read-only": {func(r *rig, _ *Ingestion) context.Context { r.Poison(own); return nil }, own, true},
		"no next log": {func(r *rig, _ *Ingestion) context.Context {
			r.fs.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.wal", Err: syscall.ENOSPC})
			return nil
		}, base.ErrNoSpace, false},
		"no sequences": {func(r *rig, _ *Ingestion) context.Context { r.Follow(writeset.FirstSeq - 1); return nil }, base.ErrReadOnly, true},
		"a conflict": {func(r *rig, in *Ingestion) context.Context {
			in.Txn = &x
			r.beginTxn(in.Txn, "a")
			r.check(r.write(r.Context(), "a", Sync))
			return nil
		}, base.ErrConflict, false},
		"a keyspace that is gone": {func(r *rig, in *Ingestion) context.Context {
			in.Txn, in.Others = &x, []uint32{7}
			r.beginTxn(in.Txn, "a")
			r.Cleanup(func() { r.EndTxn(in.Txn) })
			return nil
		}, base.ErrNoKeyspace, false},
		"a context that ends": {func(r *rig, in *Ingestion) context.Context {
			in.Txn = &x
			return r.endsDuringCheck(in)
		}, context.Canceled, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			x = txn.Txn{}
			in := &Ingestion{Batch: oneRow(r), First: 1000}
			ctx := test.before(r, in)
			if ctx == nil {
				ctx = t.Context()
			}
			if pl, err := r.TakePlace(ctx, in); !errors.Is(err, test.want) || pl != nil || errors.Is(err, base.ErrCommitUnknown) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			r.until("the end of that", func() bool { return !r.commitsHeld && r.heldSeqs == 0 })
			if test.over {
				return
			}
			if test.want == base.ErrNoSpace {
				r.fs.Clear()
			}
			r.check(r.write(t.Context(), "after", Sync))
			r.check(r.Retire(t.Context(), neverFails)) // a new state
			r.until("readers that see all", func() bool { return r.store.Current().Visible() == r.nextSeq-1 })
			r.sees("after", true)
		})
	}
}

// TestPlaceOfATransaction: one that creates or drops keyspaces is checked as others are, and
// ended; commits behind it meet it as a conflict.
func TestPlaceOfATransaction(t *testing.T) {
	r := newRig(t, nil)
	k := r.space("other")
	var x, y txn.Txn
	r.beginTxn(&x, "a")
	r.beginTxn(&y, "row")
	pl, err := r.TakePlace(t.Context(), &Ingestion{Batch: oneRow(r), Txn: &x, Others: []uint32{k.ID()}})
	r.check(err)
	if seq, _ := r.OldestTxn(); seq != y.Snapshot() {
		t.Errorf("the oldest transaction reads at %d", seq)
	}
	r.EndPlace(pl, nil, nil)
	if err := r.commitTxn(t.Context(), &y, "y"); !errors.Is(err, base.ErrConflict) {
		t.Errorf("one that read what the ingestion wrote: %v", err)
	}
	if r.open() {
		t.Error("a transaction is open after both have ended")
	}
}

// TestPlaceBehindCommits: an ingestion is not visible before the commits that have earlier
// sequences.
func TestPlaceBehindCommits(t *testing.T) {
	r := newRig(t, nil)
	before := r.store.Visible()
	syncs := r.hold(faultfs.OpSync, "*.wal")
	out := begun(func() error { return r.write(t.Context(), "k", Sync) })
	r.held(syncs)
	pl, err := r.TakePlace(t.Context(), &Ingestion{Batch: oneRow(r)})
	r.check(err)
	ended := begun(func() error { r.EndPlace(pl, nil, nil); return nil })
	r.until("the end", func() bool { return pl.c.done })
	time.Sleep(time.Millisecond)
	if r.store.Visible() != before || !still(ended) {
		t.Error("the ingestion is visible before the commit before it")
	}
	syncs.Remove()
	r.check(r.ended("the commit", out))
	r.check(r.ended("the ingestion", ended))
	if v := r.store.Visible(); v != pl.End {
		t.Errorf("%d is visible, and not %d", v, pl.End)
	}
}
