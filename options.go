package seerdb

import (
	"log/slog"
	"time"

	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/engine"
	"github.com/seerdb-go/seerdb/internal/private"
	"github.com/seerdb-go/seerdb/observe"
)

// Durability determines when a commit is acknowledged. See docs/GUARANTEES.md.
type Durability uint8

const (
	// DefaultDurability means, in Apply, the mode that the database was opened with; in
	// Options it means Sync.
	DefaultDurability Durability = iota
	// NoWAL acknowledges a commit once it is in memory. A crash loses
	// everything since the last Flush. NoWAL cannot be mixed with other modes.
	NoWAL
	// Relaxed acknowledges a commit once it is in the log's memory, which the log passes to
	// the operating system within a few milliseconds. A killed process loses that much; a
	// power cut loses what the operating system had not written.
	Relaxed
	// Buffered acknowledges a commit once the operating system has it. A killed process
	// loses nothing. A power cut loses at most the last Options.SyncInterval, if that is
	// set.
	Buffered
	// Sync acknowledges a commit once the device has it. No acknowledged
	// commit is ever lost.
	Sync
)

// String returns the name of the mode.
func (d Durability) String() string { return engine.Durability(d).String() }

// Compression is the codec of table pages and values.
type Compression uint8

const (
	// DefaultCompression is the codec that measured best for most data: the time it takes
	// is regained by reading fewer bytes.
	DefaultCompression Compression = iota
	// NoCompression stores pages as they are.
	NoCompression
	// LZ4 is fast in both directions.
	LZ4
	// S2 is Snappy's successor in Go.
	S2
	// Zstd makes the smallest files and costs the most time.
	Zstd
)

// Merger combines the operands of merges: what RocksDB calls a merge operator. Package
// merger has counters, sets and others ready to use.
//
// Its methods must depend on their arguments alone, must not retain them, and must be safe
// for concurrent use. If a method panics or returns an error, the read or the compaction
// that called it fails and leaves the operands as they are.
type Merger interface {
	// Name identifies what operands mean. It must stay the same while any operand is
	// stored.
	Name() string
	// Full returns the value of key after operands, oldest first, are applied to existing;
	// exists is false if there was no value. It may append to dst. The result must not
	// share memory with the other arguments.
	Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error)
	// Partial combines two neighbouring operands, the older first, into one, which it may
	// append to dst. It returns false if it cannot combine them; then both stay.
	Partial(dst, key, older, newer []byte) (operand []byte, ok bool, err error)
}

// CompactionFilter decides, during compactions, about a value that no snapshot needs and
// that no newer entry in the merged tables hides. With FilterChange, newValue replaces the
// value.
//
// A filter gets user keys and plain values, and must not retain them. Compactions may call
// it at any time, repeatedly or never, and concurrently. They do not call it while a
// snapshot older than ten seconds is open. Snapshots that are open when its verdicts take
// effect do not see the changes. An error ends the compaction and leaves the data as it is.
type CompactionFilter func(key, value []byte) (verdict FilterVerdict, newValue []byte, err error)

// FilterVerdict is the decision of a CompactionFilter.
type FilterVerdict uint8

const (
	// FilterKeep keeps the value.
	FilterKeep FilterVerdict = iota
	// FilterRemove deletes the key as of the value's sequence number.
	FilterRemove
	// FilterChange replaces the value and keeps its expiry.
	FilterChange
)

// filter converts f for compactions; nil stays nil.
func (f CompactionFilter) filter() compaction.Filter {
	if f == nil {
		return nil
	}
	return func(key, value []byte) (compaction.FilterVerdict, []byte, error) {
		verdict, newValue, err := f(key, value)
		return compaction.FilterVerdict(verdict), newValue, err
	}
}

// CompactionStyle determines how compaction trades the cost of writing against that of
// reading.
type CompactionStyle uint8

const (
	// LazyLeveled keeps several runs in every level but the last (Dayan & Idreos,
	// "Dostoevsky", SIGMOD 2018). In large trees it halves the rewriting; reads have a few
	// more places to look in, which filters make cheap.
	LazyLeveled CompactionStyle = iota
	// Leveled keeps one sorted run per level: reads have the fewest places to look in.
	Leveled
)

