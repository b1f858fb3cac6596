package engine

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// TestLargeBatchGetsItsMemtable: a batch that needs a memtable of its own gets
// into the one that is made for it, also where many small commits come first.
func TestLargeBatchGetsItsMemtable(t *testing.T) {
	e, err := Open("db", Options{
		FS: vfs.NewMem(), Durability: NoWAL, Clock: time.Now,
		MemoryBudget: 32 << 20, MemtableSize: 1 << 20, Partitions: 4, PageSize: 4096, TableSize: 1 << 20,
		L0Trigger: 4, L0Slowdown: 1000, L0Stop: 2000, BaseLevelBytes: 1 << 40, MaxJobs: 1, OpenFiles: 8,
	})
	if err != nil {
		t.Fatal(err)
	}
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
