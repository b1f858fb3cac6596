// Package wal is the log: the commits that are not yet in tables. There is one
// segment, a file, for each generation of the memtable. A segment is appended
// to by one Writer, synced in groups, read once by Replay, and removed by the
// engine when a durable manifest edit says that its generation is in tables. A
// payload means nothing to this package.
//
// # Terms
//
//   - LSN: the position in a segment's history where a record ends. LSNs grow
//     with every Append and are never used twice. They are file offsets until
//     a record is dropped; see below.
//   - written: handed to the operating system; outlives the process.
//   - synced: on the device; outlives the machine.
//
// # Writing
//
// Append frames a record into memory and makes no system call. Flush and Sync
// wait until an LSN is written or synced. The first to come does the work for
// everything appended so far, and those that come in that time gather for the next
// round: while one buffer is being written the other one fills. Writes go on
// while a sync runs.
//
// # Errors (invariant I9)
//
// A full disk is not the end: the file is cut back to its last whole record,
// the records behind it are dropped, the committers that wait for them get that error, and
// the writer goes on. A dropped record never appears, not even after a crash:
// no byte sequence that holds it whole was ever given to the system. Records of
// AppendRelaxed were acknowledged already and are not dropped; they stay in
// memory, at new file offsets, for the next attempt, and no Append is let in
// before that has worked.
//
// After any other failed write, a failed cut, and any failed sync, whatever its
// errno, the writer is poisoned: nothing is written or synced any more and
// every call returns the cause. Records that were handed over without being
// known to be durable have an unknown outcome; those that were not can never
// appear.
package wal
