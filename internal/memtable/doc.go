// Package memtable is the part of the tree that is in memory: one Memtable
// holds all versions of the entries committed to all keyspaces since the last
// switch, sorted, until a flush has made them durable. It knows nothing of
// logs.
//
// # Terms
//
//   - half: one ordered set of entries. The default keyspace has a half to
//     itself; the others share the second, where each key has its keyspace's
//     number as a prefix.
//   - record: a distinct user key, with its first version inline. Records are
//     never removed or moved.
//   - version: one entry of that key. The versions of a key are a chain from
//     the newest to the oldest, with jump pointers.
//   - ref: an offset into the arena, in units of 8 bytes. Zero is no ref.
//   - partition: a share of the keys chosen by hash. It has the lock under
//     which its keys are written, and the hash index that finds them.
//   - tree: the one ordered set of all records of a half.
//   - fence: a bound on the keys a tree node may hold, as a ref to a record.
//   - ranges: the range tombstones, in a set of their own (package rangedel).
//     They hide no entries here: a read looks at both.
//
// # Shape
//
//	Get, Add of a known key:  hash -> partition -> bucket -> record -> version
//	iterators, new keys:      tree -> leaf -> record -> version
//
// Gets and overwrites never touch the tree; iterators never merge partitions.
// The tree is a B+tree with nodes of three or four cache lines that hold the
// first distinguishing 8 bytes of each key, so a search seldom leaves the
// nodes. A skiplist was the first plan. Its searches miss the cache two or
// three times as often, each step of a walk waits for the memory of the one
// before, and to let writers run side by side it must be split by hash, which
// makes every new iterator seek in each part and every step merge them.
//
// # Invariants
//
//  1. Readers take no lock and never wait. A writer publishes everything with
//     one atomic store after the bytes it leads to. (Len and Estimate, which are
//     not reads, take locks for a moment.)
//  2. A record or version that can be reached is immutable except for its one
//     chain link.
//  3. A key is written by one goroutine at a time (its partition's lock), a
//     leaf by one at a time (its lock bit), inner nodes by one at a time (the
//     tree's lock). Order of locking: partition, leaf, tree.
//  4. The bytes an entry takes from the arena are at most EntryBound, averaged
//     over the life of the memtable; so what Reserve granted always fits.
//  5. Along a chain, trailers strictly descend; also along its jump pointers.
//
// Everything except the ranges is in one region outside the Go heap. Numbers in
// it are in the machine's byte order: none of it is ever written to a file.
package memtable
