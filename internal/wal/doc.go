// Package wal is the write-ahead log: the commits that are not yet in tables.
// Each generation of the memtable has a segment, which is one file. One Writer
// appends to a segment and syncs it in groups, Replay reads it once, and the
// engine removes it when a durable edit of the manifest has its generation's
// tables. Payloads are opaque to this package.
//
// # Terms
//
//   - LSN: the position in a segment's history where a record ends. LSNs grow
//     with every Append and are never reused. They are file offsets until a
//     record is dropped; see below.
//   - written: passed to the operating system; survives the process.
//   - synced: on the device; survives the machine.
//
// # Writing
//
// Append frames a record in memory and makes no system call. Flush and Sync
// wait until an LSN is written or synced. The first caller does the work for
// everything appended so far, and callers that arrive during that gather for
// the next round: while one buffer is being written the other one fills. Writes
// go on while a sync runs.
//
// # Errors (invariant I9)
//
// A full disk is not final: the writer truncates the file to its last whole
// record and drops the records after it; the committers that wait for those get
// the error, and the writer goes on. A dropped record never appears, not even
// after a crash: no byte sequence that contains it whole was ever passed to the
// system. Records of AppendRelaxed were acknowledged already and are not
// dropped; they stay in memory, at new file offsets, for the next attempt, and
// no Append is admitted before that has succeeded.
//
// After any other failed write, a failed truncation, and any failed sync,
// whatever its errno, the writer is poisoned: it writes and syncs nothing more,
// and every call returns the cause. Records that were passed to the system
// without being known to be durable have an unknown outcome; the others can
// never appear.
package wal
