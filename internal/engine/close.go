package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// closeFlushBytes is how much log a clean Close leaves to be replayed rather
// than write it to tables: replay reads this in a few milliseconds, and a
// program that opens, writes little and closes makes no table each time.
const closeFlushBytes = 1 << 20

// Close waits for commits and jobs in progress, makes what was acknowledged
// durable and lets the directory go. It is idempotent; concurrent calls wait
// for the first.
func (e *Engine) Close() error {
	first := false
	e.closeOnce.Do(func() {
		first = true
		e.closeErr = e.close()
	})
	if first {
		return e.closeErr
	}
	return nil
}

func (e *Engine) close() error {
	e.refuseCommits()
	e.background.stopJobs()
	e.background.wg.Wait()
	var errs []error
	switch p := e.poisoned.Load(); {
	case e.opts.ReadOnly:
	case p != nil:
		e.abandonLogs()
		errs = append(errs, fmt.Errorf("%w: commits that were not yet durable may be lost: %w", base.ErrReadOnly, *p))
	default:
		errs = append(errs, e.finishLogs())
	}
	e.installMu.Lock()
	errs = append(errs, e.closeLeaks())
	s := e.state.Swap(nil)
	if e.manifest != nil {
		e.keepTime()
		errs = append(errs, e.manifest.Close())
		e.manifest = nil
	}
	e.installMu.Unlock()
	if s != nil {
		s.retire()
	}
	e.releaseDir()
	e.lifetimes.Done()
	return errors.Join(errs...)
}

// keepTime writes down the latest time told, as far as that works: it is only
// needed should the system's clock go back. The caller holds installMu.
func (e *Engine) keepTime() {
	if t := e.clock.high.Load(); e.poisoned.Load() == nil && t > e.manifest.State().Clock {
		if err := e.manifest.Append(&manifest.Edit{Clock: t}); err != nil {
			e.opts.Logger.Warn("seerdb: the time was not written down at close", "err", err)
		}
	}
}

// refuseCommits lets no new commit in and waits for those inside.
func (e *Engine) refuseCommits() {
	p := &e.commit
	p.mu.Lock()
	p.refused = base.ErrClosed
	p.changed.Broadcast()
	p.closing = true
	for p.head != nil {
		p.changed.Wait()
	}
	p.mu.Unlock()
}

// closeLeaks marks the engine closed for iterators and snapshots, and names
// those that are still open.
func (e *Engine) closeLeaks() error {
	e.closed.Store(true)
	n, places := e.open.leaked()
	if n == 0 {
		return nil
	}
	return fmt.Errorf("seerdb: closed with %d iterators or snapshots open: %s", n, strings.Join(places, "; "))
}

// finishLogs makes everything acknowledged durable: in tables when there is
// much of it or no log, else in the log. A flush that fails, on a full disk
// say, falls back on the logs, which are complete.
func (e *Engine) finishLogs() error {
	s := e.state.Load()
	gens := append([]*generation{s.mem}, s.imm...)
	var logged int64
	withoutLog := false
	for _, g := range gens {
		if g.log == nil {
			withoutLog = withoutLog || !g.empty()
			continue
		}
		logged += g.log.Size() + int64(g.log.Pending())
	}
	var err error
	if withoutLog || logged > closeFlushBytes {
		if err = e.flushForClose(s, gens); err == nil {
			return nil
		}
		e.opts.Logger.Warn("seerdb: flush at close failed; the log keeps the commits", "err", err)
	}
	for _, g := range slices.Backward(gens) {
		if serr := g.seal(); serr != nil {
			e.abandonLogs()
			return fmt.Errorf("seerdb: close: write-ahead log %s: %w", base.FileName(base.FileTypeLog, g.logNum), serr)
		}
	}
	if withoutLog {
		return err
	}
	return nil
}

// flushForClose writes all generations to tables. No commit runs any more, so
// the active one is as good as immutable.
func (e *Engine) flushForClose(s *state, gens []*generation) error {
	s.mem.lastSeq = e.commit.nextSeq - 1
	res, err := e.writeGenerations(context.Background(), s.v, gens, int(e.nextJob.Add(1)))
	if err != nil {
		return err
	}
	edit := flushEdit(res, uint64(e.newFileNum()))
	next := &generation{logNum: e.newFileNum()}
	e.commit.mu.Lock()
	err = e.createLog(next, nil)
	e.commit.mu.Unlock()
	if err != nil {
		e.discardOutputs(res)
		return err
	}
	next.abandonLog()
	edit.LogNum = &next.logNum
	if err := e.install(edit, nil, nil); err != nil {
		e.discardOutputs(res)
		return err
	}
	e.dropLogs(gens)
	return nil
}

// abandonLogs closes the logs of a poisoned engine as they are.
func (e *Engine) abandonLogs() {
	s := e.state.Load()
	for _, g := range append([]*generation{s.mem}, s.imm...) {
		g.abandonLog()
	}
}
