// Package report passes to the program what happens in a database: events to its listener,
// records to its logger, and panics of its own code to both.
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

// Reporter calls the program, in the order of events and without locks: see
// callback.Outbox. It is safe for concurrent use.
type Reporter struct {
	Logger   *slog.Logger // never nil
	Listener callback.Listener
	Callers  callback.Callers // the goroutines that run code of the program

	out      *callback.Outbox
	panicked atomic.Pointer[base.PanicError] // the last panic recovered from
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

// Drain waits until the listener and the logger have received everything reported so far.
// Called by one of them, it returns immediately.
func (r *Reporter) Drain() { r.out.Drain() }

// Panic reports a recovered panic of the program's code to the logger and the listener, and
// keeps it for Health until the next Open. A panic of the logger goes only to the listener.
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

// Damage reports damage that a read or a job found. It ignores other errors.
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

// JobFailed reports a background job that failed and will be tried again.
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

// FileRemoved reports the removal of a file that was no longer referenced.
func (r *Reporter) FileRemoved(t base.FileType, n base.FileNum, size int64) {
	ev := observe.FileEvent{Name: base.FileName(t, n), Size: size}
	switch t {
	case base.FileTypeTable, base.FileTypePack:
		r.Listener.TableRemoved(ev)
	case base.FileTypeValues:
		r.Listener.ValueFileRemoved(ev)
	}
}
