package seerdb

import "github.com/seerdb-go/seerdb/internal/base"

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
	// ErrLeaked: Close did all that it promises, so what was committed is
	// durable, but iterators, snapshots or transactions were still open, and
	// answer ErrClosed from then on. errors.As gives the *LeakError that says
	// where they were made.
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
	// MaxKeySize is the largest key, in bytes. The empty key is a key.
	MaxKeySize = base.MaxKeySize
	// MaxValueSize is the largest value, in bytes. The empty value is a value.
	MaxValueSize = base.MaxValueSize
)
