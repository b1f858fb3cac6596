package observe

import "time"

// Metrics is a consistent-enough picture of a database: every counter is read
// atomically, though not all at one instant. Counters run since Open.
type Metrics struct {
	// Levels describes L0 and deeper, in order.
	Levels []LevelMetrics
	// Memtable, Log, Cache, Values, Memory, Files, IO: see each type.
	Memtable MemtableMetrics
	Log      LogMetrics
	Cache    CacheMetrics
	Values   ValueMetrics
	Memory   MemoryMetrics
	Files    FileMetrics
	IO       IOMetrics
	// Flushes and Compactions count finished jobs and their bytes.
	Flushes     JobMetrics
	Compactions JobMetrics
	// CompactionsByReason counts finished compactions by why they were picked.
	CompactionsByReason map[string]int64
	// What flushes and compactions did with entries that are more than a key
	// and its value. Expired counts values whose time was over; RangeCovered
	// entries that a range delete removed; Merged operands, and values under
	// them, that became part of another entry; MergeFailures how often a merge
	// operator refused; Filtered what a compaction filter removed or changed;
	// SingleDeleteMisuse single deletes of keys that had been put more than
	// once.
	Expired, RangeCovered, Merged, MergeFailures, Filtered, SingleDeleteMisuse int64
	// Index says what the learned indexes are made of, of the tables that were
	// read since Open; DB.IndexMetrics reads the others too.
	Index IndexMetrics
	// Ops are the latency histograms of public operations. Frequent ones are
	// sampled (see Latency.Sampled); jobs are complete.
	Ops OpMetrics
	// Stalls counts commits that were slowed or stopped, and for how long.
	Stalls StallMetrics
	// VisibleSeq and DurableSeq are the newest visible and durable sequences.
	VisibleSeq, DurableSeq uint64
	// Snapshots, Transactions and Iterators are now open. OldestSnapshotSeq is
	// the oldest sequence that a snapshot or a transaction reads at, zero
	// without any.
	Snapshots, Transactions, Iterators int64
	OldestSnapshotSeq                  uint64
	// UserBytes is the sum of key and value bytes of all commits and
	// loads.
	UserBytes int64
	// Uptime is the time since Open.
	Uptime time.Duration
}

// LevelMetrics describes one level of the tree.
type LevelMetrics struct {
	Level int
	// Runs is the number of sorted runs; Files and Bytes are their tables.
	Runs, Files int
	Bytes       int64
	// Entries counts versions, Deletes the tombstones among them.
	Entries, Deletes int64
	// Reads counts tables asked by point reads; FilterNegatives those that
	// the filter answered with no; FilterFalsePositives those that it let
	// through in vain; UnfilteredReads those looked into in vain for want of
	// the filter, which was left out of memory; PageReads the pages looked into.
	Reads, FilterNegatives, FilterFalsePositives, UnfilteredReads, PageReads int64
	// BytesIn and BytesOut were read and written by compactions into this
	// level; Compactions counts them.
	BytesIn, BytesOut, Compactions int64
}

// MemtableMetrics describes the memtables.
type MemtableMetrics struct {
	// Active and Immutable are bytes in use; Queue is the number of immutable
	// generations waiting for their flush.
	Active, Immutable int64
	Queue             int
	Entries           int64
}

// LogMetrics describes the write-ahead log.
type LogMetrics struct {
	Segments int
	Bytes    int64
	// BytesWritten, Writes and Syncs count what reached the file layer.
	BytesWritten, Writes, Syncs int64
}

// CacheMetrics describes the page cache.
type CacheMetrics struct {
	Hits, Misses, Evictions int64
	// Shared counts misses that waited for another reader of the same page.
	Shared          int64
	Bytes, Capacity int64
}

// ValueMetrics describes the value files.
type ValueMetrics struct {
	Files int
	// Bytes are stored in the files; Garbage is the part that no table refers
	// to any more.
	Bytes, Garbage int64
	// Rewritten counts bytes moved out of files full of garbage.
	Rewritten int64
}

// MemoryMetrics itemises what MemoryBudget covers, in bytes.
type MemoryMetrics struct {
	Budget                                                         int64
	Pages, Memtables, Tables, Iterators, Transactions, Loads, Used int64
	// Heap is set aside for buffers of jobs on the Go heap, and for the garbage
	// that the collector lets lie. It is not measured.
	Heap int64
	// Pinned is the part of Memtables that was flushed and that open iterators
	// keep. Health names where they were made.
	Pinned int64
	// Of the tables that are open, Filters is the part of Tables that could be
	// given up: filters that are not tiny. FiltersLeftOut counts those that are
	// not in memory, because they do not fit into TablesLimit with the rest, and
	// FilterBytesLeftOut is what they would take.
	Filters, FiltersLeftOut, FilterBytesLeftOut int64
	// TablesLimit is the part of Budget that Tables may take. What is on top of
	// it is being given back.
	TablesLimit int64
}

