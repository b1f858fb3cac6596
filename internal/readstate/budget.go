package readstate

import (
	"sync"

	"github.com/seerdb-go/seerdb/internal/cache"
)

// memtableCharge is the charge of memtables on the budget. It always covers two
// generations, one filling and one being flushed: otherwise each rotation would
// evict a memtable's worth of pages only to let them in again.
type memtableCharge struct {
	cache *cache.Cache // immutable
	least int64        // immutable; bytes that are always charged

	mu            sync.Mutex
	used, charged int64 // guarded by mu; bytes of arenas, and bytes charged
}

// add adds n bytes, which may be negative.
func (c *memtableCharge) add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used += n
	want := max(c.used, c.least)
	c.cache.Charge(cache.Memtables, want-c.charged)
	c.charged = want
}
