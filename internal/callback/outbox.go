// Package callback calls code of the program: without locks, and so that a
// panic there costs no more than the call.
//
// Listener events and log records are added to the Outbox where they happen,
// under any locks, and delivered by a goroutine that holds none and that no
// commit, read or job waits for. Merge operators and filters are called by
// readers, which hold no locks, and by jobs, through a guard; Callers knows the
// goroutines of those jobs, so that a call that would wait for its own job is
// refused.
package callback

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Outbox holds calls of the program in the order of what they report. One
// goroutine at a time delivers them; it starts with the first entry and ends
// with the last.
type Outbox struct {
	// Immutable.
	lost     func(entries int) // called in place of dropped entries; may be nil
	panicked func(*base.PanicError)
	max      int // entries that may wait

	mu      sync.Mutex
	waiting []delivery // guarded by mu
	missing int        // guarded by mu; dropped since the last entry that was kept
	by      uint64     // guarded by mu; the goroutine that delivers, or 0
	running bool       // guarded by mu; that goroutine exists or is about to start
	idle    *sync.Cond // on mu; signals that running became false
}

// delivery is one call of the program.
type delivery struct {
	what string // whose code it calls
	call func()
	// final marks the report of a panic in another delivery. A panic in a final
	// delivery is not reported: a listener and a handler that always panic
	// would report each other for ever, and Close would wait for that.
	final bool
}

// The values of delivery.what.
const (
	ListenerCode = "the listener"
	LoggerCode   = "the handler of the logger"
)

// outboxMax bounds the waiting entries; beyond it the newest are dropped. It
// holds minutes of a busy database in a few megabytes.
const outboxMax = 1 << 14

// NewOutbox returns an outbox. While it delivers it calls lost, which may be
// nil, in place of dropped entries, and panicked for a panic in a delivery.
func NewOutbox(lost func(int), panicked func(*base.PanicError)) *Outbox {
	o := &Outbox{lost: lost, panicked: panicked, max: outboxMax}
	o.idle = sync.NewCond(&o.mu)
	return o
}

// add appends a call. It takes no lock but the outbox's own and never waits for
// the program.
func (o *Outbox) add(what string, call func()) { o.post(delivery{what: what, call: call}) }

// report adds a call of the listener that reports a panic. final is set if the
// panic was in another delivery.
func (o *Outbox) report(final bool, call func()) {
	o.post(delivery{what: ListenerCode, final: final, call: call})
}

// post appends a delivery.
func (o *Outbox) post(d delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) >= o.max {
		o.missing++
		return
	}
	o.tellMissing()
	o.waiting = append(o.waiting, d)
	if !o.running {
		o.running = true
		go o.deliver()
	}
}

// tellMissing appends a call that reports how many entries were dropped. The
// caller holds mu.
func (o *Outbox) tellMissing() {
	if n := o.missing; n > 0 {
		o.missing = 0
		if o.lost != nil {
			o.waiting = append(o.waiting, delivery{what: ListenerCode, call: func() { o.lost(n) }})
		}
	}
}

// deliver calls the program until nothing waits.
func (o *Outbox) deliver() {
	done := false
	defer func() {
		if !done { // the program ended the goroutine with runtime.Goexit
			go o.deliver()
		}
	}()
	o.mu.Lock()
	o.by = goroutine()
	for {
		if len(o.waiting) == 0 {
			o.tellMissing()
		}
		if len(o.waiting) == 0 {
			break
		}
		d := o.waiting[0]
		o.waiting[0] = delivery{}
		o.waiting = o.waiting[1:]
		o.mu.Unlock()
		o.call(d)
		o.mu.Lock()
	}
	o.waiting, o.by, o.running, done = nil, 0, false, true
	o.idle.Broadcast()
	o.mu.Unlock()
}

// call makes one call of the program. A panic is the program's mistake and ends
// only this call.
func (o *Outbox) call(d delivery) {
	defer func() {
		if v := recover(); v != nil && !d.final {
			o.panicked(&base.PanicError{Code: d.what, Value: v, Stack: debug.Stack()})
		}
	}()
	d.call()
}

// Drain waits until everything added so far is delivered. Called from within a
// delivery it returns at once.
func (o *Outbox) Drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.running && o.by != goroutine() {
		o.idle.Wait()
	}
}

// logHandler delivers log records through the outbox. It asks the program
// whether it wants a record only at delivery, since that is a callback too.
type logHandler struct {
	out *Outbox
	h   slog.Handler
}

func (l logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (l logHandler) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	l.out.post(delivery{what: LoggerCode, final: ctx.Value(finalReport{}) != nil, call: func() {
		if l.h.Enabled(ctx, r.Level) {
			_ = l.h.Handle(ctx, r) // a log that cannot be written is for the program to notice
		}
	}})
	return nil
}

// Handler returns a handler that delivers records to h through the outbox.
func (o *Outbox) Handler(h slog.Handler) slog.Handler { return logHandler{o, h} }

// Finally marks the context of a log record about a panic in another delivery.
func Finally(ctx context.Context) context.Context {
	return context.WithValue(ctx, finalReport{}, true)
}

// finalReport is the context key of records whose delivery is final.
type finalReport struct{}

func (l logHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return logHandler{l.out, l.h.WithAttrs(as)}
}
func (l logHandler) WithGroup(name string) slog.Handler {
	return logHandler{l.out, l.h.WithGroup(name)}
}
