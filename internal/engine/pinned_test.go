package engine

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// TestIteratorsAreCharged: the budget knows of what open iterators take, but for
// a little in each shard of the list, and gets it back.
func TestIteratorsAreCharged(t *testing.T) {
	e, err := Open("db", Options{
		FS: vfs.NewMem(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Durability: Sync, Clock: time.Now,
		MemoryBudget: 16 << 20, MemtableSize: 64 << 10, Partitions: 1, PageSize: 512, TableSize: 64 << 10, ManualOnly: true,
		L0Trigger: 4, L0Slowdown: 8, L0Stop: 12, BaseLevelBytes: 64 << 10, MaxJobs: 1, OpenFiles: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var b batch.Batch
	if err := b.Put(0, []byte("key"), []byte("value")); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(&b, DefaultDurability); err != nil {
		t.Fatal(err)
	}
	var open []*Iter
	most := int64(len(e.open.shards)) * chargeIters
	for range 2 * most / iterBytes {
		it, err := e.root.NewIter(IterOptions{}, Newest)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, it)
	}
	charged, taken := e.cache.Stats().Charged[cache.Iterators], e.open.iterBytes()
	if taken < 2*most || charged < taken-most || charged > taken+most {
		t.Errorf("%d iterators take %d bytes, and the budget knows of %d", len(open), taken, charged)
	}
	for _, it := range open {
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := e.cache.Stats().Charged[cache.Iterators]; n > most || n < -most {
		t.Errorf("%d bytes are charged for no iterators", n)
	}
}
