// Package dbiter is the single iterator under every kind of scan. An Iter merges the
// memtables and the runs of one keyspace in a readstate.State, and the writes of an open
// transaction, and shows of each key what its newest visible entry means: a value,
// nothing, or operands put together with what they lie on.
//
//	iter.go    what an Iter reads, and its moves
//	show.go    from entries to keys: versions, tombstones, operands
//	value.go   what it shows beside the key
//	ranges.go  range tombstones, and jumps over what they delete
//	hints.go   runs of dead keys that one Iter leaves for the next to jump over
//	folded.go  what many operands came to, for later reads
//	track.go   how far an Iter of a serializable transaction went
//
// # Invariants
//
//  1. An Iter shows each live key of one moment once, in order, whatever is committed,
//     flushed or compacted beside it.
//  2. What it shows is valid until its next move, and what it pins until Close.
//  3. An Iter leaves a hint about dead keys only where no newer entry can get below it:
//     see hints.go.
package dbiter
