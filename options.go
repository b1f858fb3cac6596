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

// Durability says when a commit is acknowledged. See docs/GUARANTEES.md.
type Durability uint8

const (
	// DefaultDurability, in Apply, is what the database was opened with; in
	// Options it is Sync.
	DefaultDurability Durability = iota
	// NoWAL acknowledges once the commit is in memory. A crash loses
	// everything since the last Flush. It cannot be mixed with other modes.
	NoWAL
	// Relaxed acknowledges once the commit is in the log's memory, which is
	// handed to the operating system within a few milliseconds. A killed
	// process loses that much, a power cut what the system had not written.
	Relaxed
	// Buffered acknowledges once the operating system has the commit. A
	// killed process loses nothing; a power cut at most the last
	// Options.SyncInterval, when one is set.
	Buffered
	// Sync acknowledges once the device has the commit. Nothing acknowledged
	// is ever lost.
	Sync
)

// String returns the name of the mode.
func (d Durability) String() string { return engine.Durability(d).String() }

// Compression is the codec of table pages and values.
type Compression uint8

const (
	// DefaultCompression is the codec that measured best for most data: fast
	// enough to pay for itself in fewer bytes read.
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

// Merger combines the operands of merges: what RocksDB calls a merge operator.
// Package merger has counters, sets and others ready to use.
//
// Its methods depend on nothing but what they get, keep none of it, and are called by
// several goroutines at once. A panic in one of them, or an error, ends the read or
// the compaction that asked, and leaves the operands as they are.
type Merger interface {
	// Name identifies the meaning of operands for as long as any is stored.
	Name() string
	// Full returns the value of key after operands, oldest first, on top of
	// existing; exists is false when there was no value. It may append to dst; the
	// result never shares memory with the other arguments.
	Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error)
	// Partial combines two neighbouring operands, the older first, into one, which
	// it may append to dst. It returns false when it cannot; then both stay.
	Partial(dst, key, older, newer []byte) (operand []byte, ok bool, err error)
}

// CompactionFilter decides, during compactions, about a value that no snapshot needs
// and that nothing newer hides in the tables that are merged. newValue is what a value
// is replaced by with FilterChange.
//
// It gets user keys and plain values, and must not keep them. It may be called at any
// time, repeatedly, or never, and by several goroutines at once. Snapshots that are open
// when its verdicts take effect do not see what it did; while one is older than ten
// seconds, it is not called. An error ends the compaction and leaves the data as it is.
type CompactionFilter func(key, value []byte) (verdict FilterVerdict, newValue []byte, err error)

// FilterVerdict is what a CompactionFilter decides.
type FilterVerdict uint8

const (
	// FilterKeep keeps the value.
	FilterKeep FilterVerdict = iota
	// FilterRemove deletes the key, as of the value's sequence.
	FilterRemove
	// FilterChange replaces the value; its expiry stays.
	FilterChange
)

// filter is what compactions call, or nil.
func (f CompactionFilter) filter() compaction.Filter {
	if f == nil {
		return nil
	}
	return func(key, value []byte) (compaction.FilterVerdict, []byte, error) {
		verdict, newValue, err := f(key, value)
		return compaction.FilterVerdict(verdict), newValue, err
	}
}

// CompactionStyle is how compaction trades writing against reading.
type CompactionStyle uint8

const (
	// LazyLeveled keeps several runs in every level but the last (Dayan &
	// Idreos, "Dostoevsky", SIGMOD 2018): half the rewriting in large trees,
	// and a few more places to look, which filters make cheap.
	LazyLeveled CompactionStyle = iota
	// Leveled keeps one sorted run a level: the fewest places to look.
	Leveled
)

