// Package seerdb is an embedded, ordered, persistent key-value store: a
// log-structured merge tree with learned indexes and key-value separation, in
// pure Go.
//
//	db, err := seerdb.Open("data", nil) // safe defaults; created if missing
//
// A [DB] maps byte-string keys, ordered bytewise, to byte-string values. Any
// number of goroutines may use one at once; one process at a time may have a
// directory open. Beside single reads and writes there are:
//
//   - [Rows] and [Iter]: ranges of keys in order, from [DB.Range], [DB.Prefix] and
//     [DB.NewIter]
//   - [Batch]: writes that are applied together
//   - [Snapshot]: reads at one moment
//   - [Txn]: a serializable transaction, best by [DB.Update]
//   - [Keyspace]: trees of keys beside the default one, with options of their own;
//     the methods named In of a Batch, a Snapshot and a Txn lead to them
//
// Functions that read or write whatever can be read or written take a [Reader] or a
// [Writer]. Package typed makes views with keys and values of Go types, package merger
// has merge operators, package observe describes metrics, health and events.
//
// By default a write has reached the device when it returns. The weaker modes,
// and what each of them can lose and when, are in docs/GUARANTEES.md; how the
// engine works is in docs/ARCHITECTURE.md.
package seerdb
