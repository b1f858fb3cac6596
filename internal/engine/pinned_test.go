package engine

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// TestIteratorsAreCharged: the budget knows of what open iterators take, but for
// a little in each shard of the list, and gets it back.
func TestIteratorsAreCharged(t *testing.T) {
	e := openSmall(t, func(o *Options) {
		o.MemoryBudget, o.MemtableSize, o.TableSize, o.ManualOnly = 16<<20, 64<<10, 64<<10, true
	})
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
		it, err := e.root.NewIter(IterOptions{}, readstate.Newest)
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
