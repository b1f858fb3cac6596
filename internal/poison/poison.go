// Package poison remembers why a database takes no more writes. After an error that leaves
// open what is durable, an engine that went on could acknowledge what it cannot keep (I9): it
// stays read-only until it is opened again, and every refusal names the first cause.
package poison

import (
	"fmt"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Latch holds the first cause. The zero value is a healthy database. It is safe for
// concurrent use.
type Latch struct{ cause atomic.Pointer[error] }

// Set notes a cause, and reports whether it is the first. The outcome of one commit may be
// unknown by it; those refused from then on are not, and so the cause loses ErrCommitUnknown.
func (l *Latch) Set(cause error) (first bool) {
	cause = base.Lasting(cause)
	return l.cause.CompareAndSwap(nil, &cause)
}

// Cause returns the first cause, or nil.
func (l *Latch) Cause() error {
	if c := l.cause.Load(); c != nil {
		return *c
	}
	return nil
}

// Refusal is the error of a call that came too late: the database is read-only or, if it is
// not poisoned, closed.
func (l *Latch) Refusal() error {
	if c := l.Cause(); c != nil {
		return fmt.Errorf("%w until it is reopened: %w", base.ErrReadOnly, c)
	}
	return base.ErrClosed
}
