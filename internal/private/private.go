// Package private is how packages of this module reach what package seerdb neither
// exports nor can be asked for, since they are below it or beside it: functions that
// it puts here when the program starts, before anything calls them, and that nothing
// sets again. A program that does not link package seerdb has the functions that are
// here to begin with, which find nothing.
//
// What is passed through is of types that this package cannot name. Each function says
// which.
package private

// AsPublic makes an error that the engine returned one of the public type: err is a
// *CorruptionError, *LeakError or *PanicError of package base, and target what
// errors.As was given. If that points to a variable of the type of the same name in
// package seerdb, the variable is set, and the result is true.
//
// The methods As of the three types call it, so errors.As finds the public type
// wherever it finds theirs. The engine cannot return the public types themselves:
// package seerdb, which declares and documents them, is above it.
var AsPublic = func(err error, target any) bool { return false }

// KeyspaceOf tells which keyspace a store works on: store is a Store of package seerdb,
// and the result a *Keyspace of it, nil for the default keyspace. Package typed asks,
// so that what it makes of a store in a transaction, a batch or a snapshot stays in
// that keyspace, also where the program embeds the store in a type of its own.
var KeyspaceOf = func(store any) any { return nil }

// At, Into and In give what reads, writes or both in one keyspace of a Reader, a Writer
// or a *Txn of package seerdb, and are of that type again; k is a *Keyspace of it,
// nil for the default one. What is of one keyspace already they return as it is.
var (
	At   = func(r, k any) any { return r }
	Into = func(w, k any) any { return w }
	In   = func(t, k any) any { return t }
)

// SetTestOptions sets what only tests of this module may set: o is an *Options of
// package seerdb, and to an engine.Options, of which the public ones are set later.
var SetTestOptions = func(o, to any) {}
