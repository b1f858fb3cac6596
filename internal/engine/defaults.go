package engine

import (
	"runtime"
	"time"

	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/memlimit"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// The defaults, and how they were found.
const (
	// defaultMemoryBudget: at most a quarter of what the process may take, because
	// the garbage collector lets the program's heap grow to twice what is in use.
	defaultMemoryBudget = 512 << 20
	limitShare          = 4
	minMemoryBudget     = 1 << 20
	defaultMemtableSize = 64 << 20
	// defaultPageSize: see the ablation in docs/BENCHMARKS.md; 4 KiB costs
	// twice the index for no faster read, 16 KiB slows reads that miss the
	// cache.
	defaultPageSize = 8 << 10
	// defaultTableSize: small tables let a compaction take just what it needs;
	// below 8 MiB syncing each of them begins to show.
	defaultTableSize = 8 << 20
	// defaultValueThreshold: below about 1 KiB an extra read per value costs
	// more than rewriting it (WiscKey, FAST 2016; BlobDB's experience).
	defaultValueThreshold = 1 << 10
	defaultFilterBits     = 10
	// The defaults of OpenFiles. The rest of the limit is for logs, the manifest,
	// the files that jobs write, and the program.
	defaultOpenFiles = 4096
	otherDescriptors = 16
	minOpenFiles     = 4
	// defaultPartitions: they split the locks of writers, not the order of keys,
	// so they cost iterators nothing.
	defaultPartitions = 16
	defaultL0Trigger  = 4
	l0SlowdownFactor  = 3 // writers are slowed from 3 x the trigger
	l0StopFactor      = 9 // and stopped at 9 x
)

// WithDefaults returns the options with defaults in place of zeros, except for Logger and
// Listener, which may be nil, and Codec, whose zero is a codec. A negative ValueThreshold
// means never, and negative FilterBits mean none: both become the 0 that Open expects.
func (o Options) WithDefaults() Options {
	tree := compaction.DefaultConfig()
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	o.Durability = orDefault(o.Durability, Sync)
	if o.OpenFiles == 0 {
		o.OpenFiles = openFiles()
	}
	if o.MemoryBudget == 0 {
		o.MemoryBudget = memoryBudget(memlimit.Limit())
	}
	o.MemtableSize = orDefault(o.MemtableSize, int(min(defaultMemtableSize, max(o.MemoryBudget/8, 64<<10))))
	o.Partitions = orDefault(o.Partitions, defaultPartitions)
	o.PageSize = orDefault(o.PageSize, defaultPageSize)
	o.TableSize = orDefault(o.TableSize, defaultTableSize)
	o.ValueThreshold = max(orDefault(o.ValueThreshold, defaultValueThreshold), 0)
	o.FilterBits = max(orDefault(o.FilterBits, defaultFilterBits), 0)
	o.DeadMin = orDefault(o.DeadMin, dbiter.DefaultDeadMin)
	o.FoldFrom = orDefault(o.FoldFrom, dbiter.DefaultFoldFrom)
	o.PackFrom = orDefault(o.PackFrom, tree.PackFrom)
	o.PackedMax = orDefault(o.PackedMax, int(tree.PackedMax))
	o.PackSlack = orDefault(o.PackSlack, int64(tree.PackSlack))
	o.MaxCompactions = orDefault(o.MaxCompactions, min(max(runtime.GOMAXPROCS(0)/2, 1), 4))
	o.L0Trigger = orDefault(o.L0Trigger, defaultL0Trigger)
	o.L0Slowdown, o.L0Stop = o.L0Trigger*l0SlowdownFactor, o.L0Trigger*l0StopFactor
	// The size of L0 when it is merged down: tables take about two thirds of the
	// memtable's bytes.
	o.BaseLevelBytes = orDefault(o.BaseLevelBytes, max(int64(o.L0Trigger)*int64(o.MemtableSize)*13/20, o.TableSize))
	return o
}

// openFiles returns the default of OpenFiles.
func openFiles() int {
	n, ok := vfs.DescriptorLimit()
	if !ok {
		return defaultOpenFiles
	}
	return max(n/2-otherDescriptors, minOpenFiles)
}

// memoryBudget returns the default of MemoryBudget if the process may take limit
// bytes; 0 means no limit.
func memoryBudget(limit int64) int64 {
	if limit == 0 {
		return defaultMemoryBudget
	}
	return min(defaultMemoryBudget, max(limit/limitShare, minMemoryBudget))
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
