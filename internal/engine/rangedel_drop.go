package engine

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
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
	s, shard := e.keep() // for it may wait for room for a table
	if s == nil {
		return nil
	}
	defer s.letGo(shard)
	if s.v.version == c.version && slices.Equal(stripes, c.stripes) {
		return c.covers
	}
	lists := make(map[base.FileNum]*rangedel.List)
	for _, t := range s.v.trees {
		for l := range t.levels {
			for i := range t.levels[l] {
				t.levels[l][i].rangeLists(lists)
			}
		}
	}
	*c = coverage{version: s.v.version, stripes: stripes}
	if len(lists) > 0 {
		c.covers = compaction.RangeDeletedTables(s.v.version, stripes, func(f *manifest.FileMeta) *rangedel.List { return lists[f.Num] })
	}
	return c.covers
}

// rangeLists adds the range tombstones of the run's tables. Of a table that
// does not open none are known, which only means that less can be done.
func (r *tableRun) rangeLists(into map[base.FileNum]*rangedel.List) {
	if !r.ranges {
		return
	}
	for _, t := range r.tables {
		if t.meta.Ranges == 0 {
			continue
		}
		if rd, err := t.use(); err == nil {
			if l := rd.Ranges(); l != nil {
				into[t.meta.Num] = l
			}
			_ = rd.Close() // the list stays
		}
	}
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
	e.commit.mu.Lock()
	defer e.commit.mu.Unlock()
	if e.commit.refused != nil || e.commit.gen.Mem.Empty() || e.queueFull(e.state.Load()) {
		return
	}
	e.wantTurn(0)
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
	s, shard := e.acquire()
	if s == nil {
		return false
	}
	defer s.release(shard)
	stripes := e.snaps.stripes(e.visibleSeq)
	now := weighing{visible: s.visible(), oldest: stripes[0], tables: s.v.version}
	if b.weighed == now || s.active.Mem.Empty() {
		return false
	}
	b.weighed = now
	bytes := uint64(s.active.Mem.Bytes())
	ids := append([]uint32{0}, s.active.Mem.Keyspaces()...)
	hidden := uint64(0)
	for _, id := range ids {
		k := e.space(id)
		if k == nil {
			continue
		}
		if l := s.active.Mem.RangeList(k.id); l != nil {
			hidden += compaction.RangeDeletedBytes(s.v.version, id, stripes, l)
		}
		hidden += s.hiddenBytes(k, stripes[0])
	}
	return hidden > bytes
}

// weighKeys is how many keys of a memtable, and of each keyspace, are looked up
// to weigh it.
const weighKeys = 256

// hiddenBytes estimates what the entries of the active memtable, as far as every
// snapshot sees them, hide in the tables of a keyspace: of some of its keys it
// asks the filters, and takes what they hide to be of the average size in that
// table.
func (s *state) hiddenBytes(k *Keyspace, oldest base.SeqNum) uint64 {
	if s.v.of(k) == &noLevels {
		return 0
	}
	it := s.active.Mem.AllIter(k.id)
	if it == nil {
		return 0
	}
	defer func() { _ = it.Close() }()
	step := max(s.active.Mem.Len()/weighKeys, 1)
	n, hidden := 0, 0.0
	for kv := it.First(); kv != nil; kv = it.Next() {
		if n++; n%step != 0 || kv.Trailer.Kind() == base.KindMerge || kv.Trailer.Seq() > oldest {
			continue
		}
		hidden += s.entryBytes(k, kv.Key) * float64(step)
	}
	return uint64(hidden)
}

// entryBytes is about what the newest entry of a key takes in tables, with its
// value.
func (s *state) entryBytes(k *Keyspace, key []byte) float64 {
	hash := base.Hash(key)
	ls := s.v.of(k)
	for l := range ls {
		for i := range ls[l] {
			t := ls[l][i].find(key)
			if t == nil {
				continue
			}
			if r, err := t.open(true); err != nil || !r.MayContain(hash) {
				continue
			}
			return float64(t.meta.Size+t.meta.ValueBytes()) / float64(max(t.meta.Entries, 1))
		}
	}
	return 0
}
