// Package generation ties a memtable to the log segment that covers it: what is
// switched, flushed and forgotten as one. The original treated them apart, and lost
// commits in nine ways.
//
// Logs become durable in their order. Recovery takes a log that was synced for proof
// that those before it were, so a log is synced only once all logs before it are. When
// one of these fails, no commit behind it becomes durable any more.
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

// Generation is a memtable with its log. It is active, and takes commits, until its
// successor replaces it; then it is immutable, and waits for its flush.
type Generation struct {
	// Mem, Log, Num, After and Charge are immutable once commits come.

	Mem *memtable.Memtable
	Log *wal.Writer  // nil without a log, and for recovered generations
	Num base.FileNum // of the log, or of the first one that is still needed
	// After is a sequence before all that is written here; what lies in older
	// generations and in tables is not newer.
	After base.SeqNum
	// Charge is what the memory budget is charged, in bytes.
	Charge int64
	// LastSeq is set when the generation becomes immutable: no entry is newer. The
	// commit pipeline guards it before.
	LastSeq base.SeqNum

	// prev is the generation before it, while its log is not known to be durable, or not
	// to matter any more.
	prev     atomic.Pointer[Generation]
	sealOnce sync.Once
	sealErr  error // immutable after sealOnce
}

// Follow makes prev the generation before g. Callers call it before the first commit.
func (g *Generation) Follow(prev *Generation) { g.prev.Store(prev) }

// Sync makes all logs before this one durable, and then this one up to lsn. When one
// of those before fails, the error is base.ErrCommitUnknown: what is at lsn may be
// written all the same, and count. Other errors are those of wal.Writer.Sync.
func (g *Generation) Sync(lsn int64) error {
	if err := g.syncPrev(); err != nil {
		return fmt.Errorf("%w: %w", base.ErrCommitUnknown, err)
	}
	return g.Log.Sync(lsn)
}

// SyncAll makes everything appended so far durable, in the logs before this one first.
func (g *Generation) SyncAll() error {
	if err := g.syncPrev(); err != nil {
		return err
	}
	return g.Log.SyncAll()
}

// syncPrev seals all generations before this one, the oldest first.
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

// Seal writes, syncs and closes the log of a generation that takes no more commits,
// after those before it. When one of these fails the log is closed and not synced. Seal
// runs once: callers that come in that time wait, and all get the same error.
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

// LogError returns what an error of Sync, SyncAll or Seal says about the log that
// failed, without what it says about the commit of a caller that waited.
func (g *Generation) LogError(err error) error {
	var p *wal.PoisonError
	if errors.As(err, &p) {
		return fmt.Errorf("write-ahead log %w", p)
	}
	return fmt.Errorf("write-ahead log %s: %w", base.FileName(base.FileTypeLog, g.Num), err)
}

// AbandonLog closes the log of a generation whose content is in tables, as is that
// of all generations before it. Later ones do not wait for these logs any more, unless
// a Seal has failed.
func (g *Generation) AbandonLog() {
	g.sealOnce.Do(func() {
		if g.Log != nil {
			_ = g.Log.Close(false)
		}
	})
	g.prev.Store(nil)
}
