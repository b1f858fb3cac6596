// Package readstate holds what reads look at: States, each of which has all that a read
// needs, and the handles of the files that they name.
//
//	Store.state ──> State ──┬─> active generation      memtable + log
//	                        ├─> immutable generations  newest first
//	                        └─> view ──> version       trees of levels of runs of Tables
//
// A read pins the current State by one pointer load, and finds everything in it,
// newest first: a Query for one key, run iterators for scans. States are replaced, by
// Rotate, Install and LetReads, and never changed.
//
// # Invariants
//
//  1. Everything a read needs hangs from one immutable State. A file is removed, and a
//     memtable freed, only when no State names it (I3).
//  2. A State that point reads use is counted in one of several counters; a reader
//     counts only after it has seen that its State is current. So a State that was
//     replaced gains no reader, and is quiet once each counter was seen at zero.
//  3. What lasts longer than a call keeps a State by a count apart, and does not hold
//     up what waits for point reads: indexes and filters that leave memory.
//  4. The visible sequence is read after the State is pinned: what the State does not
//     have any more was shadowed when it was made.
//  5. A snapshot that was open when a compaction filter took effect goes on reading the
//     State before that.
//
// # Locks, in the order they are taken
//
//	Store.mu          changes of the State, and files; never held over I/O
//	Snapshots.mu      open snapshots
//	quietStates.mu    States that point reads may use
//
// A point read takes none of them.
package readstate
