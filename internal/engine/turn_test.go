package engine

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb/internal/batch"
)

// TestLargeBatchGetsItsMemtable: a batch that needs a memtable of its own gets
// into the one that is made for it, also where many small commits come first.
func TestLargeBatchGetsItsMemtable(t *testing.T) {
	e := openSmall(t, func(o *Options) {
		o.Durability, o.MemoryBudget, o.MemtableSize, o.Partitions, o.PageSize, o.TableSize = NoWAL, 32<<20, 1<<20, 4, 4096, 1<<20
		o.L0Slowdown, o.L0Stop, o.BaseLevelBytes, o.OpenFiles = 1000, 2000, 1<<40, 8
	})
	defer e.Close()
	const large = 8
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				var b batch.Batch
				_ = b.Put(0, fmt.Appendf(nil, "%d-%d", w, i%100), make([]byte, 100))
				if _, err := e.Commit(&b, DefaultDurability); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	turns := func() uint64 {
		e.commit.mu.Lock()
		defer e.commit.mu.Unlock()
		return e.commit.turning.begun
	}
	made := uint64(0)
	for i := range large {
		var b batch.Batch
		for j := range 2000 {
			_ = b.Put(0, fmt.Appendf(nil, "large %d-%d", i, j), make([]byte, 1000))
		}
		before := turns()
		if _, err := e.Commit(&b, DefaultDurability); err != nil {
			t.Fatal(err)
		}
		made += turns() - before
	}
	stop.Store(true)
	wg.Wait()
	if made > 3*large { // one each, and those of the small ones
		t.Errorf("%d memtables were made for %d batches", made, large)
	}
}
