// Package generation ties a memtable to the log segment that covers it: the two
// are switched, flushed and removed together. The original engine treated them
// separately, and lost commits in nine ways.
//
// Logs become durable in order. Recovery takes a synced log as proof that all
// logs before it were synced, so a log is synced only after those. When a sync
// fails, no later commit becomes durable.
package generation

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// Generation is a memtable with its log. It is active and takes commits until
// its successor replaces it; then it is immutable and waits for its flush.
type Generation struct {
	// Mem, Log, Num, After and Charge are immutable once commits come.

	Mem *memtable.Memtable
	Log *wal.Writer  // nil without a log, and for recovered generations
	Num base.FileNum // of the log, or of the first log that is still needed
	// After is a sequence before all entries here. Entries in older generations
	// and in tables are not newer than it.
	After base.SeqNum
	// Charge is the number of bytes charged to the memory budget.
	Charge int64
	// LastSeq is set when the generation becomes immutable: no entry is newer.
	// Before, the commit pipeline guards it.
	LastSeq base.SeqNum

	// prev is the previous generation, until its log is durable or not needed
	// any more.
	prev     atomic.Pointer[Generation]
	sealOnce sync.Once
	sealErr  error // immutable after sealOnce
}

// Follow sets the previous generation. Callers call it before the first commit.
func (g *Generation) Follow(prev *Generation) { g.prev.Store(prev) }

// Sync makes all logs before this one durable, and then this one up to lsn. If
// one of those before fails the error is base.ErrCommitUnknown, because the
// record at lsn may be written and survive. Other errors are those of
// wal.Writer.Sync.
func (g *Generation) Sync(lsn int64) error {
	if err := g.syncPrev(); err != nil {
		return fmt.Errorf("%w: %w", base.ErrCommitUnknown, err)
	}
	return g.Log.Sync(lsn)
}

// SyncAll makes everything appended so far durable, beginning with the logs
// before this one.
func (g *Generation) SyncAll() error {
	if err := g.syncPrev(); err != nil {
		return err
	}
	return g.Log.SyncAll()
}

// syncPrev seals all previous generations, the oldest first.
func (g *Generation) syncPrev() error {
	p := g.prev.Load()
	if p == nil {
		return nil
	}
	if err := p.syncPrev(); err != nil {
		return err
	}
	if err := p.Seal(); err != nil {
		return err
	}
	g.prev.Store(nil)
	return nil
}

// Seal writes, syncs and closes the log of a generation that takes no more
// commits, after the logs before it. If one of those fails the log is closed
// without a sync. Seal runs once: concurrent and later callers get the same
// error.
func (g *Generation) Seal() error {
	g.sealOnce.Do(func() {
		if g.Log != nil {
			if g.sealErr = g.syncPrev(); g.sealErr != nil {
				_ = g.Log.Close(false)
				return
			}
			g.sealErr = g.Log.Close(true)
		}
	})
	return g.sealErr
}

// LogError returns what an error of Sync, SyncAll or Seal says about the log
// that failed, without what it says about the caller's commit.
func (g *Generation) LogError(err error) error {
	var p *wal.PoisonError
	if errors.As(err, &p) {
		return fmt.Errorf("write-ahead log %w", p)
	}
	return fmt.Errorf("write-ahead log %s: %w", base.FileName(base.FileTypeLog, g.Num), err)
}

// AbandonLog closes the log of a generation whose entries, and those of all
// generations before it, are in tables. Later generations do not wait for these
// logs any more, unless a Seal has failed.
func (g *Generation) AbandonLog() {
	g.sealOnce.Do(func() {
		if g.Log != nil {
			_ = g.Log.Close(false)
		}
	})
	g.prev.Store(nil)
}
