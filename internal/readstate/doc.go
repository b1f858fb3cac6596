// Package readstate holds the data that reads use: States, each with everything
// a read needs, and the handles of the files that they name.
//
//	Store.state ──> State ──┬─> active generation      memtable + log
//	                        ├─> immutable generations  newest first
//	                        └─> view ──> version       trees of levels of runs of Tables
//
// A read pins the current State by one pointer load, and finds everything in
// it, newest first: a Query for one key, run iterators for scans. States are
// never changed: Rotate, Install and LetReads replace the current one.
//
// # Invariants
//
//  1. Everything a read needs hangs from one immutable State. A file is removed,
//     and a memtable freed, only when no State names it (I3).
//  2. A point read counts itself in one of several counters of its State, and
//     only after it has seen that the State is current. So a replaced State
//     gains no reader, and is quiet once each counter was seen at zero.
//  3. Iterators, jobs and snapshots keep a State by a separate count. They do
//     not delay what waits for point reads only: freeing indexes and filters.
//  4. The visible sequence is read after the State is pinned: what the State no
//     longer has was shadowed when it was made.
//  5. A snapshot that is open when a compaction filter takes effect goes on
//     reading the State before that.
//
// # Locks, in the order they are taken
//
//	Store.mu          changes of the State, and files; never held over I/O
//	Snapshots.mu      open snapshots
//	quietStates.mu    States that point reads may use
//
// A point read takes none of them.
package readstate
