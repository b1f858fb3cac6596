package base

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seerdb-go/seerdb/internal/private"
)

// The sentinel errors of the public API. They are declared here so that every
// package can return them; the root package exports them and documents what
// each means to a caller.
var (
	ErrNotFound       = errors.New("seerdb: key not found")
	ErrClosed         = errors.New("seerdb: closed")
	ErrReadOnly       = errors.New("seerdb: database is read-only")
	ErrNoSpace        = errors.New("seerdb: no space left on device")
	ErrLocked         = errors.New("seerdb: database is locked by another user")
	ErrConflict       = errors.New("seerdb: conflict with a concurrent commit")
	ErrTxnTooLarge    = errors.New("seerdb: transaction is too large")
	ErrCommitUnknown  = errors.New("seerdb: outcome of the commit is unknown until the database is reopened")
	ErrKeyTooLarge    = errors.New("seerdb: key is too large")
	ErrValueTooLarge  = errors.New("seerdb: value is too large")
	ErrBatchTooLarge  = errors.New("seerdb: batch is too large")
	ErrCorruption     = errors.New("seerdb: corruption")
	ErrFormatTooNew   = errors.New("seerdb: database was written by a newer version")
	ErrInvalidOptions = errors.New("seerdb: invalid options")
	ErrNotExist       = errors.New("seerdb: database does not exist")
	ErrExists         = errors.New("seerdb: database already exists")
	ErrNoKeyspace     = errors.New("seerdb: no such keyspace")
	ErrKeyOrder       = errors.New("seerdb: keys are not in ascending order")
	ErrTxnDone        = errors.New("seerdb: transaction has already been committed or rolled back")
	ErrLeaked         = errors.New("seerdb: closed with objects open")
	ErrInCallback     = errors.New("seerdb: called from a callback that the call would wait for")
)

// Lasting returns err as the cause of a state that does not end by itself, such
// as a poisoned log. The result matches everything that err wraps except
// ErrNoSpace and ErrCommitUnknown: callers retry after those, and here a retry
// cannot help.
func Lasting(err error) error {
	if !errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrCommitUnknown) {
		return err
	}
	return lasting{err}
}

type lasting struct{ err error }

func (l lasting) Error() string { return l.err.Error() }

// Is makes errors.Is match all that err wraps but those two. The type has no
// Unwrap, by which errors.Is would find them.
func (l lasting) Is(target error) bool {
	return target != ErrNoSpace && target != ErrCommitUnknown && errors.Is(l.err, target)
}

// As makes errors.As search err.
func (l lasting) As(target any) bool { return errors.As(l.err, target) }

// CorruptionError reports bytes on disk that are not what the database wrote
// there. errors.Is(err, ErrCorruption) holds for it. CorruptionError, LeakError
// and PanicError have twins in the root package with the same fields, which are
// what users see.
type CorruptionError struct {
	File   string // name inside the database directory
	Offset int64  // where the damaged piece begins; -1 for the whole file
	Detail string // what was expected and what was found
	Err    error  // an underlying error, or nil
	Lo, Hi []byte // the user keys that may be affected, when known: [Lo, Hi]
}

// Corruptf returns a CorruptionError with a formatted Detail.
func Corruptf(file string, off int64, format string, args ...any) *CorruptionError {
	return &CorruptionError{File: file, Offset: off, Detail: fmt.Sprintf(format, args...)}
}

func (e *CorruptionError) Error() string {
	s := "seerdb: corruption in " + e.File
	if e.Offset >= 0 {
		s += fmt.Sprintf(" at offset %d", e.Offset)
	}
	s += ": " + e.Detail
	if e.Lo != nil || e.Hi != nil {
		s += fmt.Sprintf(" (keys %q to %q)", e.Lo, e.Hi)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the underlying error.
func (e *CorruptionError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrCorruption) true.
func (e *CorruptionError) Is(target error) bool { return target == ErrCorruption }

// As makes errors.As find the public twin of this type.
func (e *CorruptionError) As(target any) bool { return private.AsPublic(e, target) }

// LeakError reports iterators, snapshots and transactions that were open when
// the database was closed. errors.Is(err, ErrLeaked) holds for it.
type LeakError struct {
	Open   int      // how many
	Places []string // where they were opened, one entry for each place
}

func (e *LeakError) Error() string {
	return fmt.Sprintf("seerdb: closed with %d iterators, snapshots or transactions open, close them first (all that was acknowledged is durable): %s",
		e.Open, strings.Join(e.Places, "; "))
}

// PanicError reports a panic of the program's code that the database recovered
// from: of a merge operator or filter in a background job, of an event
// listener, or of a log handler.
type PanicError struct {
	Code  string // which code panicked: a merge operator, a listener, ...
	Key   []byte // the key it was called with, or nil
	Value any    // the value of the panic
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string {
	on := ""
	if e.Key != nil {
		on = fmt.Sprintf(" on key %.200q", e.Key)
	}
	return fmt.Sprintf("seerdb: %s panicked%s: %v", e.Code, on, e.Value)
}

// Unwrap returns the value of the panic if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// As makes errors.As find the public twin of this type.
func (e *PanicError) As(target any) bool { return private.AsPublic(e, target) }

// Is makes errors.Is(err, ErrLeaked) true.
func (e *LeakError) Is(target error) bool { return target == ErrLeaked }

// As makes errors.As find the public twin of this type.
func (e *LeakError) As(target any) bool { return private.AsPublic(e, target) }

// BadOption makes the error for an option that makes no sense. The message begins with the
// name that the option has in the root package.
func BadOption(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalidOptions}, args...)...)
}
