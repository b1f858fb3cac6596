package keyspace_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// TestCheck: a batch that writes to a keyspace that was dropped is refused, wherever it is
// among others.
func TestCheck(t *testing.T) {
	r := newRig(t, options{})
	a, b, c := r.must("a", keyspace.Choice{}), r.must("b", keyspace.Choice{}), r.must("c", keyspace.Choice{})
	r.check(r.Check(nil))
	r.check(r.Check([]uint32{a.ID(), b.ID(), 0, c.ID()}))
	r.drop(b)
	if err := r.Check([]uint32{a.ID(), c.ID(), b.ID()}); !errors.Is(err, base.ErrNoKeyspace) || !strings.Contains(err.Error(), "number 2 ") {
		t.Errorf("with one that was dropped: %v", err)
	}
	r.check(r.Check([]uint32{a.ID(), c.ID()}))
}

// TestCheckMergers: a batch merges only where there is a merge operator. One that is not
// there is for Check to refuse.
func TestCheckMergers(t *testing.T) {
	r := newRig(t, options{})
	plain, merges := r.must("plain", keyspace.Choice{}), r.must("merges", keyspace.Choice{Merger: &operator{name: "m"}})
	for _, c := range []struct {
		keyspaces []uint32 // of merges, in order
		names     string
	}{
		{nil, ""}, {[]uint32{merges.ID()}, ""}, {[]uint32{77}, ""}, {[]uint32{merges.ID(), 77, plain.ID()}, `keyspace "plain"`}, {[]uint32{0}, "the database"},
	} {
		var b batch.Batch
		for _, id := range []uint32{0, plain.ID(), merges.ID()} {
			r.check(b.Put(id, []byte("k"), []byte("v")))
			r.check(b.Delete(id, []byte("k")))
		}
		for _, id := range c.keyspaces {
			r.check(b.Merge(id, []byte("k"), []byte("o")))
		}
		err := keyspace.CheckMergers(&b, r.Get)
		switch {
		case c.names == "":
			r.check(err)
		case !errors.Is(err, base.ErrInvalidOptions) || !strings.Contains(err.Error(), c.names+" was opened without one"):
			t.Errorf("merges in %d: %v", c.keyspaces, err)
		}
	}
	var b batch.Batch
	r.check(b.Merge(merges.ID(), []byte("key"), []byte("operand")))
	b.Data = b.Data[:len(b.Data)-3]
	if err := keyspace.CheckMergers(&b, r.Get); err == nil {
		t.Error("a batch that does not decode passes")
	}
}

// TestSettle: before a log writes to keyspaces the manifest has them, durably; where it has
// them already nothing is written, and nothing waited for.
func TestSettle(t *testing.T) {
	r := newRig(t, options{})
	old := r.must("old", keyspace.Choice{})
	r.check(r.Settle([]uint32{old.ID()}))
	k := r.must("new", keyspace.Choice{})
	ops := r.mem.Ops()
	r.vs.Lock() // by an edit
	r.check(r.Settle([]uint32{0, old.ID()}))
	r.check(r.Settle(nil))
	r.vs.Unlock()
	if r.mem.Ops() != ops || r.record(k.ID()) != nil {
		t.Error("keyspaces are made durable for batches that do not need them")
	}
	r.check(r.Settle([]uint32{old.ID(), k.ID(), 0}))
	if r.record(k.ID()) == nil {
		t.Error("the log may name a keyspace that a crash takes away")
	}
	last := r.must("last", keyspace.Choice{})
	r.disk.Inject(faultfs.Rule{Op: faultfs.OpSync, Err: syscall.EIO})
	for range 2 {
		if err := r.Settle([]uint32{last.ID()}); !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, syscall.EIO) {
			t.Errorf("a manifest that does not sync: %v", err)
		}
	}
	r.check(r.Settle([]uint32{k.ID()})) // the log will say why
	r.vs.Lock()
	r.check(r.vs.Close())
	r.vs.Unlock()
	r.check(r.Settle([]uint32{last.ID()}))
}

// TestUsableWaits: what misses a keyspace that a transaction drops learns that only when all
// else that the transaction wrote is seen; what uses other keyspaces does not wait.
func TestUsableWaits(t *testing.T) {
	r := newRig(t, options{})
	k, other := r.must("space", keyspace.Choice{}), r.must("other", keyspace.Choice{})
	r.check(k.Usable())
	var seen atomic.Bool
	r.BeginLeaving()
	r.drop(k)
	r.check(other.Usable())
	r.check(r.Root().Usable())
	begun, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		close(begun)
		if err := k.Usable(); !errors.Is(err, base.ErrNoKeyspace) || !strings.Contains(err.Error(), `"space" was dropped`) {
			t.Errorf("Usable: %v", err)
		}
		if !seen.Load() {
			t.Error("it did not wait")
		}
	}()
	<-begun
	time.Sleep(10 * time.Millisecond) // for one that does not wait to notice
	seen.Store(true)
	r.EndLeaving()
	<-done
	if err := k.Usable(); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("afterwards: %v", err)
	}
}
