package observe

import "time"

// Metrics describes a database. Each counter is read atomically, but not all at
// the same instant. Counters start at Open.
type Metrics struct {
	// Levels describes L0 and deeper, in order.
	Levels []LevelMetrics
	// Memtable, Log, Cache, Values, Memory, Files and IO are described at their
	// types.
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
	// CompactionsByReason counts finished compactions by the reason why they
	// were picked.
	CompactionsByReason map[string]int64
	// What flushes and compactions did to entries. Expired counts values that
	// had expired; RangeCovered entries that a range delete removed; Merged
	// operands, and values under them, that became part of another entry;
	// MergeFailures calls in which a merge operator failed; Filtered values
	// that a compaction filter removed or changed; SingleDeleteMisuse single
	// deletes of keys that had been put more than once.
	Expired, RangeCovered, Merged, MergeFailures, Filtered, SingleDeleteMisuse int64
	// Index describes the learned indexes of the tables that were read since
	// Open; DB.IndexMetrics reads the others too.
	Index IndexMetrics
	// Ops are the latency histograms of public operations. Frequent ones are
	// sampled (see Latency.Sampled); jobs are complete.
	Ops OpMetrics
	// Stalls counts commits that were slowed or stopped, and the time they
	// waited.
	Stalls StallMetrics
	// VisibleSeq and DurableSeq are the newest visible and durable sequences.
	VisibleSeq, DurableSeq uint64
	// Snapshots, Transactions and Iterators are open now. OldestSnapshotSeq is
	// the oldest sequence that a snapshot or a transaction reads at, or zero.
	Snapshots, Transactions, Iterators int64
	OldestSnapshotSeq                  uint64
	// UserBytes is the number of key and value bytes in all commits and loads.
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
	// Reads counts tables asked by point reads. Of these, FilterNegatives were
	// answered by the filter, FilterFalsePositives were searched in vain after
	// the filter said yes, and UnfilteredReads were searched in vain because
	// the filter was left out of memory. PageReads counts the pages searched.
	Reads, FilterNegatives, FilterFalsePositives, UnfilteredReads, PageReads int64
	// BytesIn and BytesOut were read and written by compactions into this
	// level, which Compactions counts.
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
	// BytesWritten, Writes and Syncs count operations of the file layer.
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
	// Bytes is the size of the files; Garbage is the part that no table refers
	// to any more.
	Bytes, Garbage int64
	// Rewritten counts bytes copied out of files full of garbage.
	Rewritten int64
}

// MemoryMetrics itemises what MemoryBudget covers, in bytes.
type MemoryMetrics struct {
	Budget                                                         int64
	Pages, Memtables, Tables, Iterators, Transactions, Loads, Used int64
	// Heap is reserved for buffers of jobs on the Go heap, and for garbage that
	// is not collected yet. It is not measured.
	Heap int64
	// Pinned is the part of Memtables that was flushed but is kept by open
	// iterators. Health names where those were opened.
	Pinned int64
	// Filters is the part of Tables that could be freed: the filters in memory
	// that are not tiny. FiltersLeftOut counts filters of open tables that are
	// not in memory, because they do not fit into TablesLimit with the rest,
	// and FilterBytesLeftOut is the memory that they would take.
	Filters, FiltersLeftOut, FilterBytesLeftOut int64
	// TablesLimit is the part of Budget that Tables may take. The excess is
	// being freed.
	TablesLimit int64
}

// FileMetrics describes the open tables and value files.
type FileMetrics struct {
	// Open files are open now, of at most Limit. Limit is below Most, which is
	// Options.OpenFiles, for a while after the system refused to open a file.
	Open, Limit, Most int
	// Opens counts files opened, Closes files closed to make room for others,
	// Refusals opens that failed for lack of descriptors.
	Opens, Closes, Refusals int64
}