// Options configure a database. A field that is zero means its default, and a nil *Options
// means all defaults. Small values are used as given, not rounded up.
type Options struct {
	// Durability is the mode of commits that do not ask for more. Default Sync.
	Durability Durability
	// SyncInterval, with Buffered, makes the database sync the log at least this often.
	// Default 0: no syncs by time.
	SyncInterval time.Duration

	// OpenFiles is how many tables, value files and temporary files of loads are kept open.
	// Others are opened when they are read. Default: half of the descriptors that the
	// process may have, less 16, and at least 4; 4096 if there is no such limit. A program
	// that opens several databases divides its descriptors between them with this option.
	OpenFiles int
	// MemoryBudget is the memory, in bytes, for memtables, page cache, iterators, and table
	// indexes and filters. Indexes and filters take at most half of it; filters that do not
	// fit are left out, and reads get slower. Default 512 MiB, or a quarter of the limit
	// that a memory control group or GOMEMLIMIT sets the process, if that is less.
	MemoryBudget int64
	// MemtableSize is the memory of one memtable, in bytes; up to four memtables exist at a
	// time. Default 64 MiB, or an eighth of MemoryBudget if that is less.
	MemtableSize int
	// PageSize is the size of table pages, in bytes before compression. Default 8 KiB.
	PageSize int
	// TableSize is the size, in bytes, at which table files are cut. Default 8 MiB.
	TableSize int64
	// ValueThreshold is the length, in bytes, from which values are kept in value files,
	// apart from their keys. Default 1024; negative means never.
	ValueThreshold int
	// FilterBits is the number of filter bits per key in the last level, which holds almost
	// everything; tables in the levels above get up to 6 more. Default 10, about 1 % false
	// positives; negative means no filters.
	FilterBits float64
	// Compression is the codec of pages and values. Default DefaultCompression.
	Compression Compression

	// Merger combines the operands of DB.Merge. The database stores its name: a database
	// that was written with one merge operator cannot be opened with another, or without
	// one.
	Merger Merger
	// CompactionFilter is called for values of the default keyspace when they are
	// compacted. Default: none.
	CompactionFilter CompactionFilter

	// CompactionStyle applies to all keyspaces. Default LazyLeveled.
	CompactionStyle CompactionStyle
	// MaxCompactions is the number of compactions that may run concurrently. Default half
	// the processors, at least 1, at most 4.
	MaxCompactions int

	// Logger receives what an operator should know. As with Listener, one goroutine calls
	// it, in order. Default: nothing.
	Logger *slog.Logger
	// Listener receives events: flushes, compactions, stalls and errors.
	Listener observe.EventListener

	// ReadOnly opens the database without changing anything on disk, the lock file
	// included. Any number of read-only DBs may share a directory, but not with a DB that
	// writes: Open fails with ErrLocked for a writer beside a reader, and for a reader
	// beside a writer. Commits fail with ErrReadOnly.
	ReadOnly bool
	// ErrorIfMissing makes Open fail with ErrNotExist instead of creating a database.
	ErrorIfMissing bool
	// ErrorIfExists makes Open fail with ErrExists if there is a database already.
	ErrorIfExists bool
	// ResetClock makes the database use the system's clock even if the database has seen a
	// later time, for example because the clock was once years ahead, a state that Health
	// reports. Values that are stored but counted as expired become visible again until
	// their time comes; values already dropped stay gone. Set it for one opening, not for
	// every one.
	ResetClock bool

	internal engine.Options // what only tests set, through internal/private
}

func init() {
	private.SetTestOptions = func(o, to any) { o.(*Options).internal = to.(engine.Options) }
}

// engine converts the options for the engine, and fills in the defaults.
func (o *Options) engine() engine.Options {
	if o == nil {
		o = &Options{}
	}
	e := o.internal
	e.Durability, e.SyncInterval = engine.Durability(o.Durability), o.SyncInterval
	e.OpenFiles, e.MemoryBudget, e.MemtableSize = o.OpenFiles, o.MemoryBudget, o.MemtableSize
	e.PageSize, e.TableSize, e.ValueThreshold = o.PageSize, o.TableSize, o.ValueThreshold
	e.FilterBits, e.Codec = o.FilterBits, o.Compression.codec()
	e.Merger, e.Filter = o.Merger, o.CompactionFilter.filter()
	e.Style, e.MaxCompactions = o.CompactionStyle.style(), o.MaxCompactions
	e.Logger, e.Listener = o.Logger, o.Listener
	e.ReadOnly, e.ErrorIfMissing, e.ErrorIfExists, e.ResetClock = o.ReadOnly, o.ErrorIfMissing, o.ErrorIfExists, o.ResetClock
	return e.WithDefaults()
}

// The engine has the same numbers: an index that is not 0 does not compile.
var (
	_ = [1]int{}[Sync-Durability(engine.Sync)]
	_ = [1]int{}[SnapshotIsolation-Isolation(engine.SnapshotIsolation)]
	_ = [1]int{}[FilterChange-FilterVerdict(compaction.FilterChange)]
)

// codecs and styles map the constants above to those of the engine.
var (
	codecs = [...]compress.Codec{
		DefaultCompression: compress.Default, NoCompression: compress.None, LZ4: compress.LZ4, S2: compress.S2, Zstd: compress.Zstd,
	}
	styles = [...]compaction.Style{LazyLeveled: compaction.LazyLeveled, Leveled: compaction.Leveled}
)

// codec converts c for the engine, which refuses unknown values.
func (c Compression) codec() compress.Codec {
	if int(c) < len(codecs) {
		return codecs[c]
	}
	return compress.Codec(c)
}

// style converts s for the engine, which refuses unknown values.
func (s CompactionStyle) style() compaction.Style {
	if int(s) < len(styles) {
		return styles[s]
	}
	return compaction.Style(s)
}