// FileMetrics describes which tables and value files are open.
type FileMetrics struct {
	// Open are open now, of at most Limit. Limit is below Most, which is
	// Options.OpenFiles, for a while after the system refused to open a file.
	Open, Limit, Most int
	// Opens counts files opened, Closes files closed to make room for others,
	// Refusals how often the system had no descriptor left.
	Opens, Closes, Refusals int64
}

// IOMetrics counts bytes at the file layer, so that no write is forgotten.
type IOMetrics struct {
	Log, Tables, Values, Manifest FileIO
	// WriteAmplification is bytes written to tables and value files over
	// UserBytes; WithLog adds the log.
	WriteAmplification, WriteAmplificationWithLog float64
	// SpaceAmplification is bytes on disk over an estimate of the live user
	// bytes (entries of the last level plus what is above it).
	SpaceAmplification float64
	// ReadAmplification is pages and values read from files per point read.
	ReadAmplification float64
}

// FileIO counts operations on one type of file.
type FileIO struct {
	BytesWritten, BytesRead, Writes, Reads, Syncs int64
	// Files and Bytes are there now.
	Files int
	Bytes int64
}

// JobMetrics counts background jobs of one kind.
type JobMetrics struct {
	Count, Failures, BytesIn, BytesOut int64
	Duration                           time.Duration
	Running                            int
}

// IndexMetrics sums up the indexes of tables.
type IndexMetrics struct {
	// Pages in all; LearnedPages lie in windows that a model covers,
	// FencePages have a separator of their own.
	Pages, LearnedPages, FencePages int64
	// Windows is the number of models.
	Windows int64
	// Bytes of resident index, and of filters.
	Bytes, FilterBytes int64
	// Entries in these tables.
	Entries int64
	// FallbackTables fit no model at all.
	Tables, FallbackTables int64
	// BuildTime is how long jobs have merged and written tables since Open, and
	// Training how long of that they fitted models to decide where pages end.
	Training, BuildTime time.Duration
}

// OpMetrics holds one histogram for each operation.
type OpMetrics struct {
	Get, Commit, Seek, Flush, Compaction Latency
}

// Latency summarises a histogram.
type Latency struct {
	Count                          int64
	Sampled                        int // one of this many was measured
	Mean, P50, P95, P99, P999, Max time.Duration
}

// StallMetrics counts how writers were held back.
type StallMetrics struct {
	Slowdowns, Stops       int64
	SlowdownTime, StopTime time.Duration
	// Stopped says why commits are stopped now; empty when they are not.
	Stopped string
}

// KeyspaceMetrics describes what one keyspace has in tables. What was written and
// not flushed yet is not in it: keyspaces share the memtables.
type KeyspaceMetrics struct {
	// Name is that of the keyspace; that of the default one is empty.
	Name string
	// Levels describes L0 and deeper, in order, down to the last that has tables.
	Levels []KeyspaceLevel
	// Total sums them up. Its Level is that of the last.
	Total KeyspaceLevel
}

// KeyspaceLevel describes one level of the tree of a keyspace.
type KeyspaceLevel struct {
	Level int
	// Runs is the number of sorted runs; Files and Bytes are their tables. Tables
	// that share a file count one by one, with their own bytes.
	Runs, Files int
	Bytes       int64
	// Values is the bytes in value files that the tables refer to.
	Values int64
	// Entries counts versions; Deletes the tombstones among them, and Expiring those
	// that have an expiry. RangeDeletes counts pieces of range deletes.
	Entries, Deletes, Expiring, RangeDeletes int64
}

// RangeEstimate is about what lies in a range of keys, as DB.EstimateRange tells.
//
// Of a table wholly inside the range the figures are exact. Each table that an end of
// the range cuts, one for each run, adds an error of at most about a page
// (Options.PageSize) of entries where its entries take about the same everywhere, and
// more where they do not; of a table that is no larger than a page it may say nothing or
// all. A range of a few hundred keys in memtables is counted; of more, some percent are
// missed or too many.
type RangeEstimate struct {
	// Entries counts every version and every tombstone in tables and memtables: as
	// many as there are keys where each was written once, and more where some were
	// overwritten or deleted, or hidden by a range delete, an expiry or a compaction
	// filter, and not yet compacted.
	Entries uint64
	// TableBytes are bytes of table files: of pages, compressed, and a share of
	// filters and indexes.
	TableBytes uint64
	// ValueBytes are bytes of value files: what the tables refer to there, without
	// the garbage. They are taken to be spread evenly over the entries of a table.
	ValueBytes uint64
	// MemtableBytes is what the entries in memtables take there.
	MemtableBytes uint64
}
