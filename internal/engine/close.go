package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// closing holds the outcome of Close.
type closing struct {
	once sync.Once
	err  error // immutable after once
}

// closeFlushBytes is the size up to which Close leaves the log for replay instead of
// writing tables: replay reads this in a few milliseconds, and a program that
// opens, writes little and closes does not make a table each time.
const closeFlushBytes = 1 << 20

// Close waits for commits and jobs in progress, makes acknowledged commits durable and
// releases the directory. Later and concurrent calls wait for the first, and return
// its error.
//
// Close returns once the listener and the logger have received all events, unless
// one of them calls Close. It waits for them last, after everything else.
func (e *Engine) Close() error {
	if err := e.report.Callers.Refuse("Close", callback.CallingRows); err != nil {
		return err
	}
	e.closing.once.Do(func() { e.closing.err = shutDown(e) })
	e.report.Drain()
	return e.closing.err
}

// shutDown does the work of the first Close.
func shutDown(e *Engine) error {
	e.commit.Close()
	e.work.Stop()
	e.work.Wait()
	var errs []error
	switch p := e.latch.Cause(); {
	case e.opts.ReadOnly:
	case p != nil:
		abandonLogs(e)
		errs = append(errs, fmt.Errorf("%w: commits that were not yet durable may be lost: %w", base.ErrReadOnly, p))
	default:
		errs = append(errs, finishLogs(e))
	}
	e.clock.Tick()
	e.versions.Lock()
	leaks := closeLeaks(e)
	if !e.opts.ReadOnly && e.latch.Cause() == nil {
		e.commit.KeepReserve()
	}
	e.room.Close()
	s := e.store.Current()
	retire := e.store.Close()
	if e.versions.Manifest() != nil {
		if e.latch.Cause() == nil {
			if err := e.versions.Manifest().Sync(); err != nil {
				errs = append(errs, fmt.Errorf("seerdb: close: keyspaces that were created since the last flush may be lost: manifest: %w", err))
			}
		}
		persistClock(e)
		if s != nil && errors.Join(errs...) == nil {
			noteClosed(e, s)
		}
		errs = append(errs, e.versions.Close())
	}
	e.versions.Unlock()
	retire()
	e.dir.release()
	e.store.Freed()
	err := errors.Join(errs...)
	switch {
	case leaks == nil:
		return err
	case err == nil:
		return leaks
	}
	return fmt.Errorf("%w; %v", err, leaks) // no LeakError: it means that all else succeeded
}

// persistClock saves the clock's latest time, and ignores errors: the saved time matters
// only if the system's clock goes back. The versions are locked.
func persistClock(e *Engine) {
	if t := e.clock.Mark(); e.latch.Cause() == nil && t > e.versions.Manifest().State().Clock {
		if err := e.versions.Manifest().Append(&manifest.Edit{Clock: t}); err != nil {
			e.report.Logger.Warn("seerdb: the time was not written down at close", "err", err)
		}
	}
}

// noteClosed saves the lengths of the manifest and the logs, so that the next
// Open notices lost bytes. It may fail: the directory is then as a kill leaves it,
// and acknowledged commits are durable. The versions are locked.
func noteClosed(e *Engine, s *readstate.State) {
	if name := halfWritten(e); name != "" {
		// Open removes files without a valid header only after a kill.
		e.report.Logger.Warn("seerdb: the clean close is not recorded, so that the next open removes a file whose removal failed", "file", name)
		return
	}
	var logs []manifest.ClosedLog
	for _, g := range slices.Backward(s.Generations()) {
		l := manifest.ClosedLog{Num: g.Num}
		if g.Log != nil {
			l.Size = g.Log.Prev().Size
		}
		logs = append(logs, l)
	}
	if err := e.versions.Manifest().Seal(logs); err != nil {
		e.report.Logger.Warn("seerdb: cannot record the clean close", "err", err)
	}
}

// closeLeaks marks the engine closed for iterators and snapshots, and lists
// those that are still open.
func closeLeaks(e *Engine) *base.LeakError {
	e.store.MarkClosed()
	n, places := e.open.Leaked()
	if n == 0 {
		return nil
	}
	return &base.LeakError{Open: n, Places: places}
}

// finishLogs makes all acknowledged commits durable. It writes tables if there is much
// to write, if there is no log, or if the next Open would lack the room to replay it;
// otherwise it syncs the logs. If the flush fails, for example on a full disk, it falls
// back on the logs, which are complete.
func finishLogs(e *Engine) error {
	var logged int64
	withoutLog := false
	for _, g := range e.store.Current().Generations() {
		if g.Log == nil {
			withoutLog = withoutLog || !g.Mem.Empty()
			continue
		}
		logged += g.Log.Size() + int64(g.Log.Pending())
	}
	var err error
	if l := e.store.Current().Active.Log; l != nil && errors.Is(l.FlushAll(), base.ErrNoSpace) {
		withoutLog = true // some commits were acknowledged from the log's memory
	}
	if withoutLog || logged > closeFlushBytes || e.room.Lacking() != nil {
		if err = flushForClose(e); err == nil {
			return nil
		}
		e.report.Logger.Warn("seerdb: flush at close failed; the log keeps the commits", "err", err)
	}
	whole := true
	for _, g := range slices.Backward(e.store.Current().Generations()) {
		serr := g.Seal()
		whole = whole && serr == nil
		if serr != nil && !errors.Is(serr, base.ErrNoSpace) {
			abandonLogs(e)
			return fmt.Errorf("seerdb: close: write-ahead log %s: %w", base.FileName(base.FileTypeLog, g.Num), serr)
		}
	}
	if withoutLog {
		return fmt.Errorf("seerdb: close: commits after sequence %d may be lost, for they went neither to a log nor to tables: %w",
			e.commit.DurableSeq(), err)
	}
	if whole {
		e.commit.RaiseDurable(e.commit.LastSeq())
	}
	return nil
}

// flushForClose writes all generations to tables by an ordinary flush: readers
// may still be open, and must see either a generation or its tables.
func flushForClose(e *Engine) error {
	err := e.commit.RetireLast()
	if err != nil {
		return err
	}
	if err := e.jobs.FlushAll(context.Background()); err != nil {
		return err
	}
	abandonLogs(e) // the empty log of the new generation
	return nil
}

// abandonLogs closes the logs without a sync.
func abandonLogs(e *Engine) {
	for _, g := range e.store.Current().Generations() {
		g.AbandonLog()
	}
}
