// Package txn decides whether an optimistic transaction may commit. It knows
// sequences, keys and ranges of keys; it knows no files, versions or locks: all
// methods of Tracker are called under the mutex of the commit pipeline, in
// whose order sequences are assigned.
//
// # Terms
//
//   - snapshot: the sequence that a transaction reads at; everything up to it
//     was visible when the transaction began.
//   - set: the keys and ranges that a transaction depends on: what it read
//     (serializable), or what it writes and asked for with the intent to
//     write (snapshot isolation). It includes absent keys, and ranges extend
//     as far as an iterator really went, so phantoms are seen.
//   - record: the last sequence at which a key, or a span of keys in a range
//     delete, was written since some open transaction began.
//   - floor: the records have every commit after it. A transaction with an
//     older snapshot has lost its history.
//
// # Why this is serializable
//
// It is backward validation with a serial validation phase (Kung and Robinson,
// On Optimistic Methods for Concurrency Control, TODS 1981, algorithm 5 with
// the write phase replaced by sequences). Transactions are serial in the order
// of their sequences:
//
//  1. A transaction T reads the state at its snapshot S, plus its own writes.
//  2. Under the mutex, and in the same critical section in which T gets its
//     sequence C, no commit in (S, C) is found to touch T's set. Plain writes
//     are commits like others.
//  3. So the states at S and at C-1 agree on all that T read, absence
//     included; T does what it would have done alone between C-1 and C.
//  4. By induction over the sequences the history equals the serial one.
//  5. A transaction that wrote nothing is serial at S: it saw exactly the
//     commits up to S. It is never validated and never fails.
//
// It is strict: a commit that returned before T began is visible, hence at or
// below S, hence before T. The order agrees with real time, which is also why
// no reader sees the anomaly of Fekete, O'Neil and O'Neil (2004).
//
// Expiry is not a write: the time of a transaction is fixed with its snapshot.
// A put and the single delete that undoes it are two writes, though the state
// is what it was: snapshot isolation asks for writers, and the tree keeps the
// second.
//
// # Snapshot isolation
//
// Only the written keys are validated: of two transactions that overlap and
// write the same key the first to commit wins. Each may still read what the
// other overwrites (two antidependencies in a row, Cahill, Röhm and Fekete,
// SIGMOD 2008), which is write skew. Serializable isolation allows no
// antidependency to an earlier commit. That fails some transactions that a
// search for the dangerous structure would spare; in return nothing is kept of
// what a finished transaction read.
//
// # History that was dropped
//
// Records take bounded memory. When they exceed it the oldest are dropped and
// the floor rises. A transaction that lost its history does not fail for that:
// Validate returns NeedTree, and the caller asks the tree, outside the mutex,
// what happened up to the sequence of that moment; the tree keeps every version
// newer than the snapshot of an open transaction. From that moment on the
// transaction is watched: each new commit is compared with its set. So one
// round always suffices, however slow the tree and however fast the commits.
// With x sealed, the caller does:
//
//	lock
//	a := tracker.Validate(x, last)          // last: the last sequence given
//	for a.Verdict != txn.Valid {
//		if a.Verdict == txn.Conflict and a.Upto is visible: a conflict
//		unlock; wait until a.Upto is visible, or failed
//		if a.Verdict == txn.NeedTree {
//			newer, err := x.CheckTree(tree) // newer: a conflict
//		}
//		lock; a = tracker.Validate(x, last)
//	}
//	tracker.End(x)                          // before its own commit is recorded
//	give sequences, tracker.Record(batch)   // if a.Verdict is Valid
//	unlock
//
// A commit that fails for good after it was recorded is removed again (Retract)
// before later commits become visible: it causes no conflicts.
//
// A caller that releases the mutex between Validate and the sequence (to wait
// for room, say) validates again. Waiting for Upto costs little: a commit
// becomes visible after those before it anyway.
package txn
