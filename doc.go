// Package seerdb is an embedded, ordered, persistent key-value store: a
// log-structured merge tree with learned indexes and key-value separation, in
// pure Go.
//
//	db, err := seerdb.Open("data", nil) // safe defaults; created if missing
//
// A [DB] maps byte-string keys, ordered bytewise, to byte-string values. Any
// number of goroutines may use a DB concurrently; one process at a time may have
// a directory open. Besides single reads and writes there are:
//
//   - [Rows] and [Iter]: ranges of keys in order, from [DB.Range], [DB.Prefix] and
//     [DB.NewIter]
//   - [Batch]: writes that are applied together
//   - [Snapshot]: reads as of one moment
//   - [Txn]: a serializable transaction, usually run by [DB.Update]
//   - [Keyspace]: a tree of keys besides the default one, with options of its own;
//     the In methods of Batch, Snapshot and Txn select a keyspace
//
// Functions that accept any source of reads or target of writes take a [Reader] or
// a [Writer]. Package typed wraps them for keys and values of Go types, package
// merger has merge operators, package observe describes metrics, health and events.
//
// By default, a write returns once the device has it. docs/GUARANTEES.md describes
// the weaker modes and what each can lose and when; docs/ARCHITECTURE.md describes
// how the engine works.
package seerdb
