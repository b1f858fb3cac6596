package engine

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// generation is a memtable with the log segment that covers it: what is
// switched, flushed and forgotten as one (the original's S1 to S9 came from
// treating them apart).
type generation struct {
	mem     *memtable.Memtable // its Share is called under commit.mu
	log     *wal.Writer        // nil without a log, and for recovered generations
	logNum  base.FileNum       // the segment, or the first one that is still needed
	lastSeq base.SeqNum        // no entry is newer; set when the generation is full, guarded by commit.mu before
	// after is a sequence before all that is written here; what lies in older
	// generations and in tables is not newer. Immutable.
	after    base.SeqNum
	capacity int64
	halfFull bool // the next log was asked for; guarded by commit.mu

	refs int // states that name it; guarded by Engine.mu

	// prev is the generation before it: a Sync commit here is durable only
	// once that one's log is. Cleared when it is known to be.
	prev     atomic.Pointer[generation]
	sealOnce sync.Once
	sealErr  error // immutable after sealOnce
}

// sync makes the log durable up to lsn, and all logs before it. When one of those
// fails, what is at lsn may be written all the same, and count.
func (g *generation) sync(lsn int64) error {
	if err := g.syncPrev(); err != nil {
		return fmt.Errorf("%w: %w", base.ErrCommitUnknown, err)
	}
	return g.log.Sync(lsn)
}

// syncAll makes everything appended so far durable.
func (g *generation) syncAll() error {
	if err := g.syncPrev(); err != nil {
		return err
	}
	return g.log.SyncAll()
}

func (g *generation) syncPrev() error {
	p := g.prev.Load()
	if p == nil {
		return nil
	}
	if err := p.syncPrev(); err != nil {
		return err
	}
	if err := p.seal(); err != nil {
		return err
	}
	g.prev.Store(nil)
	return nil
}

// seal writes, syncs and closes the log of a generation that takes no more
// commits, after those before it: recovery takes a synced log for proof that
// its predecessor was whole. It runs once; callers that come in that time wait.
func (g *generation) seal() error {
	g.sealOnce.Do(func() {
		if g.log != nil {
			if g.sealErr = g.syncPrev(); g.sealErr != nil {
				_ = g.log.Close(false)
				return
			}
			g.sealErr = g.log.Close(true)
		}
	})
	return g.sealErr
}

// logError is what an error of the log says about the log, without what it says
// to one who waited for it.
func (g *generation) logError(err error) error {
	var p *wal.PoisonError
	if errors.As(err, &p) {
		return fmt.Errorf("write-ahead log %w", p)
	}
	return fmt.Errorf("write-ahead log %s: %w", base.FileName(base.FileTypeLog, g.logNum), err)
}

// abandonLog closes the log of a generation whose content is in tables, as is
// that of all generations before it.
func (g *generation) abandonLog() {
	g.sealOnce.Do(func() {
		if g.log != nil {
			_ = g.log.Close(false)
		}
	})
	g.prev.Store(nil)
}

// free gives the memory back. Nothing reads or writes it any more.
func (g *generation) free(e *Engine) {
	g.mem.Free()
	e.chargeMemtables(-g.capacity)
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
