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

// Callers knows the goroutines that run code of the program which a call of the
// engine may wait for. Made from such a goroutine, that call would wait for
// itself, and is refused with base.ErrInCallback.
type Callers struct{ m sync.Map } // goroutine number to calling

// calling says which calls would wait for a goroutine.
type calling uint8

const (
	// CallingRows and CallingJob are what a goroutine may be at.
	CallingRows calling = iota + 1 // rows of a load: Close waits for it
	CallingJob                     // a merge operator or filter of a job: flushes, compactions and stopped writers do too
)

// Enter notes that the goroutine calls the program, until leave is called.
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

// Refuse returns base.ErrInCallback for a call that would wait for at least so
// much and that the program makes in a callback.
func (c *Callers) Refuse(call string, least calling) error {
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
		panic(fmt.Sprintf("callback: a stack trace begins with %q", head))
	}
	return n
}

// guard is the merge operator and the filter of a keyspace, as a job asks them. A
// panic of theirs is the program's mistake and fails what was asked: operands
// then stay as they are, and a job that asks a filter ends with the error.
type guard struct {
	of     string // the keyspace, for messages
	merger base.Merger
	filter compaction.Filter
	first  *base.PanicError // the first panic
}

// NewGuard guards a merge operator and a filter, either of which may be nil. of says whose
// they are.
func NewGuard(of string, m base.Merger, f compaction.Filter) *guard {
	return &guard{of: of, merger: m, filter: f}
}

// Panicked is the first panic, or nil.
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

// Ask asks the filter about a value.
func (g *guard) Ask(key, value []byte) (v compaction.FilterVerdict, changed []byte, err error) {
	defer func() { g.note("compaction filter", key, recover(), &err) }()
	return g.filter(key, value)
}

// note makes an error of a panic with v, if that is not nil.
func (g *guard) note(what string, key []byte, v any, err *error) {
	if v == nil {
		return
	}
	p := &base.PanicError{Code: "the " + what + " of " + g.of, Key: bytes.Clone(key), Value: v, Stack: debug.Stack()}
	if *err = p; g.first == nil {
		g.first = p
	}
}
