package engine

import (
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/generation"
)

// freeGeneration gives the memory of a generation back. Nothing reads or writes it any
// more.
func (e *Engine) freeGeneration(g *generation.Generation) {
	g.Mem.Free()
	e.chargeMemtables(-g.Charge)
}

// chargeMemtables takes memory for memtables from the budget, or gives it
// back. Two generations, one filling and one being flushed, are always
// charged: otherwise each rotation would evict a memtable's worth of pages
// only to let them in again.
func (e *Engine) chargeMemtables(n int64) {
	e.memtables.mu.Lock()
	defer e.memtables.mu.Unlock()
	e.memtables.used += n
	want := max(e.memtables.used, 2*int64(e.opts.MemtableSize))
	e.cache.Charge(cache.Memtables, want-e.memtables.charged)
	e.memtables.charged = want
	e.tablesMem.squeezed()
}
