package seerdb

// RangeEstimate is about what lies in a range of keys. See EstimateRange.
type RangeEstimate struct {
	// Entries counts versions and tombstones in tables and memtables.
	Entries uint64
	// TableBytes are bytes of table files: of pages, compressed, and a share of
	// filters and indexes.
	TableBytes uint64
	// ValueBytes are bytes of value files: what the tables refer to there, without
	// the garbage.
	ValueBytes uint64
	// MemtableBytes is what the entries in memtables take there.
	MemtableBytes uint64
}

// EstimateRange estimates, without reading rows, how many entries lie at
// lo <= key < hi and what they take; nil is unbounded, and a range in which hi is not
// above lo is empty. It takes microseconds however many rows there are, and for each
// table that lies wholly inside some nanoseconds more; where the index of one of the
// tables that lo or hi cut is not in memory, it is read.
//
// Entries counts every version and every tombstone wherever it lies. So it is the
// number of keys where each was written once, and more where some were overwritten or
// deleted and not yet compacted. What a range delete, an expiry or a compaction filter
// has hidden counts until it is compacted away.
//
// Of a table wholly inside the range the figures are exact. Each table that lo or hi
// cuts, one for each run, adds an error of at most about a page (Options.PageSize) of
// entries, and often much less, where its entries take about the same everywhere: of a
// table that is no larger than a page it may say nothing or all. Where
// those at one end of a table are larger than those at the other it is more, and so it
// is for ValueBytes, which are taken to be spread evenly over the entries. A range of a
// few hundred keys in memtables is counted; of more, some percent are missed or too
// many. Commits and compactions beside it may show in part.
//
// Errors are ErrClosed, ErrNoKeyspace for a keyspace that was dropped, and those of
// reading an index: of the system, or a *CorruptionError.
func (s *space) EstimateRange(lo, hi []byte) (RangeEstimate, error) {
	est, err := s.k.EstimateRange(lo, hi)
	return RangeEstimate(est), err
}
