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

// closing is the end of an engine.
type closing struct {
	once sync.Once
	err  error // immutable after once
}

// closeFlushBytes is how much log a clean Close leaves to be replayed rather
// than write it to tables: replay reads this in a few milliseconds, and a
// program that opens, writes little and closes makes no table each time.
const closeFlushBytes = 1 << 20

// Close waits for commits and jobs in progress, makes what was acknowledged
// durable and lets the directory go. Later and concurrent calls wait for the
// first, and return what it returned.
//
// It returns once the listener and the logger have got all that happened, unless
// one of them calls it. It waits for them last, with everything done.
func (e *Engine) Close() error {
	if err := e.report.Callers.Refuse("Close", callback.CallingRows); err != nil {
		return err
	}
	e.closing.once.Do(func() { e.closing.err = shutDown(e) })
	e.report.Drain()
	return e.closing.err
}

// shutDown is the first Close.
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
	return fmt.Errorf("%w; %v", err, leaks) // a LeakError would say that all else went well
}

// persistClock writes down the latest time told, as far as that works: it is only
// needed should the system's clock go back. The versions are locked.
func persistClock(e *Engine) {
	if t := e.clock.Mark(); e.latch.Cause() == nil && t > e.versions.Manifest().State().Clock {
		if err := e.versions.Manifest().Append(&manifest.Edit{Clock: t}); err != nil {
			e.report.Logger.Warn("seerdb: the time was not written down at close", "err", err)
		}
	}
}

// noteClosed writes down how long the manifest and the logs are, so that the next
// Open notices when less is there. It is not needed: without it the directory is
// as a kill would leave it, and what was acknowledged is durable all the same.
// The versions are locked.
func noteClosed(e *Engine, s *readstate.State) {
	if name := halfWritten(e); name != "" {
		// Only after a kill does Open remove what cannot say that it is ours.
		e.report.Logger.Warn("seerdb: that the database was closed is not written down, so that the next opening removes a file that could not be removed", "file", name)
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
		e.report.Logger.Warn("seerdb: that the database was closed could not be written down", "err", err)
	}
}

// closeLeaks marks the engine closed for iterators and snapshots, and names
// those that are still open.
func closeLeaks(e *Engine) *base.LeakError {
	e.store.MarkClosed()
	n, places := e.open.Leaked()
	if n == 0 {
		return nil
	}
	return &base.LeakError{Open: n, Places: places}
}

// finishLogs makes everything acknowledged durable: in tables when there is
// much of it, no log, or no room for the next Open to do it, else in the log. A flush that fails, on a full disk
// say, falls back on the logs, which are complete.
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
		withoutLog = true // what was acknowledged from its memory
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

// flushForClose writes all generations to tables, as every flush does: readers
// are still there, and must see either a generation or its tables.
func flushForClose(e *Engine) error {
	err := e.commit.RetireLast()
	if err != nil {
		return err
	}
	if err := e.jobs.FlushAll(context.Background()); err != nil {
		return err
	}
	abandonLogs(e) // that of the new generation, which is empty
	return nil
}

// abandonLogs closes the logs as they are.
func abandonLogs(e *Engine) {
	for _, g := range e.store.Current().Generations() {
		g.AbandonLog()
	}
}
