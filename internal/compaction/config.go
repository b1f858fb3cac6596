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

// Config has the parameters of Pick.
type Config struct {
	Style Style
	// L0Trigger is the number of runs at which level 0 is merged down.
	L0Trigger int
	// BaseLevelBytes is roughly the size of level 0 when it is merged down: the
	// trigger times the size of a flush.
	BaseLevelBytes uint64
	// MaxRuns is the number of runs that an inner level of a lazy-leveled tree
	// gathers.
	MaxRuns int
	// SizeRatio is how much larger an inner level of a leveled tree is than the
	// one above it.
	SizeRatio int
	// SpaceTarget is the space that all tables may take for each byte in the
	// last level. It bounds the space amplification when every write
	// overwrites.
	SpaceTarget float64
	// TableSize is the size at which a table ends.
	TableSize uint64
	// ValueFileSize is the size at which a value file ends. If it is 0 value
	// files are never joined.
	ValueFileSize uint64
	// TombstoneDensity is how many bytes tombstones must promise to free for
	// each byte that merging them down costs.
	TombstoneDensity float64
	// PackFrom is the number of keyspaces above which a job writes packs; for
	// fewer keyspaces the shared file is not worth its space. PackedMax is the
	// size beyond which a table gets a file of its own. PackSlack is how much
	// garbage packs may hold in addition to the size of their live tables.
	PackFrom             int
	PackedMax, PackSlack uint64
	// ValueSpaceTarget is how many bytes value files may take for each
	// referenced byte in them; 0 collects no garbage.
	ValueSpaceTarget float64
}

// DefaultConfig returns the parameters for a memtable of 64 MiB.
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

// smallTable returns the size from which a table counts as large.
func (c *Config) smallTable() uint64 { return c.TableSize / 4 }

// smallValues returns the size from which a value file counts as large.
func (c *Config) smallValues() uint64 { return c.ValueFileSize / 4 }

// isSmall reports whether a reference points to a small value file.
func (c *Config) isSmall(v *manifest.Version, ref manifest.ValueRef) bool {
	f := v.Values[ref.File]
	return f != nil && f.Bytes < c.smallValues()
}
