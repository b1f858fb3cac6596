package seerdb

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/private"
)

// The errors that a caller may want to tell apart, with errors.Is.
var (
	// ErrNotFound: the key has no value.
	ErrNotFound = base.ErrNotFound
	// ErrClosed: the database, snapshot or iterator is closed.
	ErrClosed = base.ErrClosed
	// ErrReadOnly: the database takes no commits, because it was opened so or
	// because of a failure that it wraps. Reads work.
	ErrReadOnly = base.ErrReadOnly
	// ErrNoSpace: the disk is full. Nothing was committed; reads work; commits
	// work again by themselves when there is space.
	ErrNoSpace = base.ErrNoSpace
	// ErrLocked: another DB, in this process or another, has the directory. Only
	// those that are all opened ReadOnly share it.
	ErrLocked = base.ErrLocked
	// ErrCommitUnknown: the log failed while the commit was being made
	// durable. It is not visible now; after reopening it is wholly there or
	// wholly absent.
	ErrCommitUnknown = base.ErrCommitUnknown
	// ErrKeyTooLarge: the key is longer than MaxKeySize.
	ErrKeyTooLarge = base.ErrKeyTooLarge
	// ErrValueTooLarge: the value is longer than MaxValueSize.
	ErrValueTooLarge = base.ErrValueTooLarge
	// ErrBatchTooLarge: the batch would exceed 2 GiB encoded, or what a memtable
	// can hold: 32 GiB, and 512 MiB where an int has 32 bits, for keys, values and
	// some 90 bytes an operation. Nothing was committed; commit it in parts.
	ErrBatchTooLarge = base.ErrBatchTooLarge
	// ErrConflict: a commit since the transaction began touched what it
	// depends on. Nothing was applied; a new transaction may succeed.
	ErrConflict = base.ErrConflict
	// ErrTxnDone: the transaction was committed or rolled back before.
	ErrTxnDone = base.ErrTxnDone
	// ErrLeaked: iterators, snapshots or transactions were still open when the
	// database was closed; Close did all that it promises. errors.As gives the
	// *LeakError that says where they were made.
	ErrLeaked = base.ErrLeaked
	// ErrInCallback: a merge operator or a filter that a background job called,
	// or the rows, Expires or Progress of a BulkLoad, called what would wait for
	// that job or load. See docs/GUARANTEES.md, section 12.
	ErrInCallback = base.ErrInCallback
	// ErrTxnTooLarge: the transaction has read or written more than its share
	// of the memory budget. It can still be rolled back.
	ErrTxnTooLarge = base.ErrTxnTooLarge
	// ErrNoKeyspace: there is no keyspace of that name, or it was dropped.
	ErrNoKeyspace = base.ErrNoKeyspace
	// ErrKeyOrder: the rows of a BulkLoad are not in strictly ascending order.
	ErrKeyOrder = base.ErrKeyOrder
	// ErrCorruption: bytes on disk are not what was written. errors.As gives
	// the *CorruptionError that says where.
	ErrCorruption = base.ErrCorruption
	// ErrFormatTooNew: a newer version of seerdb wrote the database.
	ErrFormatTooNew = base.ErrFormatTooNew
	// ErrInvalidOptions: an option, or an argument, makes no sense; the
	// message names it.
	ErrInvalidOptions = base.ErrInvalidOptions
	// ErrNotExist: there is no database, and Options.ErrorIfMissing is set.
	ErrNotExist = base.ErrNotExist
	// ErrExists: there is a database, and Options.ErrorIfExists is set.
	ErrExists = base.ErrExists
)

const (
	// MaxKeySize is the largest key: 64 KiB. The empty key is a key.
	MaxKeySize = base.MaxKeySize
	// MaxValueSize is the largest value: 1 GiB. The empty value is a value.
	MaxValueSize = base.MaxValueSize
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
		switch e := err.(type) {
		case *base.CorruptionError:
			return set(target, (*CorruptionError)(e))
		case *base.LeakError:
			return set(target, (*LeakError)(e))
		case *base.PanicError:
			return set(target, (*PanicError)(e))
		}
		return false
	}
}

// set sets what target points to, if that is a T.
func set[T any](target any, v T) bool {
	to, ok := target.(*T)
	if ok {
		*to = v
	}
	return ok
}
