//go:build failpoints

package commit

import (
	"errors"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/failpoint"
)

// TestFailureAfterTheSync: a commit that fails once its record is durable is unknown, not
// refused: it is not visible now, and a power cut brings it back.
func TestFailureAfterTheSync(t *testing.T) {
	r := newRig(t, nil)
	h := newHistory(r)
	failpoint.Set(failpoint.LogAfterSync, func() error { return errors.New("own") })
	defer failpoint.Set(failpoint.LogAfterSync, nil)
	_, err := r.put("k", "1 value")
	if !errors.Is(err, base.ErrCommitUnknown) {
		t.Errorf("the commit: %v", err)
	}
	r.sees("k", false)
	if err := r.Refused(); !errors.Is(err, base.ErrReadOnly) {
		t.Errorf("commits behind it meet %v", err)
	}
	if h.crash(0); !h.crashes[0].logged[1] {
		t.Error("a power cut loses what was synced")
	}
}

// TestVisibleOnceApplied: a commit that is durable is not visible before its rows are in the
// memtable, all of them, and a flush waits for them.
func TestVisibleOnceApplied(t *testing.T) {
	r := newRig(t, nil)
	reached, goOn := make(chan struct{}), make(chan struct{})
	failpoint.Set(failpoint.CommitBeforeApply, func() error { close(reached); <-goOn; return nil })
	defer failpoint.Set(failpoint.CommitBeforeApply, nil)
	first := r.gen
	out := begun(func() error { return r.write(t.Context(), "k", Sync) })
	<-reached
	r.sees("k", false)
	if d := r.DurableSeq(); d != r.LastSeq() || r.store.Visible() == d {
		t.Errorf("%d is durable, %d visible, before the rows are applied", d, r.store.Visible())
	}
	r.check(r.Retire(t.Context(), neverFails))
	waited := begun(func() error { first.Mem.WaitWriters(); return nil })
	if !still(out) || !still(waited) {
		t.Error("a flush does not wait for a commit")
	}
	close(goOn)
	r.check(r.ended("the commit", out))
	r.check(r.ended("the flush", waited))
	r.sees("k", true)
	if r.gen == first || first.Mem.Empty() {
		t.Error("the row is not in the memtable of its log")
	}
}
