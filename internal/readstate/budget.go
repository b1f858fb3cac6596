package readstate

import (
	"sync"

	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/generation"
)

// memtableCharge is what the budget is charged for memtables.
type memtableCharge struct {
	mu            sync.Mutex
	used, charged int64 // guarded by mu; bytes of arenas, and of the budget
}

// FreeGeneration gives the memory of a generation back. Nothing reads or writes it any
// more.
func (st *Store) FreeGeneration(g *generation.Generation) {
	g.Mem.Free()
	st.ChargeMemtables(-g.Charge)
}

// ChargeMemtables takes memory for memtables from the budget, or gives it
// back. Two generations, one filling and one being flushed, are always
// charged: otherwise each rotation would evict a memtable's worth of pages
// only to let them in again.
func (st *Store) ChargeMemtables(n int64) {
	st.memtables.mu.Lock()
	defer st.memtables.mu.Unlock()
	st.memtables.used += n
	want := max(st.memtables.used, 2*st.o.MemtableSize)
	st.cache.Charge(cache.Memtables, want-st.memtables.charged)
	st.memtables.charged = want
	st.memory.squeezed()
}
