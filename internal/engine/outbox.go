package engine

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
)

// The program's code runs without locks. Events of the listener and records of
// the logger are added to the outbox wherever they happen, under whatever locks,
// and delivered by a goroutine that holds none and that no commit, read or job
// waits for. Merge operators and filters are called by readers, who hold no
// locks, and by jobs: see guard.go.

// outbox holds what the program has yet to be called with, in the order in which
// it happened. One goroutine at a time delivers; it starts with the first entry
// and ends with the last.
type outbox struct {
	// Immutable.
	lost     func(entries int) // called where entries are missing; may be nil
	panicked func(*base.PanicError)
	max      int // entries that may wait

	mu      sync.Mutex
	waiting []delivery // guarded by mu
	missing int        // guarded by mu; dropped since the last entry that was kept
	by      uint64     // guarded by mu; the goroutine that delivers, 0 when there is none
	running bool       // guarded by mu; there is such a goroutine, or it is about to start
	idle    *sync.Cond // on mu; running became false
}

// delivery is one call of the program.
type delivery struct {
	what string // whose code it is
	call func()
	// final means that it reports a panic in another delivery. A panic in it is not
	// reported: a listener and a handler that always panic would report each other
	// for ever, and Close would wait for that.
	final bool
}

// Whose code a delivery calls.
const (
	listenerCode = "the listener"
	loggerCode   = "the handler of the logger"
)

// outboxMax is how far behind the program may be before the newest is dropped:
// minutes of a busy database, in a few megabytes.
const outboxMax = 1 << 14

func newOutbox(lost func(int), panicked func(*base.PanicError)) *outbox {
	o := &outbox{lost: lost, panicked: panicked, max: outboxMax}
	o.idle = sync.NewCond(&o.mu)
	return o
}

// add appends a call. It takes no lock but the outbox's own, and never waits for
// the program.
func (o *outbox) add(what string, call func()) { o.post(delivery{what: what, call: call}) }

// post is add of a delivery.
func (o *outbox) post(d delivery) {
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

// tellMissing appends what says how much was dropped. The caller holds mu.
func (o *outbox) tellMissing() {
	if n := o.missing; n > 0 {
		o.missing = 0
		if o.lost != nil {
			o.waiting = append(o.waiting, delivery{what: listenerCode, call: func() { o.lost(n) }})
		}
	}
}

// deliver calls the program until nothing waits.
func (o *outbox) deliver() {
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

// call calls the program once. A panic is the program's mistake, and ends only
// this call.
func (o *outbox) call(d delivery) {
	defer func() {
		if v := recover(); v != nil && !d.final {
			o.panicked(&base.PanicError{Code: d.what, Value: v, Stack: debug.Stack()})
		}
	}()
	d.call()
}

// drain waits until everything added so far was delivered, unless a delivery is
// what calls it.
func (o *outbox) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.running && o.by != goroutine() {
		o.idle.Wait()
	}
}

// logHandler hands the records of a logger to the outbox. Whether the program
// wants a record is asked when it is delivered: that is a call as well.
type logHandler struct {
	out *outbox
	h   slog.Handler
}

func (l logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (l logHandler) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	l.out.post(delivery{what: loggerCode, final: ctx.Value(finalReport{}) != nil, call: func() {
		if l.h.Enabled(ctx, r.Level) {
			_ = l.h.Handle(ctx, r) // a log that cannot be written is the program's to notice
		}
	}})
	return nil
}

// finalReport is the key of a context of log records whose delivery is final.
type finalReport struct{}

func (l logHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return logHandler{l.out, l.h.WithAttrs(as)}
}
func (l logHandler) WithGroup(name string) slog.Handler {
	return logHandler{l.out, l.h.WithGroup(name)}
}
