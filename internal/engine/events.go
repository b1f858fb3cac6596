package engine

import (
	"errors"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/observe"
)

// listener adds the events that an observe.EventListener has functions for to the
// outbox.
type listener struct {
	l   observe.EventListener
	out *outbox
}

func post[T any](l *listener, f func(T), v T) {
	if f != nil {
		l.out.add(listenerCode, func() { f(v) })
	}
}

func (l *listener) flushBegin(ev observe.FlushEvent)           { post(l, l.l.FlushBegin, ev) }
func (l *listener) flushEnd(ev observe.FlushEvent)             { post(l, l.l.FlushEnd, ev) }
func (l *listener) compactionBegin(ev observe.CompactionEvent) { post(l, l.l.CompactionBegin, ev) }
func (l *listener) compactionEnd(ev observe.CompactionEvent)   { post(l, l.l.CompactionEnd, ev) }
func (l *listener) tableCreated(ev observe.FileEvent)          { post(l, l.l.TableCreated, ev) }
func (l *listener) tableRemoved(ev observe.FileEvent)          { post(l, l.l.TableRemoved, ev) }
func (l *listener) valueFileCreated(ev observe.FileEvent)      { post(l, l.l.ValueFileCreated, ev) }
func (l *listener) valueFileRemoved(ev observe.FileEvent)      { post(l, l.l.ValueFileRemoved, ev) }
func (l *listener) stallBegin(reason string)                   { post(l, l.l.StallBegin, reason) }
func (l *listener) backgroundError(err error)                  { post(l, l.l.BackgroundError, err) }
func (l *listener) recovered(ev observe.RecoveryEvent)         { post(l, l.l.Recovered, ev) }

func (l *listener) stallEnd(reason string, d time.Duration) {
	if f := l.l.StallEnd; f != nil {
		l.out.add(listenerCode, func() { f(reason, d) })
	}
}

// damaged tells the log and the listener about damage met by a read.
func (e *Engine) damaged(err error) {
	var c *base.CorruptionError
	if errors.As(err, &c) {
		e.opts.Logger.Error("seerdb: damage", "file", c.File, "offset", c.Offset, "detail", c.Detail)
		e.listener.backgroundError(err)
	}
}

// fileCreated tells the listener about a file.
func (e *Engine) fileCreated(t base.FileType, n base.FileNum, size int64, job int) {
	ev := observe.FileEvent{Job: job, Name: base.FileName(t, n), Size: size}
	switch t {
	case base.FileTypeTable, base.FileTypePack:
		e.listener.tableCreated(ev)
	case base.FileTypeValues:
		e.listener.valueFileCreated(ev)
	}
}
