package callback

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
)

// Callers knows which goroutines run callbacks that a call of the engine may
// wait for. Such a call, made from such a goroutine, would wait for itself;
// Refuse returns base.ErrInCallback for it.
type Callers struct{ m sync.Map } // goroutine number to calling

// calling says which calls would wait for a goroutine that runs a callback.
type calling uint8

const (
	// CallingRows and CallingJob are the callbacks that calls wait for.
	CallingRows calling = iota + 1 // the rows of a bulk load: Close waits for them
	CallingJob                     // a merge operator or filter of a job: flushes, compactions and stopped writers wait too
)

// Enter notes that this goroutine runs a callback until leave is called.
func (c *Callers) Enter(why calling) (leave func()) {
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

// Refuse returns base.ErrInCallback if this goroutine runs a callback of kind
// least or a higher one, and so the named call would wait for itself.
func (c *Callers) Refuse(call string, least calling) error {
	if why, ok := c.m.Load(goroutine()); ok && why.(calling) >= least {
		return fmt.Errorf("%w: %s", base.ErrInCallback, call)
	}
	return nil
}

// goroutine returns the number of the calling goroutine. The runtime reveals it
// only at the head of a stack trace: "goroutine 18 [running]:".
func goroutine() uint64 {
	var room [64]byte
	head := bytes.TrimPrefix(room[:runtime.Stack(room[:], false)], []byte("goroutine "))
	end := max(bytes.IndexByte(head, ' '), 0)
	n, err := strconv.ParseUint(string(head[:end]), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("callback: a stack trace begins with %q", head))
	}
	return n
}

// guard wraps the merge operator and the filter of a keyspace for a job. A
// panic of theirs is the program's mistake and fails only the call: the job
// then keeps the operands as they are, or ends with the error if the filter
// panicked.
type guard struct {
	of     string // the name of the keyspace, for messages
	merger base.Merger
	filter compaction.Filter
	first  *base.PanicError // the first panic
}

// NewGuard wraps a merge operator and a filter, either of which may be nil. of
// names their keyspace in messages.
func NewGuard(of string, m base.Merger, f compaction.Filter) *guard {
	return &guard{of: of, merger: m, filter: f}
}

// Panicked returns the first panic, or nil.
func (g *guard) Panicked() *base.PanicError { return g.first }

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

// Ask calls the filter for a value.
func (g *guard) Ask(key, value []byte) (v compaction.FilterVerdict, changed []byte, err error) {
	defer func() { g.note("compaction filter", key, recover(), &err) }()
	return g.filter(key, value)
}

// note sets *err to a PanicError if the recovered value v is not nil.
func (g *guard) note(what string, key []byte, v any, err *error) {
	if v == nil {
		return
	}
	p := &base.PanicError{Code: "the " + what + " of " + g.of, Key: bytes.Clone(key), Value: v, Stack: debug.Stack()}
	if *err = p; g.first == nil {
		g.first = p
	}
}
