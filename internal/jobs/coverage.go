package jobs

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// coverage caches which tables range tombstones delete. It is owned by the
// dispatcher.
type coverage struct {
	version *manifest.Version
	stripes []base.SeqNum
	covers  map[base.FileNum]compaction.RangeDeleted
}

// of returns the tables that range tombstones delete for all readers, from the cache
// if it is current; stripes are as in compaction.RunOptions.
func (c *coverage) of(store *readstate.Store, stripes []base.SeqNum) map[base.FileNum]compaction.RangeDeleted {
	s, shard := store.Keep() // not Acquire: of may wait for room for a table
	if s == nil {
		return nil
	}
	defer s.LetGo(shard)
	if s.Version() == c.version && slices.Equal(stripes, c.stripes) {
		return c.covers
	}
	lists := make(map[base.FileNum]*rangedel.List)
	s.EachTree(func(_ uint32, ls *readstate.Levels) {
		for l := range ls {
			for i := range ls[l] {
				ls[l][i].RangeLists(lists)
			}
		}
	})
	*c = coverage{version: s.Version(), stripes: stripes}
	if len(lists) > 0 {
		c.covers = compaction.RangeDeletedTables(s.Version(), stripes, func(f *manifest.FileMeta) *rangedel.List { return lists[f.Num] })
	}
	return c.covers
}

// weighing identifies the state in which the memtable was last weighed.
type weighing struct {
	visible, oldest base.SeqNum // sequences of the newest read and the oldest snapshot
	tables          *manifest.Version
}
