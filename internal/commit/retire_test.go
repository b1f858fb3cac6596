package commit

import (
	"errors"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

// neverFails is for Retire: no flush fails.
func neverFails([]*generation.Generation) func() error { return func() error { return nil } }

// TestRetire: everything committed is immutable after it, and what that lies in is said before
// the flusher can see it. Where nothing is in memory nothing happens.
func TestRetire(t *testing.T) {
	r := newRig(t, nil)
	var gens []*generation.Generation
	asked := 0
	wanted := func(list []*generation.Generation) func() error {
		asked++
		if gens = list; len(r.store.Current().Imm) != len(list)-1 && asked == 1 {
			t.Error("the memtable is replaced before its flush is wanted")
		}
		return func() error { return nil }
	}
	first := r.gen
	r.check(r.Retire(t.Context(), wanted))
	if asked != 0 || r.gen != first {
		t.Error("an empty memtable is replaced")
	}
	r.check(r.write(t.Context(), "k", Sync))
	r.check(r.Retire(t.Context(), wanted))
	if asked != 1 || len(gens) != 1 || gens[0] != first || r.gen == first {
		t.Errorf("wanted are %d generations, asked %d times", len(gens), asked)
	}
	second := r.gen
	r.check(r.Retire(t.Context(), wanted))
	if asked != 2 || len(gens) != 1 || gens[0] != first || r.gen != second {
		t.Errorf("with an empty memtable: wanted are %d generations, asked %d times", len(gens), asked)
	}
	r.Close()
	if err := r.Retire(t.Context(), wanted); !errors.Is(err, base.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestRetireWithACommitInside: a commit that has its place is part of what is retired, though
// nothing is in the memtable yet.
func TestRetireWithACommitInside(t *testing.T) {
	r := newRig(t, nil)
	first := r.gen
	syncs := r.hold(faultfs.OpSync, "*.wal")
	out := begun(func() error { return r.write(t.Context(), "k", Sync) })
	r.held(syncs)
	r.check(r.Retire(t.Context(), neverFails))
	if s := r.store.Current(); r.gen == first || len(s.Imm) != 1 || first.LastSeq != r.LastSeq() {
		t.Error("the commit is not part of what is retired")
	}
	syncs.Remove()
	r.check(r.ended("the commit", out))
	r.sees("k", true)
}

// TestRetireWithAFullQueue: Retire waits for room in the queue, and no longer than the flush
// that it waits for can still succeed.
func TestRetireWithAFullQueue(t *testing.T) {
	r := newRig(t, nil)
	r.fullQueue()
	first := r.gen
	own := errors.New("the flush failed")
	fails := func([]*generation.Generation) func() error { return func() error { return own } }
	if err := r.Retire(t.Context(), fails); !errors.Is(err, own) || r.gen != first {
		t.Errorf("with a flush that failed: %v", err)
	}
	r.RetireSoon() // does nothing
	out := begun(func() error { return r.Retire(t.Context(), neverFails) })
	r.until("Retire", func() bool { return r.waiting == 1 })
	if r.gen != first || len(r.store.Current().Imm) != maxImmutable {
		t.Error("the queue is too long")
	}
	r.flush()
	r.check(r.ended("Retire", out))
	if r.gen == first {
		t.Error("the memtable is not replaced")
	}
}

// TestRetireSoon: a memtable that holds something is replaced, an empty one is not.
func TestRetireSoon(t *testing.T) {
	r := newRig(t, nil)
	first := r.gen
	r.RetireSoon()
	if r.turning.wanted != nil {
		t.Error("an empty memtable is to be replaced")
	}
	r.check(r.write(t.Context(), "k", Sync))
	r.RetireSoon()
	r.until("another memtable", func() bool { return r.gen != first })
}

// TestOldestBut: the log of the oldest generation that is not flushed is the first that
// recovery needs.
func TestOldestBut(t *testing.T) {
	r := newRig(t, nil)
	r.fullQueue()
	imm := r.store.Current().Imm // newest first
	for flushed, want := range map[int]*generation.Generation{0: imm[2], 1: imm[1], 2: imm[0], 3: r.gen} {
		if g := r.OldestBut(imm[3-flushed:]); g != want {
			t.Errorf("with the %d oldest flushed it is log %d, want %d", flushed, g.Num, want.Num)
		}
	}
}

// TestShareActive: the shared half is made in the active memtable only, and no reader waits
// for a commit.
func TestShareActive(t *testing.T) {
	r := newRig(t, nil)
	first := r.gen
	r.mu.Lock()
	if r.ShareActive(first) {
		t.Error("it is made while a commit is in the way")
	}
	r.mu.Unlock()
	if !r.ShareActive(first) {
		t.Error("it is not made")
	}
	r.check(r.write(t.Context(), "k", Sync))
	r.check(r.Retire(t.Context(), neverFails))
	if r.ShareActive(first) {
		t.Error("it is made in a memtable that is not active")
	}
}

// iterator pins the current state as an iterator does.
func (r *rig) iterator() (end func()) {
	pin := new(pins.Pin)
	s, shard := r.store.Keep()
	r.pins.AddIter(pin, s, 1, 0, true, pins.Caller(0, 1))
	return func() {
		r.pins.Remove(pin)
		s.LetGo(shard)
	}
}

// TestPinnedMemtables: memtables that iterators keep make those to come smaller, and fewer
// when much is kept, but never smaller than a floor. When the iterators end all is as before.
func TestPinnedMemtables(t *testing.T) {
	r := newRig(t, func(e *Env) { e.MemoryBudget, e.MemtableSize = 128<<10, 16<<10 })
	full, queue := r.nextMemtables()
	if full != 16<<10 || queue != maxImmutable {
		t.Fatalf("without iterators: %d bytes, %d may wait", full, queue)
	}
	var ends []func()
	size, fewer := full, false
	for range 20 {
		r.check(r.write(t.Context(), "k", Sync))
		ends = append(ends, r.iterator())
		if p := r.pinnedMemtables(); len(ends) == 1 && p != 0 {
			t.Errorf("what is current counts as pinned: %d", p)
		}
		r.check(r.Retire(t.Context(), neverFails))
		if _, held := r.heldMemtables(); held == 0 {
			t.Error("a memtable that waits for its flush is not held")
		}
		r.flush()
		next, queue := r.nextMemtables()
		if next > size && !(queue == 1 && !fewer) || next < 4<<10 {
			t.Errorf("the next memtable has %d bytes, after %d", next, size)
		}
		size, fewer = next, queue == scarceMemtables-1
	}
	if size != 4<<10 || !fewer {
		t.Errorf("with %d bytes pinned the next memtable has %d bytes; few may wait: %v", r.pinnedMemtables(), size, fewer)
	}
	// What was said when the memtable was made counts until the next one is.
	if n := r.maxQueue.Load(); n != 1 {
		t.Errorf("%d memtables may wait", n)
	}
	var m observe.Metrics
	if r.Metrics(&m); m.Memory.Pinned != r.pinnedMemtables() || m.Memory.Pinned == 0 {
		t.Errorf("the metrics say %d, want %d", m.Memory.Pinned, r.pinnedMemtables())
	}
	if p := r.Pinning(); !strings.Contains(p, "20 times") {
		t.Errorf("Pinning: %q", p)
	}
	for _, end := range ends {
		end()
	}
	if size, queue := r.nextMemtables(); size != full || queue != maxImmutable || r.Pinning() != "" {
		t.Errorf("without iterators: %d bytes, %d may wait; %s", size, queue, r.Pinning())
	}
	r.close()
	if p := r.pinnedMemtables(); p != 0 || r.Pinning() != "" {
		t.Errorf("after Close %d bytes are pinned: %s", p, r.Pinning())
	}
}

// TestPinnedOnce: a memtable that several iterators keep counts once, and that of the current
// state does not count as long as no iterator is older.
func TestPinnedOnce(t *testing.T) {
	r := newRig(t, nil)
	charge := r.gen.Charge
	r.check(r.write(t.Context(), "k", Sync))
	for range 2 {
		defer r.iterator()()
	}
	check := func(when string, pinned, held int64) {
		t.Helper()
		if p, h := r.heldMemtables(); p != pinned || h != held {
			t.Errorf("%s: %d bytes are pinned, %d held; want %d and %d", when, p, h, pinned, held)
		}
	}
	check("in the current state", 0, 0)
	r.check(r.Retire(t.Context(), neverFails))
	check("waiting for the flush", 0, charge)
	r.flush()
	check("flushed", charge, 0)
}

// TestReadOnly: a read-only database shows what the logs held, all of it durable, and takes
// no commit.
func TestReadOnly(t *testing.T) {
	r := makeRig(t, memfs.New(), nil)
	v, err := r.env.Versions.Create(r.env.FS)
	r.check(err)
	r.check(r.env.Versions.Close()) // nothing can be recorded
	r.Follow(100)
	r.BeginReadOnly(v, newMemtable(r), []*generation.Generation{newMemtable(r)})
	if r.DurableSeq() != 100 || r.store.Visible() != 100 || len(r.store.Current().Imm) != 1 {
		t.Errorf("%d is durable, %d visible", r.DurableSeq(), r.store.Visible())
	}
	if err := r.write(t.Context(), "k", Sync); !errors.Is(err, base.ErrReadOnly) {
		t.Errorf("a commit: %v", err)
	}
	if err := r.Sync(); !errors.Is(err, base.ErrReadOnly) {
		t.Errorf("Sync: %v", err)
	}
	r.sees("k", false)
}
