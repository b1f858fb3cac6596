// Package dbiter is the single iterator under every kind of scan. An Iter merges the
// memtables and the runs of one keyspace in a readstate.State, and the writes of an open
// transaction, and shows of each key what its newest visible entry means: a value,
// nothing, or operands put together with what they lie on.
//
//	options.go   what an Iter may be asked for
//	iter.go      the moves of an Iter
//	show.go      a move shows the live key that the cursor comes to, or none
//	operands.go  one value of operands and what they lie on
//	folded.go    what many operands came to, for later reads
//	value.go     what an Iter shows beside the key
//	track.go     how far an Iter of a serializable transaction went
//
// Below it lies the cursor, which knows nothing of what is shown:
//
//	cursor.go    from entries to live keys, and to what is under an operand
//	sources.go   what a cursor reads
//	meaning.go   what an entry says of its key
//	ranges.go    range tombstones, and jumps over what they delete
//	hints.go     runs of dead keys that one cursor leaves for the next to jump over
//
// # Invariants
//
//  1. An Iter shows each live key of one moment once, in order, whatever is committed,
//     flushed or compacted beside it.
//  2. What it shows is valid until its next move, and what it pins until Close.
//  3. An Iter leaves a hint about dead keys only where no newer entry can get below it:
//     see hints.go.
package dbiter
