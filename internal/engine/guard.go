package engine

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
)

// callers knows the goroutines that run code of the program which a call of the
// engine may wait for. Made from such a goroutine, that call would wait for
// itself, and is refused with base.ErrInCallback.
type callers struct{ m sync.Map } // goroutine number to calling

// calling says which calls would wait for a goroutine.
type calling uint8

const (
	callingRows calling = iota + 1 // rows of a load: Close waits for it
	callingJob                     // a merge operator or filter of a job: flushes, compactions and stopped writers do too
)

// enter notes that the goroutine calls the program, until leave is called.
func (c *callers) enter(why calling) (leave func()) {
	id := goroutine()
	before, nested := c.m.Swap(id, why)
	return func() {
		if nested {
			c.m.Store(id, before)
		} else {
			c.m.Delete(id)
		}
	}
}

// refuse returns base.ErrInCallback for a call that would wait for at least so
// much and that the program makes in a callback.
func (c *callers) refuse(call string, least calling) error {
	if why, ok := c.m.Load(goroutine()); ok && why.(calling) >= least {
		return fmt.Errorf("%w: %s", base.ErrInCallback, call)
	}
	return nil
}

// goroutine is the number of the goroutine that calls. The runtime says it only
// at the head of a stack trace: "goroutine 18 [running]:".
func goroutine() uint64 {
	var room [64]byte
	head := bytes.TrimPrefix(room[:runtime.Stack(room[:], false)], []byte("goroutine "))
	end := max(bytes.IndexByte(head, ' '), 0)
	n, err := strconv.ParseUint(string(head[:end]), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("engine: a stack trace begins with %q", head))
	}
	return n
}

// guard is the merge operator and the filter of a keyspace, as a job asks them. A
// panic of theirs is the program's mistake and fails what was asked: operands
// then stay as they are, and a job that asks a filter ends with the error.
type guard struct {
	k      *Keyspace
	merger base.Merger
	filter compaction.Filter
	first  *base.PanicError // the first panic
}

// runJob is compaction.Run with the merge operator and the filter of k guarded.
func (e *Engine) runJob(ctx context.Context, k *Keyspace, o compaction.RunOptions) (compaction.Result, error) {
	if o.Merger == nil && o.Filter == nil {
		return compaction.Run(ctx, o)
	}
	g := &guard{k: k, merger: o.Merger, filter: o.Filter}
	if o.Merger != nil {
		o.Merger = g
	}
	if o.Filter != nil {
		o.Filter = g.ask
	}
	defer e.callers.enter(callingJob)()
	res, err := compaction.Run(ctx, o)
	if g.first != nil {
		e.notePanic(g.first)
	}
	return res, err
}

// Name implements base.Merger.
func (g *guard) Name() string { return g.merger.Name() }

// Full implements base.Merger.
func (g *guard) Full(dst, key, existing []byte, exists bool, operands [][]byte) (value []byte, err error) {
	defer func() { g.note("merge operator", key, recover(), &err) }()
	return g.merger.Full(dst, key, existing, exists, operands)
}

// Partial implements base.Merger.
func (g *guard) Partial(dst, key, older, newer []byte) (operand []byte, ok bool, err error) {
	defer func() { g.note("merge operator", key, recover(), &err) }()
	return g.merger.Partial(dst, key, older, newer)
}

func (g *guard) ask(key, value []byte) (v compaction.FilterVerdict, changed []byte, err error) {
	defer func() { g.note("compaction filter", key, recover(), &err) }()
	return g.filter(key, value)
}

// note makes an error of a panic with v, if that is not nil.
func (g *guard) note(what string, key []byte, v any, err *error) {
	if v == nil {
		return
	}
	p := &base.PanicError{Code: "the " + what + " of " + g.k.Describe(), Key: bytes.Clone(key), Value: v, Stack: debug.Stack()}
	if *err = p; g.first == nil {
		g.first = p
	}
}

// notePanic reports a panic of the program's code that the engine recovered from:
// to the logger, to the listener and, until the next Open, in Health.
func (e *Engine) notePanic(p *base.PanicError) {
	e.panicked.Store(p)
	ctx, final := context.Background(), p.Code == listenerCode || p.Code == loggerCode
	if final {
		ctx = context.WithValue(ctx, finalReport{}, true)
	}
	if p.Code != loggerCode {
		e.opts.Logger.ErrorContext(ctx, "seerdb: code of the program panicked", "err", p, "stack", string(p.Stack))
	}
	if f := e.listener.l.BackgroundError; f != nil && p.Code != listenerCode {
		e.out.post(delivery{what: listenerCode, final: final, call: func() { f(p) }})
	}
}
