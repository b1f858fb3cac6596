package engine

import (
	"github.com/seerdb-go/seerdb/internal/bulk"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// What the public package needs of the rooms behind this one.
type (
	// Iter is an iterator over a keyspace.
	Iter = dbiter.Iter
	// IterOptions restrict an iterator.
	IterOptions = dbiter.Options
	// KeyspaceChoice is what one call that opens a keyspace asks for.
	KeyspaceChoice = keyspace.Choice
	// LoadOptions say how rows are loaded, LoadProgress how far a load is, and LoadStats
	// what it did.
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
	// Newest is the moment at which a read begins.
	Newest = readstate.Newest
	// Caller is pins.Caller, without a call between.
	Caller = pins.Caller
)
