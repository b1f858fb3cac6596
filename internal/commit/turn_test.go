package commit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// TestLargeBatchGetsItsMemtable: a batch that needs a memtable of its own gets
// into the one that is made for it, also where many small commits come first.
func TestLargeBatchGetsItsMemtable(t *testing.T) {
	for range 8 { // the order in which commits go on is not the same each time
		largeBesideSmall(t)
	}
}

func largeBesideSmall(t *testing.T) {
	r := newRig(t, func(e *Env) { e.Durability, e.MemoryBudget, e.MemtableSize = NoWAL, 32<<20, 1<<20 })
	flushing := r.flushing()
	defer flushing()
	var wg sync.WaitGroup
	commit := func(name string, rows, size int) {
		var b batch.Batch
		for i := range rows {
			_ = b.Put(0, fmt.Appendf(nil, "%s %d", name, i), make([]byte, size))
		}
		if _, err := r.Commit(t.Context(), &b, DefaultDurability, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	turning := &r.turning
	// No memtable is made for now: the turner waits for the log that it makes ahead,
	// and all that ask for a memtable wait for the turner.
	held := r.fs.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.wal", Delay: time.Hour})
	var full atomic.Bool
	wg.Go(func() {
		for !full.Load() {
			commit("fills the memtable", 1, 4000)
			r.until("the turner", func() bool { return turning.halfFull != r.gen || held.Matched() > 0 })
		}
	})
	r.until("a full memtable", func() bool { return turning.wanted == r.gen })
	full.Store(true)
	for range 60 {
		wg.Go(func() { commit("small", 1, 4000) })
	}
	wg.Go(func() { commit("large", 20, 100_000) })
	r.until("a large batch that waits", func() bool { return len(turning.large) == 1 })
	before := turning.begun
	held.Remove()
	wg.Wait()
	if n := turning.begun - before; n != 1 {
		t.Errorf("%d memtables were made for one batch", n)
	}
}
