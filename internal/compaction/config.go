package compaction

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Style is how runs are arranged in the inner levels.
type Style uint8

// The styles.
const (
	Leveled     Style = iota // one run in every level below 0
	LazyLeveled              // several runs in the inner levels, one in the last
)

// Config are the numbers that Pick works with.
type Config struct {
	Style Style
	// L0Trigger is the number of runs in level 0 from which they are merged
	// down.
	L0Trigger int
	// BaseLevelBytes is about what level 0 holds when it is merged down: the
	// trigger times the size of a flush.
	BaseLevelBytes uint64
	// MaxRuns is the number of runs that an inner level of a lazy-leveled tree
	// gathers.
	MaxRuns int
	// SizeRatio is how much larger an inner level of a leveled tree is than the
	// one above it.
	SizeRatio int
	// SpaceTarget is the space that the tables may take for each byte of those
	// in the last level: the bound of space amplification when everything
	// written is overwritten.
	SpaceTarget float64
	// TableSize is the length at which a table ends.
	TableSize uint64
	// ValueFileSize is the length at which a value file ends; 0 joins none.
	ValueFileSize uint64
	// TombstoneDensity is how many bytes tombstones must promise to free for
	// each byte that their way down costs.
	TombstoneDensity float64
	// PackFrom is how many keyspaces a job must write for to make packs: for fewer it
	// is not worth that a table shares its file, and the space of it. PackedMax is
	// the size beyond which a table gets a file of its own, and PackSlack how much of
	// packs may be garbage besides as much as lives.
	PackFrom             int
	PackedMax, PackSlack uint64
	// ValueSpaceTarget is how many bytes value files may take for each byte
	// that is referenced in them; 0 collects nothing.
	ValueSpaceTarget float64
}

// DefaultConfig is for a memtable of 64 MiB.
func DefaultConfig() Config {
	return Config{
		Style:            LazyLeveled,
		L0Trigger:        4,
		BaseLevelBytes:   256 << 20,
		MaxRuns:          6,
		SizeRatio:        4,
		SpaceTarget:      1.25,
		TableSize:        8 << 20,
		ValueFileSize:    16 << 20,
		TombstoneDensity: 0.5,
		ValueSpaceTarget: 1.25,
		PackFrom:         8,
		PackedMax:        64 << 10,
		PackSlack:        8 << 20,
	}
}

const lastLevel = base.NumLevels - 1

// smallTable returns the size from which on a table is large enough to stay.
func (c *Config) smallTable() uint64 { return c.TableSize / 4 }

// smallValues returns the same of value files.
func (c *Config) smallValues() uint64 { return c.ValueFileSize / 4 }

// isSmall reports whether a reference is to a small value file.
func (c *Config) isSmall(v *manifest.Version, ref manifest.ValueRef) bool {
	f := v.Values[ref.File]
	return f != nil && f.Bytes < c.smallValues()
}
