package engine

import (
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// What the public package needs of the rooms behind this one.
type (
	// Iter is an iterator over a keyspace.
	Iter = dbiter.Iter
	// IterOptions restrict an iterator.
	IterOptions = dbiter.Options
	// CallSite is a place in a program.
	CallSite = pins.CallSite
	// RangeEstimate is what lies in a range of keys, about.
	RangeEstimate = readstate.RangeEstimate
)

var (
	// Newest is the moment at which a read begins.
	Newest = readstate.Newest
	// Caller is pins.Caller, without a call between.
	Caller = pins.Caller
)

const (
	// DefaultDeadMin is dbiter.DefaultDeadMin.
	DefaultDeadMin = dbiter.DefaultDeadMin
	// DefaultFoldFrom is dbiter.DefaultFoldFrom.
	DefaultFoldFrom = dbiter.DefaultFoldFrom
)
