package seerdb

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/private"
)

// The errors that callers can test for with errors.Is.
var (
	// ErrNotFound means that the key has no value.
	ErrNotFound = base.ErrNotFound
	// ErrClosed means that the database, snapshot or iterator is closed.
	ErrClosed = base.ErrClosed
	// ErrReadOnly means that the database accepts no commits: it was opened with
	// Options.ReadOnly, or a failure, which the error wraps, made it read-only. Reads work.
	ErrReadOnly = base.ErrReadOnly
	// ErrNoSpace means that the disk is full. Nothing was committed. Reads work, and
	// commits work again, without reopening, once there is space.
	ErrNoSpace = base.ErrNoSpace
	// ErrLocked means that another DB, in this process or another, has the directory open.
	// Only DBs that are all opened with Options.ReadOnly can share a directory.
	ErrLocked = base.ErrLocked
	// ErrCommitUnknown means that the log failed while the commit was being made durable.
	// The commit is not visible now; after reopening, all of it is there or none.
	ErrCommitUnknown = base.ErrCommitUnknown
	// ErrKeyTooLarge means that the key is longer than MaxKeySize.
	ErrKeyTooLarge = base.ErrKeyTooLarge
	// ErrValueTooLarge means that the value is longer than MaxValueSize.
	ErrValueTooLarge = base.ErrValueTooLarge
	// ErrBatchTooLarge means that the batch would exceed 2 GiB encoded, or the capacity of
	// a memtable: 32 GiB, or 512 MiB where an int has 32 bits, for keys, values and some 90
	// bytes an operation. Nothing was committed; commit the operations in parts.
	ErrBatchTooLarge = base.ErrBatchTooLarge
	// ErrConflict means that a commit made after the transaction began touched data that
	// the transaction depends on. Nothing was applied; a new transaction may succeed.
	ErrConflict = base.ErrConflict
	// ErrTxnDone means that the transaction has already been committed or rolled back.
	ErrTxnDone = base.ErrTxnDone
	// ErrLeaked means that iterators, snapshots or transactions were still open when the
	// database was closed. Close did everything else that it promises. errors.As gives the
	// *LeakError, which names where they were made.
	ErrLeaked = base.ErrLeaked
	// ErrInCallback means that a callback called a method that would wait for the caller of
	// that callback: a merge operator or a compaction filter for its background job, or the
	// rows, Expires or Progress of a BulkLoad for that load. See docs/GUARANTEES.md,
	// section 12.
	ErrInCallback = base.ErrInCallback
	// ErrTxnTooLarge means that the transaction has read or written more than its share of
	// the memory budget. It can still be rolled back.
	ErrTxnTooLarge = base.ErrTxnTooLarge
	// ErrNoKeyspace means that no keyspace has that name, or that the keyspace was dropped.
	ErrNoKeyspace = base.ErrNoKeyspace
	// ErrKeyOrder means that the keys of a BulkLoad are not in strictly ascending order.
	ErrKeyOrder = base.ErrKeyOrder
	// ErrCorruption means that bytes on disk are not what was written. errors.As gives the
	// *CorruptionError, which says where.
	ErrCorruption = base.ErrCorruption
	// ErrFormatTooNew means that a newer version of seerdb wrote the database.
	ErrFormatTooNew = base.ErrFormatTooNew
	// ErrInvalidOptions means that an option or an argument is invalid; the message names
	// it.
	ErrInvalidOptions = base.ErrInvalidOptions
	// ErrNotExist means that there is no database and Options.ErrorIfMissing is set.
	ErrNotExist = base.ErrNotExist
	// ErrExists means that there is a database and Options.ErrorIfExists is set.
	ErrExists = base.ErrExists
)

const (
	// MaxKeySize is the length of the longest key: 64 KiB. A key may be empty.
	MaxKeySize = base.MaxKeySize
	// MaxValueSize is the length of the longest value: 1 GiB. A value may be empty.
	MaxValueSize = base.MaxValueSize
)

// CorruptionError describes damage: which file, where in it, and which keys may be
// affected. errors.Is(err, ErrCorruption) is true for it.
//
// Use errors.As or errors.AsType to find it in the errors that methods, iterators and Close
// return, in Report.Damage, in events and in log records:
//
//	if c, ok := errors.AsType[*seerdb.CorruptionError](err); ok {
//		log.Printf("restore %s: %s", c.File, c.Detail)
//	}
//
// A type assertion does not find it, even if nothing wraps it. It belongs to the error in
// which it was found, and must not be modified.
type CorruptionError struct {
	File   string // name inside the database directory
	Offset int64  // start of the damaged part; -1 means the whole file
	Detail string // what was expected and what was found instead
	Err    error  // underlying error, or nil
	Lo, Hi []byte // range of user keys that may be affected, both included; nil when not known
}

// Error returns a sentence with all fields.
func (e *CorruptionError) Error() string { return (*base.CorruptionError)(e).Error() }

// Unwrap returns Err.
func (e *CorruptionError) Unwrap() error { return (*base.CorruptionError)(e).Unwrap() }

// Is makes errors.Is(err, ErrCorruption) true.
func (e *CorruptionError) Is(target error) bool { return (*base.CorruptionError)(e).Is(target) }

// LeakError describes the iterators, snapshots and transactions that were still open when
// the database was closed. errors.Is(err, ErrLeaked) is true for it. Find it in the error
// of DB.Close as described at CorruptionError.
type LeakError struct {
	Open   int      // how many
	Places []string // where the program made them, one sentence per place
}

// Error returns a sentence with all fields.
func (e *LeakError) Error() string { return (*base.LeakError)(e).Error() }

// Is makes errors.Is(err, ErrLeaked) true.
func (e *LeakError) Is(target error) bool { return (*base.LeakError)(e).Is(target) }

// PanicError reports a panic of the program's code that the database recovered from: a
// merge operator or a compaction filter in a background job, a listener, or the handler of
// a logger. Find it, as described at CorruptionError, in events and in log records, and in
// the errors of calls that fail because of such a job: a Flush that waited for the job, a
// commit that the database refuses because of it.
type PanicError struct {
	Code  string // the code that panicked, as in "the merge operator of keyspace ..."
	Key   []byte // the key that it was called for, or nil
	Value any    // the argument of panic
	Stack []byte // of the goroutine that panicked, as debug.Stack returns it
}

// Error returns a sentence with all fields but Stack.
func (e *PanicError) Error() string { return (*base.PanicError)(e).Error() }

// Unwrap returns Value if that is an error, or else nil.
func (e *PanicError) Unwrap() error { return (*base.PanicError)(e).Unwrap() }

// The types above have the same fields as those of package base, which the engine returns:
// otherwise the conversions would not compile. So errors.As returns the same memory, and
// the methods are those of package base.
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

// set stores v where target points to, if target is a *T, and reports whether it is.
func set[T any](target any, v T) bool {
	to, ok := target.(*T)
	if ok {
		*to = v
	}
	return ok
}
