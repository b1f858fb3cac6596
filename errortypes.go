package seerdb

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/private"
)

// CorruptionError says which file is damaged, where, and which keys may be
// affected. errors.Is(err, ErrCorruption) holds for it.
//
// It is to be found with errors.As or errors.AsType, in what methods, iterators and
// Close return, in Report.Damage, in events and in log records:
//
//	if c, ok := errors.AsType[*seerdb.CorruptionError](err); ok {
//		log.Printf("restore %s: %s", c.File, c.Detail)
//	}
//
// A type assertion does not find it, not even where nothing wraps it. It belongs to
// the error that it was found in, and must not be modified.
type CorruptionError struct {
	File   string // name inside the database directory
	Offset int64  // where the damaged piece begins; -1 when the whole file is meant
	Detail string // what was expected and what was found
	Err    error  // an underlying error, or nil
	Lo, Hi []byte // the user keys that may be affected, both included; nil when not known
}

// Error is a sentence with all of it.
func (e *CorruptionError) Error() string { return (*base.CorruptionError)(e).Error() }

// Unwrap gives the underlying error.
func (e *CorruptionError) Unwrap() error { return (*base.CorruptionError)(e).Unwrap() }

// Is makes errors.Is(err, ErrCorruption) true.
func (e *CorruptionError) Is(target error) bool { return (*base.CorruptionError)(e).Is(target) }

// LeakError says what was still open when the database was closed: iterators,
// snapshots and transactions. errors.Is(err, ErrLeaked) holds for it. It is to be
// found as a CorruptionError is, in what DB.Close returns.
type LeakError struct {
	Open   int      // how many
	Places []string // where in the program they were made, one sentence a place
}

// Error is a sentence with all of it.
func (e *LeakError) Error() string { return (*base.LeakError)(e).Error() }

// Is makes errors.Is(err, ErrLeaked) true.
func (e *LeakError) Is(target error) bool { return (*base.LeakError)(e).Is(target) }

// PanicError reports a panic of the program's code that the database recovered
// from: of a merge operator or a filter in a background job, of a listener, of the
// handler of a logger. It is to be found as a CorruptionError is, in events and in
// log records, and in what a call returns that such a job made fail: a Flush that
// waited for it, a commit that is refused because of it.
type PanicError struct {
	Code  string // whose code it was, as in "the merge operator of keyspace ..."
	Key   []byte // about which it was asked; nil where it is about none
	Value any    // what it panicked with
	Stack []byte // of the goroutine that panicked, as debug.Stack writes it
}

// Error is a sentence with all of it but the stack.
func (e *PanicError) Error() string { return (*base.PanicError)(e).Error() }

// Unwrap gives the error that the code panicked with, if it was one.
func (e *PanicError) Unwrap() error { return (*base.PanicError)(e).Unwrap() }

// The types above have the fields of those of package base, which the engine returns:
// the compiler refuses the conversions if not. So what errors.As gives is the same
// memory, and its methods are theirs.
func init() {
	private.AsPublic = func(err error, target any) bool {
		switch to := target.(type) {
		case **CorruptionError:
			if e, ok := err.(*base.CorruptionError); ok {
				*to = (*CorruptionError)(e)
				return true
			}
		case **LeakError:
			if e, ok := err.(*base.LeakError); ok {
				*to = (*LeakError)(e)
				return true
			}
		case **PanicError:
			if e, ok := err.(*base.PanicError); ok {
				*to = (*PanicError)(e)
				return true
			}
		}
		return false
	}
}
