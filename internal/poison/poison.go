// Package poison keeps the reason why a database accepts no more writes. If an error leaves
// open what is durable, an engine that continued could acknowledge commits that it cannot
// keep (I9). So the database stays read-only until it is reopened, and every refusal names
// the first cause.
package poison

import (
	"fmt"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Latch holds the first cause. The zero value means a healthy database. It is safe for
// concurrent use.
type Latch struct{ cause atomic.Pointer[error] }

// Set sets the cause, unless there is one, and reports whether it did. The cause loses
// ErrCommitUnknown: that may be true of the commit that failed, but commits refused
// afterwards have a known outcome.
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

// Refusal returns the error for calls that come too late: the database is read-only or, if
// it is not poisoned, closed.
func (l *Latch) Refusal() error {
	if c := l.Cause(); c != nil {
		return fmt.Errorf("%w until it is reopened: %w", base.ErrReadOnly, c)
	}
	return base.ErrClosed
}
