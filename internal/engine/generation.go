package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// generation is a memtable with the log segment that covers it: what is
// switched, flushed and forgotten as one (the original's S1 to S9 came from
// treating them apart).
type generation struct {
	mem *memtable.Generation
	// shared holds what the keyspaces but the default one wrote, each key after
	// its keyspace's number; nil until the first does. Its entries are counted
	// in the reservation of mem. Stored under commit.mu.
	shared  atomic.Pointer[memtable.Generation]
	log     *wal.Writer  // nil without a log, and for recovered generations
	logNum  base.FileNum // the segment, or the first one that is still needed
	lastSeq base.SeqNum  // no entry is newer; set when the generation is full, guarded by commit.mu before
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

// memtable is the memtable of a keyspace, or nil.
func (g *generation) memtable(k *Keyspace) *memtable.Generation {
	if k.id == 0 {
		return g.mem
	}
	return g.shared.Load()
}

// ranges are the range tombstones in the memtable of a keyspace, or nil.
func (g *generation) ranges(k *Keyspace) *rangedel.View {
	if m := g.memtable(k); m != nil {
		return m.Ranges()
	}
	return nil
}

// openOthers makes the memtable of the other keyspaces.
func (g *generation) openOthers(partitions int) error {
	if g.shared.Load() != nil {
		return nil
	}
	m, err := memtable.New(memtable.Options{Capacity: g.capacity, Partitions: partitions})
	if err != nil {
		return err
	}
	g.shared.Store(m)
	return nil
}

// empty reports whether nothing was added, to any keyspace.
func (g *generation) empty() bool {
	m := g.shared.Load()
	return g.mem.Empty() && (m == nil || m.Empty())
}

// allIter walks every version that a keyspace has here; nil when there is none.
func (g *generation) allIter(k *Keyspace) base.Iterator {
	m := g.memtable(k)
	switch {
	case m == nil || m.Empty():
		return nil
	case k.id == 0:
		return m.NewAllIter()
	}
	p := new(prefixIter)
	p.it.InitAll(m)
	p.bound(k)
	return p
}

// len is the number of entries.
func (g *generation) len() int {
	n := g.mem.Len()
	if m := g.shared.Load(); m != nil {
		n += m.Len()
	}
	return n
}

// need is what an operation takes from the reservation.
func need(op *batch.Op) int64 {
	n := memtable.EntryBound(len(op.Key), len(op.Value))
	if op.Kind == base.KindRangeDelete {
		n = memtable.RangeBound(len(op.Key), len(op.Value)) + prefixSize
	}
	if op.Keyspace != 0 {
		n += prefixSize
	}
	return n
}

// rangeList is the range tombstones of a keyspace, nil if there are none.
func (g *generation) rangeList(k *Keyspace) *rangedel.List {
	v := g.ranges(k)
	if v == nil {
		return nil
	}
	l := v.List()
	if k.id == 0 {
		return &l
	}
	end := binary.BigEndian.AppendUint32(nil, k.id+1)
	l = l.Truncate(k.prefix[:], end)
	if l.Len() == 0 {
		return nil
	}
	own := make([]rangedel.Fragment, l.Len())
	for i := range own {
		own[i] = stripped(*l.At(i), end)
	}
	l = rangedel.FromFragments(own)
	return &l
}

// stripped takes the prefix off a fragment of one keyspace, the next one of
// which begins at end.
func stripped(f rangedel.Fragment, end []byte) rangedel.Fragment {
	f.Lo = f.Lo[prefixSize:]
	if bytes.Equal(f.Hi, end) {
		f.Hi = nil
	} else {
		f.Hi = f.Hi[prefixSize:]
	}
	return f
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
	if m := g.shared.Load(); m != nil {
		m.Free()
	}
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
