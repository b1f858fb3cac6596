// Package private lets packages of this module reach what package seerdb does
// not export and what they cannot import, because they are below it or beside
// it. When the program starts, seerdb puts functions here, before anything
// calls them, and nothing sets them again. In a program that does not link
// seerdb the initial functions stay, which do nothing.
//
// Arguments and results have types that this package cannot name. Each function
// documents them.
package private

// AsPublic converts an error of the engine to its public type. err is a
// *CorruptionError, *LeakError or *PanicError of package base, and target the
// argument of errors.As. If target points to a variable of the type of the same
// name in package seerdb, AsPublic sets the variable and returns true.
//
// The As methods of the three types call it, so errors.As finds the public type
// wherever it finds the internal one. The engine cannot return the public
// types, since package seerdb, which declares and documents them, is above it.
var AsPublic = func(err error, target any) bool { return false }

// KeyspaceOf returns the keyspace of a store: store is a Store of package
// seerdb, and the result a *Keyspace, nil for the default keyspace. Package
// typed calls it so that a typed store in a transaction, batch or snapshot
// stays in that keyspace, even if the program embeds the store in a type of its
// own.
var KeyspaceOf = func(store any) any { return nil }

// At, Into and In return a view of a Reader, a Writer or a *Txn of package
// seerdb in one keyspace, of the same type; k is a *Keyspace, nil for the
// default one. They return a view of one keyspace unchanged.
var (
	At   = func(r, k any) any { return r }
	Into = func(w, k any) any { return w }
	In   = func(t, k any) any { return t }
)

// SetTestOptions sets options that only tests of this module may set: o is an
// *Options of package seerdb, and to an engine.Options, whose public fields are
// set later.
var SetTestOptions = func(o, to any) {}
