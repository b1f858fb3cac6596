package callback

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/observe"
)

// Listener adds an event to the outbox for each function that an
// observe.EventListener has.
type Listener struct {
	l   observe.EventListener
	out *Outbox
}

// NewListener returns a Listener that delivers to l through out.
func NewListener(l observe.EventListener, out *Outbox) Listener { return Listener{l, out} }

// Panicked reports a panic of the program's code, unless the listener itself
// panicked. final is as for Outbox.report.
func (l *Listener) Panicked(p *base.PanicError, final bool) {
	if f := l.l.BackgroundError; f != nil && p.Code != ListenerCode {
		l.out.report(final, func() { f(p) })
	}
}

func post[T any](l *Listener, f func(T), v T) {
	if f != nil {
		l.out.add(ListenerCode, func() { f(v) })
	}
}

// The methods below are named after the events.

func (l *Listener) FlushBegin(ev observe.FlushEvent)           { post(l, l.l.FlushBegin, ev) }
func (l *Listener) FlushEnd(ev observe.FlushEvent)             { post(l, l.l.FlushEnd, ev) }
func (l *Listener) CompactionBegin(ev observe.CompactionEvent) { post(l, l.l.CompactionBegin, ev) }
func (l *Listener) CompactionEnd(ev observe.CompactionEvent)   { post(l, l.l.CompactionEnd, ev) }
func (l *Listener) TableCreated(ev observe.FileEvent)          { post(l, l.l.TableCreated, ev) }
func (l *Listener) TableRemoved(ev observe.FileEvent)          { post(l, l.l.TableRemoved, ev) }
func (l *Listener) ValueFileCreated(ev observe.FileEvent)      { post(l, l.l.ValueFileCreated, ev) }
func (l *Listener) ValueFileRemoved(ev observe.FileEvent)      { post(l, l.l.ValueFileRemoved, ev) }
func (l *Listener) StallBegin(reason string)                   { post(l, l.l.StallBegin, reason) }
func (l *Listener) BackgroundError(err error)                  { post(l, l.l.BackgroundError, err) }
func (l *Listener) Recovered(ev observe.RecoveryEvent)         { post(l, l.l.Recovered, ev) }

func (l *Listener) StallEnd(reason string, d time.Duration) {
	if f := l.l.StallEnd; f != nil {
		l.out.add(ListenerCode, func() { f(reason, d) })
	}
}
