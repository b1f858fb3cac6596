package engine

import (
	"log/slog"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/observe"
)

// Options configure an engine. Open takes them with every field but Logger set: see
// WithDefaults.
type Options struct {
	FS       vfs.FS
	Logger   *slog.Logger // nil: nothing is logged
	Listener observe.EventListener

	Durability   Durability
	SyncInterval time.Duration // of Buffered commits; 0 = no periodic syncs

	OpenFiles int // tables and value files open at once; at least one

	MemoryBudget int64 // bytes: memtables, page cache, table metadata, iterators
	MemtableSize int   // bytes of one generation's arena
	Partitions   int   // of a memtable, a power of two 1..64
	NoCache      bool  // pages are not kept

	PageSize   int
	TableSize  int64
	Codec      compress.Codec
	FilterBits float64 // bits a key in the filters; 0 = no filters
	Index      sstable.IndexMode

	ValueThreshold int               // values at least this long go to value files; 0 = never
	Merger         base.Merger       // of the default keyspace; nil = none
	Filter         compaction.Filter // of the default keyspace; nil = none

	Clock   func() time.Time
	Elapsed func(time.Time) time.Duration // elapsed time at a reading of Clock; nil = differences of readings
	// ResetClock makes Open trust the system's clock even if the saved time is ahead
	// of it.
	ResetClock bool
	DeadMin    int // dead keys in a row for which an iterator leaves a hint
	FoldFrom   int // operands of a key from which on iterators keep the merged value
	PackFrom   int // jobs for more keyspaces than this put small tables into packs
	PackedMax  int // see compaction.Config, as PackSlack
	PackSlack  int64

	Style          compaction.Style
	L0Trigger      int   // L0 runs that start a compaction
	L0Slowdown     int   // L0 runs at which writers begin to be slowed
	L0Stop         int   // L0 runs at which writers are stopped
	BaseLevelBytes int64 // size of the first level below L0
	MaxCompactions int   // background jobs at once, flush not counted
	ManualOnly     bool  // only Compact compacts: for tests

	ReadOnly       bool
	ErrorIfExists  bool
	ErrorIfMissing bool
}

func (o *Options) validate() error {
	bad := base.BadOption
	switch {
	case o.Durability < NoWAL || o.Durability > Sync:
		return bad("Durability is %d; expected NoWAL, Relaxed, Buffered or Sync", o.Durability)
	case o.SyncInterval < 0:
		return bad("SyncInterval is %v; expected 0 or more", o.SyncInterval)
	case o.SyncInterval > 0 && o.Durability != Buffered:
		return bad("SyncInterval is %v with Durability %v; it belongs to Buffered", o.SyncInterval, o.Durability)
	case o.MemtableSize < 256:
		return bad("MemtableSize is %d bytes; expected at least 256", o.MemtableSize)
	case o.MemoryBudget < 0:
		return bad("MemoryBudget is %d bytes; expected 0 or more", o.MemoryBudget)
	case o.OpenFiles < 1:
		return bad("OpenFiles is %d; expected at least 1", o.OpenFiles)
	case o.Partitions < 1 || o.Partitions > 64 || o.Partitions&(o.Partitions-1) != 0:
		return bad("Partitions is %d; expected a power of two from 1 to 64", o.Partitions)
	case o.PageSize < 32 || o.PageSize > 1<<20:
		return bad("PageSize is %d bytes; expected 32 to 1 MiB", o.PageSize)
	case o.TableSize < 256:
		return bad("TableSize is %d bytes; expected at least 256", o.TableSize)
	case !o.Codec.Valid():
		return keyspace.BadCodec(o.Codec)
	case o.Style != compaction.Leveled && o.Style != compaction.LazyLeveled:
		return bad("CompactionStyle is %d; expected LazyLeveled or Leveled", o.Style)
	case !(o.FilterBits >= 0 && o.FilterBits <= 64): // NaN neither
		return bad("FilterBits is %v; expected at most 64, or less than 0 for no filters", o.FilterBits)
	case o.MaxCompactions < 1 || o.MaxCompactions > 64:
		return bad("MaxCompactions is %d; expected 1 to 64", o.MaxCompactions)
	case o.ErrorIfExists && o.ErrorIfMissing:
		return bad("ErrorIfExists and ErrorIfMissing exclude each other")
	case o.ErrorIfExists && o.ReadOnly:
		return bad("ErrorIfExists and ReadOnly exclude each other")
	}
	return nil
}

// compaction returns the configuration of the compaction picker.
func (o *Options) compaction() compaction.Config {
	c := compaction.DefaultConfig()
	c.Style = o.Style
	c.L0Trigger = o.L0Trigger
	c.BaseLevelBytes = uint64(o.BaseLevelBytes)
	c.TableSize = uint64(o.TableSize)
	c.ValueFileSize = uint64(max(o.TableSize*2, 1<<12))
	c.PackFrom, c.PackedMax, c.PackSlack = o.PackFrom, uint64(o.PackedMax), uint64(o.PackSlack)
	return c
}
