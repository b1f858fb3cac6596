// Package report gives the program what a database has to say: events for its listener, lines
// for its logger, and panics of its own code.
package report

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/observe"
)

// Reporter calls the program, in the order of events and under no lock: see callback.Outbox.
// It is safe for concurrent use.
type Reporter struct {
	Logger   *slog.Logger // never nil
	Listener callback.Listener
	Callers  callback.Callers // the goroutines that are in code of the program

	out      *callback.Outbox
	panicked atomic.Pointer[base.PanicError] // the last one that was recovered from
}

// New returns a reporter. A nil logger logs nothing.
func New(logger *slog.Logger, l observe.EventListener) *Reporter {
	r := new(Reporter)
	r.out = callback.NewOutbox(l.EventsLost, r.Panic)
	r.Listener = callback.NewListener(l, r.out)
	if logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	} else {
		r.Logger = slog.New(r.out.Handler(logger.Handler()))
	}
	return r
}

// Drain returns once the listener and the logger have got all that was reported, unless one of
// them calls it.
func (r *Reporter) Drain() { r.out.Drain() }

// Panic reports a panic of the program's code that the database recovered from to the logger
// and to the listener, unless it is theirs, and keeps it for Health until the next Open.
func (r *Reporter) Panic(p *base.PanicError) {
	r.panicked.Store(p)
	ctx, final := context.Background(), p.Code == callback.ListenerCode || p.Code == callback.LoggerCode
	if final {
		ctx = callback.Finally(ctx)
	}
	if p.Code != callback.LoggerCode {
		r.Logger.ErrorContext(ctx, "seerdb: code of the program panicked", "err", p, "stack", string(p.Stack))
	}
	r.Listener.Panicked(p, final)
}

// Panicked returns the last panic, or nil.
func (r *Reporter) Panicked() *base.PanicError { return r.panicked.Load() }

// Damage reports damage that a read or a job met. Other errors it leaves alone.
func (r *Reporter) Damage(err error) {
	var c *base.CorruptionError
	if errors.As(err, &c) {
		r.Logger.Error("seerdb: damage", "file", c.File, "offset", c.Offset, "detail", c.Detail)
		r.Listener.BackgroundError(err)
	}
}

// Poisoned reports that the database is read-only from now on.
func (r *Reporter) Poisoned(cause error) {
	r.Logger.Error("seerdb is read-only from now on", "cause", cause)
	r.Listener.BackgroundError(cause)
}

// JobFailed reports a job in the background that failed and will be tried again.
func (r *Reporter) JobFailed(job string, err error) {
	r.Logger.Warn("seerdb: a background "+job+" failed and will be retried", "err", err)
	r.Listener.BackgroundError(err)
}

// FileCreated reports a file that a job made.
func (r *Reporter) FileCreated(t base.FileType, n base.FileNum, size int64, job int) {
	ev := observe.FileEvent{Job: job, Name: base.FileName(t, n), Size: size}
	switch t {
	case base.FileTypeTable, base.FileTypePack:
		r.Listener.TableCreated(ev)
	case base.FileTypeValues:
		r.Listener.ValueFileCreated(ev)
	}
}

// FileRemoved reports a file that nothing named any more.
func (r *Reporter) FileRemoved(t base.FileType, n base.FileNum, size int64) {
	ev := observe.FileEvent{Name: base.FileName(t, n), Size: size}
	switch t {
	case base.FileTypeTable, base.FileTypePack:
		r.Listener.TableRemoved(ev)
	case base.FileTypeValues:
		r.Listener.ValueFileRemoved(ev)
	}
}
