package commit

import (
	"errors"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// TestSync: what was committed before is durable after it, and not before.
func TestSync(t *testing.T) {
	r := newRig(t, buffered)
	before := r.DurableSeq()
	r.check(r.write(t.Context(), "k", Buffered))
	if d := r.DurableSeq(); d != before {
		t.Errorf("%d is durable before Sync, %d was before the commit", d, before)
	}
	r.check(r.Sync())
	if d := r.DurableSeq(); d != r.LastSeq() {
		t.Errorf("%d is durable after Sync of %d", d, r.LastSeq())
	}
	r.Close()
	if err := r.Sync(); !errors.Is(err, base.ErrClosed) {
		t.Errorf("Sync after Close: %v", err)
	}
	r = newRig(t, nowal)
	if err := r.Sync(); !errors.Is(err, base.ErrInvalidOptions) {
		t.Errorf("Sync without logs: %v", err)
	}
}

// TestSyncNeedsKeyspaces: Sync makes keyspaces durable too, and says so if it cannot.
func TestSyncNeedsKeyspaces(t *testing.T) {
	r := newRig(t, buffered)
	k := r.space("new")
	if d := r.env.Versions.DurableKeyspaces(); d > k.ID() {
		t.Fatal("the keyspace is durable at once")
	}
	r.check(r.Sync())
	if d := r.env.Versions.DurableKeyspaces(); d <= k.ID() {
		t.Error("the keyspace is not durable after Sync")
	}
	r.space("another")
	r.check(r.write(t.Context(), "k", Buffered))
	before := r.DurableSeq()
	r.fs.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "MANIFEST*"})
	if err := r.Sync(); err == nil || r.DurableSeq() != before {
		t.Errorf("Sync with a manifest that does not sync: %v; %d is durable", err, r.DurableSeq())
	}
}

// TestSyncBesideAFlush: a Sync whose log was flushed and given up before it came to that is no
// failure, for all of that is durable in tables.
func TestSyncBesideAFlush(t *testing.T) {
	r := newRig(t, buffered)
	syncs := r.hold(faultfs.OpSync, "*.wal")
	r.check(r.write(t.Context(), "first", Buffered))
	r.check(r.Retire(t.Context(), neverFails))
	r.held(syncs) // of the sealer
	r.check(r.write(t.Context(), "second", Buffered))
	second, end := r.gen, r.LastSeq()
	synced := begun(func() error { return r.Sync() }) // waits for the sealer
	time.Sleep(2 * time.Millisecond)
	r.check(r.Retire(t.Context(), neverFails))
	flushed := begun(func() error { r.flush(); return nil })
	r.until("the log that is given up", func() bool { return r.durable.load() >= end && second.Log.MakeRoom() != nil })
	syncs.Remove()
	r.check(r.ended("Sync", synced))
	r.check(r.ended("the flush", flushed))
	if d := r.DurableSeq(); d != end || r.Refused() != nil {
		t.Errorf("%d is durable, and not %d; commits are refused: %v", d, end, r.Refused())
	}
}

// TestSyncer: Buffered commits become durable by themselves.
func TestSyncer(t *testing.T) {
	r := newRig(t, func(e *Env) { e.Durability, e.SyncInterval = Buffered, time.Millisecond })
	r.check(r.write(t.Context(), "k", Buffered))
	r.until("durability", func() bool { return r.durable.load() == r.nextSeq-1 })
}

// TestSealer: the log of a full generation becomes durable by itself.
func TestSealer(t *testing.T) {
	r := newRig(t, buffered)
	r.check(r.write(t.Context(), "k", Buffered))
	first := r.gen
	r.check(r.Retire(t.Context(), neverFails))
	r.until("a sync", func() bool { return first.Log.Synced() == first.Log.Appended() })
}
