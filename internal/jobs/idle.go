package jobs

import (
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/generation"
)

// This file serves databases without writes.

// flushDeletes requests a flush of the memtable if that frees more than it
// writes: range deletes that cover tables, deletes of keys, and values that
// replace larger ones. The dispatcher calls it when there are no writes: otherwise the
// space would stay taken until the memtable is full, which may be long.
func (js *Jobs) flushDeletes() {
	if js.env.ManualOnly || !js.worthFlushing() {
		return
	}
	js.env.Commit.RetireSoon()
}

// worthFlushing reports whether the memtable hides more bytes in tables than its
// flush would write. Only the dispatcher calls it; if nothing changed since the last
// call, it returns false at once.
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