// IOMetrics counts bytes at the file layer, so that every write is counted.
type IOMetrics struct {
	Log, Tables, Values, Manifest FileIO
	// WriteAmplification is bytes written to tables and value files divided by
	// UserBytes; WriteAmplificationWithLog includes the log.
	WriteAmplification, WriteAmplificationWithLog float64
	// SpaceAmplification is bytes on disk divided by an estimate of the live
	// user bytes (entries of the last level plus those above it).
	SpaceAmplification float64
	// ReadAmplification is pages and values read from files for each point
	// read.
	ReadAmplification float64
}

// FileIO counts operations on one type of file.
type FileIO struct {
	BytesWritten, BytesRead, Writes, Reads, Syncs int64
	// Files and Bytes are current.
	Files int
	Bytes int64
}

// JobMetrics counts background jobs of one kind.
type JobMetrics struct {
	Count, Failures, BytesIn, BytesOut int64
	Duration                           time.Duration
	Running                            int
}

// IndexMetrics are sums over the indexes of tables.
type IndexMetrics struct {
	// Pages counts all pages, LearnedPages those that a model finds, FencePages
	// those with a separator each.
	Pages, LearnedPages, FencePages int64
	// Windows is the number of models.
	Windows int64
	// Bytes is the memory of indexes, FilterBytes that of filters.
	Bytes, FilterBytes int64
	// Entries counts the entries of these tables.
	Entries int64
	// FallbackTables counts tables that no model fits.
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
	Sampled                        int // one operation in this many was measured
	Mean, P50, P95, P99, P999, Max time.Duration
}

// StallMetrics counts delays of writers.
type StallMetrics struct {
	Slowdowns, Stops       int64
	SlowdownTime, StopTime time.Duration
	// Stopped is the reason why commits are stopped now, or "".
	Stopped string
}

// KeyspaceMetrics describes the tables of one keyspace. Entries in memtables
// are not included, since keyspaces share those.
type KeyspaceMetrics struct {
	// Name is the name of the keyspace, "" for the default one.
	Name string
	// Levels describes L0 and deeper, in order, down to the last level with
	// tables.
	Levels []KeyspaceLevel
	// Total is the sum over Levels. Its Level is that of the last.
	Total KeyspaceLevel
}

// KeyspaceLevel describes one level of the tree of a keyspace.
type KeyspaceLevel struct {
	Level int
	// Runs is the number of sorted runs; Files and Bytes are their tables.
	// Tables that share a file count separately, with their own bytes.
	Runs, Files int
	Bytes       int64
	// Values is the number of bytes in value files that the tables refer to.
	Values int64
	// Entries counts versions; of these, Deletes counts tombstones and Expiring
	// entries with an expiry. RangeDeletes counts fragments of range deletes.
	Entries, Deletes, Expiring, RangeDeletes int64
}

// RangeEstimate is the result of DB.EstimateRange: how many entries a range of keys has,
// and how many bytes they take.
//
// For tables that are wholly inside the range the figures are exact. An end of the range
// cuts at most one table of each run. Each cut table adds an error of at most about a page
// (Options.PageSize) of entries if its entries have about the same size everywhere, and
// more if they do not; a table that is no larger than a page may count as empty or as a
// whole. In memtables, a range of a few hundred keys is counted exactly; for a larger one,
// the number is off by some percent.
type RangeEstimate struct {
	// Entries counts every version and every tombstone in tables and memtables. It is the
	// number of keys if each was written once. It is larger if keys were overwritten or
	// deleted, or hidden by a range delete, an expiry or a compaction filter, and have not
	// been compacted since.
	Entries uint64
	// TableBytes is the number of bytes in table files: compressed pages, and a share of
	// filters and indexes.
	TableBytes uint64
	// ValueBytes is the number of bytes in value files that the tables refer to, without
	// garbage. The estimate takes them to be spread evenly over the entries of a table.
	ValueBytes uint64
	// MemtableBytes is the memory of the entries in memtables.
	MemtableBytes uint64
}
