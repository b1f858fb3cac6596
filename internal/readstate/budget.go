package readstate

import (
	"sync"

	"github.com/seerdb-go/seerdb/internal/cache"
)

// memtableCharge is what the budget is charged for memtables. Two generations, one
// filling and one being flushed, are always charged: otherwise each rotation would evict
// a memtable's worth of pages only to let them in again.
type memtableCharge struct {
	cache *cache.Cache // immutable
	least int64        // immutable; bytes that are always charged

	mu            sync.Mutex
	used, charged int64 // guarded by mu; bytes of arenas, and of the budget
}

// add takes n bytes more, or gives them back.
func (c *memtableCharge) add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used += n
	want := max(c.used, c.least)
	c.cache.Charge(cache.Memtables, want-c.charged)
	c.charged = want
}
