package jobs

import (
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/generation"
)

// This file holds what the dispatcher does about a database at rest.

// flushDeletes flushes what waits in the memtable when that frees more than it
// writes: range deletes that cover tables, deletes of keys, and values that
// replace larger ones. It is for when there are no writes: the memtable might not be
// full for long, and what it hides would stay until then.
func (js *Jobs) flushDeletes() {
	if js.env.ManualOnly || !js.worthFlushing() {
		return
	}
	js.env.Commit.RetireSoon()
}

// worthFlushing reports whether what the memtable hides in tables is more than a
// flush of it would write. Only the dispatcher asks; of a database at rest that
// was weighed already it is answered at once.
func (js *Jobs) worthFlushing() bool {
	s, shard := js.env.Store.Acquire()
	if s == nil {
		return false
	}
	defer s.Release(shard)
	stripes := js.env.Store.Snapshots.Stripes()
	now := weighing{visible: s.Visible(), oldest: stripes[0], tables: s.Version()}
	if js.idling.weighed == now || s.Active.Mem.Empty() {
		return false
	}
	js.idling.weighed = now
	bytes := uint64(s.Active.Mem.Bytes())
	hidden := uint64(0)
	for _, id := range keyspacesOf([]*generation.Generation{s.Active}) {
		k := js.env.Keyspaces.Get(id)
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
