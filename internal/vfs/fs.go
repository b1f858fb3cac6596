// Package vfs is the engine's file system. All I/O of a database goes through
// an FS, so every promise about crashes and errors can be tested: besides the
// operating system's there is an in-memory file system that knows what would
// survive a power cut (memfs), and a wrapper that injects faults (faultfs);
// only tests import those. There is no writable memory mapping: a store to a
// mapped page cannot report a full disk.
//
// Callers rely on these ordering rules, and the implementations follow them:
//
//   - File.Sync makes the file's bytes and size durable, not its name.
//   - Dir.Sync makes the creations, renames and removals in that directory
//     durable.
//   - Nothing else makes anything durable.
package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// FS is a file system. Methods are safe for concurrent use. Errors satisfy
// errors.Is for fs.ErrNotExist, fs.ErrExist and the syscall errnos.
type FS interface {
	// Create makes a new file for appending and reading, with mode 0600. It
	// fails with fs.ErrExist if the name is taken.
	Create(name string) (File, error)
	// Open opens an existing regular file for reading. It does not follow a
	// symbolic link and does not hang on a FIFO; both are errors.
	Open(name string) (File, error)
	// OpenDir opens a directory, to sync it.
	OpenDir(name string) (Dir, error)
	// OpenRoot opens a directory as a file system of its own. The name may be a
	// symbolic link, since users choose where a database is.
	OpenRoot(name string) (Root, error)
	// Rename replaces newName atomically.
	Rename(oldName, newName string) error
	// Remove removes a file, or an empty directory.
	Remove(name string) error
	// MkdirAll makes a directory and its parents, with mode 0700.
	MkdirAll(name string) error
	// List returns the names in a directory, sorted, without "." and "..".
	List(dir string) ([]string, error)
	// Stat describes a file without following a symbolic link.
	Stat(name string) (fs.FileInfo, error)
	// Usage returns the bytes free to this user and the size of the file system
	// of a directory.
	Usage(dir string) (free, total uint64, err error)
	// PathJoin joins path elements with this file system's separator.
	PathJoin(elem ...string) string
}

// Top names the directory itself in its Root.
const Top = ""

// Root is an open directory as a file system: names are relative to it and
// cannot lead out of it; "" is the directory itself. A Root keeps working in
// the directory that was opened, even if that is moved, another takes its name,
// or the working directory changes. After Close all calls fail with
// fs.ErrClosed; open files stay open.
//
// A type that wraps an FS must wrap its Roots too, or it does not see what is
// done through them.
type Root interface {
	FS
	// Lock takes the exclusive lock of the directory, whose lock file is name
	// (created if missing). While any other lock is held, in this process or
	// another, through any path, it fails with base.ErrLocked.
	Lock(name string) (io.Closer, error)
	// LockShared takes a lock that excludes Lock and not LockShared. It changes
	// nothing in the directory: without a lock file it uses the other locks,
	// and where nothing can be locked it succeeds.
	LockShared(name string) (io.Closer, error)
	// Close closes the directory. It is idempotent.
	Close() error
}

// File is an open file. ReadAt and Sync may be called concurrently with any
// method; the other methods by one goroutine at a time.
type File interface {
	io.ReaderAt
	// Write appends. It loops over short writes and EINTR; when it returns an
	// error, n bytes were appended.
	io.Writer
	// Sync makes the bytes and the size durable (fdatasync where it exists).
	// After an error nothing is known about what is durable, and a later Sync
	// proves nothing (Rebello et al., "Can Applications Recover from fsync
	// Failures?", ATC 2020): callers never retry it.
	Sync() error
	// Truncate cuts the file to size, which must not exceed its length.
	Truncate(size int64) error
	// Preallocate reserves room up to size bytes without changing the length.
	// It is a hint where the system cannot do it.
	Preallocate(size int64) error
	// Size returns the current length.
	Size() (int64, error)
	Close() error
}

// Dir is an open directory.
type Dir interface {
	// Sync makes the directory's entries durable.
	Sync() error
	Close() error
}

// ErrNotRegular is Open's error for anything but a regular file.
var ErrNotRegular = errors.New("not a regular file")

// PathError returns err with the operation and the name, or nil if it is nil.
func PathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
