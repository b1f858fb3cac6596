package engine

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// coverage is which tables range tombstones delete, as last found out. It is
// owned by the dispatcher.
type coverage struct {
	version *manifest.Version
	stripes []base.SeqNum
	covers  map[base.FileNum]compaction.RangeDeleted
}

// of finds out, or remembers, what range tombstones delete for all readers;
// stripes are as in compaction.RunOptions.
func (c *coverage) of(e *Engine, stripes []base.SeqNum) map[base.FileNum]compaction.RangeDeleted {
	s, shard := e.store.Keep() // for it may wait for room for a table
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

// flushDeletes flushes what waits in the memtable when that frees more than it
// writes: range deletes that cover tables, deletes of keys, and values that
// replace larger ones. It is for when there are no writes: the memtable might not be
// full for long, and what it hides would stay until then.
func (b *background) flushDeletes() {
	e := b.e
	if e.opts.ManualOnly || !b.worthFlushing() {
		return
	}
	e.commit.RetireSoon()
}

// weighing is when the memtable was last weighed.
type weighing struct {
	visible, oldest base.SeqNum // as the newest read and the oldest snapshot see it
	tables          *manifest.Version
}

// worthFlushing reports whether what the memtable hides in tables is more than a
// flush of it would write. Only the dispatcher asks; of a database at rest that
// was weighed already it is answered at once.
func (b *background) worthFlushing() bool {
	e := b.e
	s, shard := e.store.Acquire()
	if s == nil {
		return false
	}
	defer s.Release(shard)
	stripes := e.store.Snapshots.Stripes()
	now := weighing{visible: s.Visible(), oldest: stripes[0], tables: s.Version()}
	if b.weighed == now || s.Active.Mem.Empty() {
		return false
	}
	b.weighed = now
	bytes := uint64(s.Active.Mem.Bytes())
	hidden := uint64(0)
	for _, id := range keyspacesOf([]*generation.Generation{s.Active}) {
		k := e.keyspaces.Get(id)
		if k == nil {
			continue
		}
		if l := s.Active.Mem.RangeList(k.ID()); l != nil {
			hidden += compaction.RangeDeletedBytes(s.Version(), id, stripes, l)
		}
		hidden += s.HiddenBytes(id, stripes[0])
	}
	return hidden > bytes
}
