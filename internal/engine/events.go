package engine

import (
	"time"

	"github.com/seerdb-go/seerdb/observe"
)

// listener calls the functions of an observe.EventListener that are set.
type listener struct{ l observe.EventListener }

func call[T any](f func(T), v T) {
	if f != nil {
		f(v)
	}
}

func (l *listener) flushBegin(ev observe.FlushEvent)           { call(l.l.FlushBegin, ev) }
func (l *listener) flushEnd(ev observe.FlushEvent)             { call(l.l.FlushEnd, ev) }
func (l *listener) compactionBegin(ev observe.CompactionEvent) { call(l.l.CompactionBegin, ev) }
func (l *listener) compactionEnd(ev observe.CompactionEvent)   { call(l.l.CompactionEnd, ev) }
func (l *listener) tableCreated(ev observe.FileEvent)          { call(l.l.TableCreated, ev) }
func (l *listener) tableRemoved(ev observe.FileEvent)          { call(l.l.TableRemoved, ev) }
func (l *listener) valueFileCreated(ev observe.FileEvent)      { call(l.l.ValueFileCreated, ev) }
func (l *listener) valueFileRemoved(ev observe.FileEvent)      { call(l.l.ValueFileRemoved, ev) }
func (l *listener) stallBegin(reason string)                   { call(l.l.StallBegin, reason) }
func (l *listener) backgroundError(err error)                  { call(l.l.BackgroundError, err) }
func (l *listener) recovered(ev observe.RecoveryEvent)         { call(l.l.Recovered, ev) }

func (l *listener) stallEnd(reason string, d time.Duration) {
	if l.l.StallEnd != nil {
		l.l.StallEnd(reason, d)
	}
}
