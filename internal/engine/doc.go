// Package engine joins the parts into a database: the state that readers see
// (package readstate), commits (commit), keyspaces (keyspace), the manifest
// (versions) and the workers (jobs). It is the only package that knows all the
// others. It implements opening, recovery, closing, transactions and snapshots itself.
//
// # Invariants
//
// They are cited by number in code and tests.
//
//	I1  Log order is sequence order; a batch is one log record.
//	I2  The visible sequence never passes the last applied one; it only grows,
//	    and only over wholly applied batches.
//	I3  Everything a read needs hangs from one immutable state reached by one
//	    pointer load; a file is removed only when no state names it.
//	I4  Order of durability: values, then table, then directory, then manifest
//	    edit. An edit takes effect when it is synced.
//	I5  In levels >= 1 the files of one run are disjoint and sorted.
//	I6  Of two versions of a key the newer lies strictly nearer the memtable,
//	    or earlier in the same file.
//	I7  A version is dropped only if a newer one is visible to every live
//	    snapshot; a tombstone only if also nothing deeper overlaps it.
//	I8  A model's window holds the position of every key it was trained on;
//	    for any other key, the lower bound. A bad model is slow, never wrong.
//	I9  After a failed log or manifest write or sync the engine is poisoned:
//	    reads go on, writes return that error.
//	I10 A value file is immutable, and named by the manifest for as long as
//	    any table points into it; its garbage is known exactly.
//	I11 Recovery never destroys its source: a log is removed only after its
//	    content is durable elsewhere.
//	I12 Sequences, file numbers and format versions are distinct types, all
//	    recovered at open.
//
// # Locks, in the order they are taken
//
//	jobs.Jobs.flushMu       held by a flush, and by an ingestion from its place to its end
//	versions.Set.Lock       one edit of the manifest at a time, disk I/O included
//	keyspace.Set.leaving    keyspaces that a commit drops, until the commit is visible
//	engine.droppedSpaces.mu dropped keyspaces, for older transactions
//	commit.Pipeline.mu      the lock of commits: sequence, active generation, queue
//	jobs.flushRequests.mu   requests to flush
//	jobs.Jobs.mu            running jobs and their inputs; never held over I/O
//	readstate.Store.mu      and what package readstate takes below it
//
// Under jobs.failures.mu, work.Group.mu and reserve.Reserve.mu none of these is taken.
//
// Readers take none of them. The engine calls code of the program with none of them
// held: events and log records go through the outbox, the clock and the names of
// merge operators are read before, and contexts are wrapped in the engine's own.
package engine
