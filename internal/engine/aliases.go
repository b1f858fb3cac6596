package engine

import (
	"github.com/seerdb-go/seerdb/internal/bulk"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// Types of lower packages that the public package uses.
type (
	// Iter is an iterator over a keyspace.
	Iter = dbiter.Iter
	// IterOptions restrict an iterator.
	IterOptions = dbiter.Options
	// KeyspaceChoice holds the options of one call that opens a keyspace.
	KeyspaceChoice = keyspace.Choice
	// LoadOptions configure a load, LoadProgress reports its progress, and LoadStats its
	// outcome.
	LoadOptions  = bulk.Options
	LoadProgress = bulk.Progress
	LoadStats    = bulk.Stats
	// Durability says when a commit is acknowledged.
	Durability = commit.Durability
	// CallSite is a place in a program.
	CallSite = pins.CallSite
)

// The durability modes; the root package documents them for users.
const (
	DefaultDurability = commit.DefaultDurability
	NoWAL             = commit.NoWAL
	Relaxed           = commit.Relaxed
	Buffered          = commit.Buffered
	Sync              = commit.Sync
)

var (
	// Newest is the point of a read that sees everything visible at its begin.
	Newest = readstate.Newest
	// Caller is pins.Caller itself, because a wrapper would add a call to the stack.
	Caller = pins.Caller
)
