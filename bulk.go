package seerdb

import (
	"context"
	"iter"
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
)

// BulkOptions say how BulkLoad works. The zero value is for rows in order.
type BulkOptions struct {
	// Unsorted takes rows in any order: they are sorted first, in a part of
	// Options.MemoryBudget and, beyond that, in temporary files in the
	// directory of the database. Of rows with the same key the last one wins.
	Unsorted bool
	// Expires, if set, says when a row is gone, as PutUntil takes it: in
	// milliseconds rounded up, at once after a moment that has passed, and the
	// zero time is no expiry, whatever KeyspaceOptions.TTL says. It is called once
	// for each row that is taken, by the goroutine that called BulkLoad, before
	// the next row is asked for; so it may ask the source of the rows about the
	// one that it is at, as Rows.Expiry does. It must not keep or modify the
	// slices. In an unsorted load the last one of rows with the same key wins
	// with its expiry.
	Expires func(key, value []byte) time.Time
	// Progress, if set, is called about every megabyte and at the end of each
	// phase, by the goroutine that called BulkLoad.
	Progress func(BulkProgress)
}

// BulkProgress is how far a BulkLoad is.
type BulkProgress struct {
	// Sorting is the first phase of an unsorted load, in which rows are taken.
	// It counts them all; then sorted rows are written to tables, and counted
	// anew.
	Sorting bool
	Rows    uint64 // of this phase
	Bytes   uint64 // of their keys and values
}

// BulkStats is what a BulkLoad did.
type BulkStats struct {
	Rows         uint64 // loaded
	Bytes        uint64 // of their keys and values
	Duplicates   uint64 // rows that a later one with the same key replaced
	Tables       int
	ValueFiles   int
	FileBytes    uint64 // of tables and value files
	SpilledBytes uint64 // written to temporary files
	// Level is where the tables went: the last level if no other key of the
	// tree was among the loaded ones, down to 0 if some were in all levels.
	Level int
	// Seq is the load's sequence, as VisibleSeq counts; 0 for one without rows.
	Seq uint64
}

// BulkLoad adds rows, as if all had been put in one commit at the end of the
// load: they appear at once, over everything that was there before, or not at
// all. Snapshots and iterators that were made before do not see them. Rows are
// written to tables directly, past log and memtables: several times as fast as
// batches, and for an empty part of the tree with nothing left to compact.
// Memory is bounded however many rows there are.
//
// Rows must come in strictly ascending order of their keys, else BulkLoad ends
// with ErrKeyOrder; but see BulkOptions.Unsorted. Key and value are taken before
// the next row is asked for, and may be reused then. A sequence, rather than an
// object with methods to add and to commit, leaves nothing that could be
// forgotten half loaded, and everything that is iterated over in Go is one.
//
// Rows expire as BulkOptions.Expires says. Without it KeyspaceOptions.TTL holds as
// for Put, at one moment for all of them: that time after the call began.
//
// A nil error means that the load is visible and durable, in every durability
// mode, and all commits before it too. Any other error is definite, as with
// Apply, unless it is ErrCommitUnknown; no file is left behind. To give up, a
// sequence cancels ctx before it ends; what context.Cause says of it is returned.
//
// Commits go on while rows are written, and wait for some syncs at the end. Close
// ends a load when the next row comes.
func (s *space) BulkLoad(ctx context.Context, rows iter.Seq2[[]byte, []byte], o *BulkOptions) (BulkStats, error) {
	var lo engine.LoadOptions
	if ttl := s.k.TTL(); ttl != 0 {
		at := expiryAfter(s.e.Now(), ttl)
		lo.Expires = func(_, _ []byte) uint64 { return at }
	}
	if o != nil {
		lo.Unsorted = o.Unsorted
		if expires := o.Expires; expires != nil {
			lo.Expires = func(key, value []byte) uint64 { return expiryOrNone(expires(key, value)) }
		}
		if tell := o.Progress; tell != nil {
			lo.Progress = func(p engine.LoadProgress) { tell(BulkProgress(p)) }
		}
	}
	st, err := s.k.Load(ctx, rows, lo)
	return BulkStats(st), err
}
