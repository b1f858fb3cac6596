// Package dbiter is the single iterator under every kind of scan. An Iter merges the
// memtables and the runs of one keyspace in a readstate.State, and the writes of an open
// transaction. For each key it shows what the newest visible entry means: a value,
// nothing, or operands merged with the value below them.
//
//	options.go   the options of an Iter
//	iter.go      the moves of an Iter
//	show.go      shows the live key that the cursor finds
//	operands.go  merges operands and the value below them
//	folded.go    keeps the results of long merges for later reads
//	value.go     value and expiry of the current key
//	track.go     records the key ranges that a serializable transaction reads
//
// Below it is the cursor, which does not know what the Iter shows:
//
//	cursor.go    moves from entry to entry to live keys, and to the entries below an operand
//	sources.go   the memtables, runs and own writes that a cursor merges
//	meaning.go   classifies entries
//	ranges.go    range tombstones, and jumps over the entries they delete
//	hints.go     hints about runs of dead keys, over which later cursors jump
//
// # Invariants
//
//  1. An Iter shows each live key of one moment once, in order, whatever is committed,
//     flushed or compacted beside it.
//  2. The key and value it shows are valid until its next move, its pins until Close.
//  3. An Iter leaves a hint about dead keys only if no newer entry can get below the hint:
//     see hints.go.
package dbiter