// Options configure a database. The zero value of every field means the
// default; a nil *Options means all defaults. Small values are honoured, not
// rounded up.
type Options struct {
	// Durability of commits that do not ask for more. Default Sync.
	Durability Durability
	// SyncInterval, with Buffered, syncs the log at least this often. Default
	// 0: never by itself.
	SyncInterval time.Duration

	// OpenFiles is how many tables, value files and temporary files of loads are kept
	// open at once. Others are opened when they are read. Default: half of the
	// descriptors that the process may have, less 16, and at least 4; without such a
	// limit 4096. A program that opens several databases shares them out here.
	OpenFiles int
	// MemoryBudget is the memory, in bytes, for memtables, page cache, table
	// indexes and filters (at most half of it; filters that do not fit are left
	// out, and reads get slower), iterators. Default 512 MiB, or a quarter of the limit
	// that a memory control group or GOMEMLIMIT sets the process, if that is less.
	MemoryBudget int64
	// MemtableSize is the memory of one memtable, in bytes; up to four exist
	// at once. Default 64 MiB, or an eighth of MemoryBudget if that is less.
	MemtableSize int
	// PageSize is the size, in bytes before compression, at which table pages
	// are cut. Default 8 KiB.
	PageSize int
	// TableSize is the size at which table files are cut. Default 8 MiB.
	TableSize int64
	// ValueThreshold is the length from which values are kept in value files,
	// apart from their keys. Default 1024 bytes; negative means never.
	ValueThreshold int
	// FilterBits is the size of table filters in bits per key, of the last
	// level, which holds almost everything; tables above it get up to 6 more.
	// Default 10, about 1 % false positives; negative means no filters.
	FilterBits float64
	// Compression of pages and values. Default DefaultCompression.
	Compression Compression

	// Merger combines the operands of DB.Merge. Its name is stored: a database
	// that was written with one cannot be opened with another, or none.
	Merger Merger
	// CompactionFilter is called for values of the default keyspace when they are
	// compacted. Default: none.
	CompactionFilter CompactionFilter

	// CompactionStyle is that of all keyspaces. Default LazyLeveled.
	CompactionStyle CompactionStyle
	// MaxCompactions is the number of compactions that may run at once. Default half
	// the processors, at least 1, at most 4.
	MaxCompactions int

	// Logger receives what an operator should know, as Listener gets its events:
	// in order, by a goroutine of its own. Default: nothing.
	Logger *slog.Logger
	// Listener receives events: flushes, compactions, stalls and errors.
	Listener observe.EventListener

	// ReadOnly opens without changing anything on disk, the lock file included.
	// Any number of DBs may have a directory open so at once, and none that
	// writes: that gets ErrLocked, and so does ReadOnly beside a writer.
	// Commits fail with ErrReadOnly.
	ReadOnly bool
	// ErrorIfMissing fails with ErrNotExist rather than create a database.
	ErrorIfMissing bool
	// ErrorIfExists fails with ErrExists if there is a database already.
	ErrorIfExists bool
	// ResetClock goes by the system's clock even if the database has seen a later
	// time, as when the clock was years ahead once: Health says so. Values that
	// were taken for expired and are still stored show again until their time
	// comes; what was dropped stays gone. It is for one opening, not for every one.
	ResetClock bool

	internal engine.Options // what only tests set, through internal/private
}

func init() {
	private.SetTestOptions = func(o, to any) { o.(*Options).internal = to.(engine.Options) }
}

// engine translates to what the engine takes, and fills in the defaults.
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

// codecs and styles are what the constants above mean to the engine.
var (
	codecs = [...]compress.Codec{
		DefaultCompression: compress.Default, NoCompression: compress.None, LZ4: compress.LZ4, S2: compress.S2, Zstd: compress.Zstd,
	}
	styles = [...]compaction.Style{LazyLeveled: compaction.LazyLeveled, Leveled: compaction.Leveled}
)

// codec translates; an unknown value is left for the engine to refuse.
func (c Compression) codec() compress.Codec {
	if int(c) < len(codecs) {
		return codecs[c]
	}
	return compress.Codec(c)
}

// style translates as codec does.
func (s CompactionStyle) style() compaction.Style {
	if int(s) < len(styles) {
		return styles[s]
	}
	return compaction.Style(s)
}
