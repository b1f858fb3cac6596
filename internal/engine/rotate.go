package engine

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/callback"
)

// stop is what writers wait for.
type stop uint8

const (
	stopMemtables stop = iota // a flush
	stopL0                    // a compaction of L0
)

// waitFor waits for what stops writers, or says why it will not come. The
// caller holds commit.mu.
func (e *Engine) waitFor(s stop, reason string) error {
	if err := e.background.blocking(s); err != nil {
		return err
	}
	if err := e.report.Callers.Refuse("a commit while writers are stopped, since "+reason, callback.CallingJob); err != nil {
		return err
	}
	e.waitForRoom(reason)
	return nil
}

// waitForRoom parks a writer until something changed. The caller holds
// commit.mu.
func (e *Engine) waitForRoom(reason string) {
	p := &e.commit
	begin := time.Now()
	if p.waiting == 0 {
		e.stats.stopped.Store(&reason)
		e.report.Listener.StallBegin(reason)
		e.report.Logger.Warn("seerdb: writers are stopped", "reason", reason)
	}
	p.waiting++
	e.background.kick()
	p.changed.Wait()
	p.waiting--
	d := time.Since(begin)
	e.stats.stops.Add(1)
	e.stats.stopTime.Add(int64(d))
	if p.waiting == 0 {
		e.stats.stopped.Store(nil)
		e.report.Listener.StallEnd(reason, d)
	}
}
