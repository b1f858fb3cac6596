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
	covers  map[base.FileNum]compaction.Cover
}

// of finds out, or remembers, what range tombstones delete for all readers;
// stripes are as in compaction.RunOptions.
func (c *coverage) of(e *Engine, stripes []base.SeqNum) map[base.FileNum]compaction.Cover {
	s, shard := e.acquire()
	if s == nil {
		return nil
	}
	defer s.release(shard)
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
		c.covers = compaction.Covers(s.v.version, stripes, func(f *manifest.FileMeta) *rangedel.List { return lists[f.Num] })
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
		if rd, err := t.open(); err == nil && rd.Ranges() != nil {
			into[t.meta.Num] = rd.Ranges()
		}
	}
}

// flushDeletes flushes range deletes that wait in the memtable, when that frees
// more than it writes. It is for when nobody writes: the memtable might not be
// full for long, and the tables that they delete would stay until then.
func (b *background) flushDeletes() {
	e := b.e
	if e.opts.ManualOnly || !e.worthFlushing() {
		return
	}
	e.commit.mu.Lock()
	defer e.commit.mu.Unlock()
	if e.commit.refused != nil || e.commit.gen.empty() || len(e.state.Load().imm) >= maxImmutable {
		return
	}
	b.report("flush", e.rotate(0))
}

// worthFlushing reports whether range deletes in the memtable cover more tables
// than a flush of it would write.
func (e *Engine) worthFlushing() bool {
	s, shard := e.acquire()
	if s == nil {
		return false
	}
	defer s.release(shard)
	others := s.mem.others.Load()
	if s.mem.mem.Ranges() == nil && (others == nil || others.Ranges() == nil) {
		return false
	}
	stripes := e.snaps.stripes(e.visibleSeq)
	bytes := uint64(s.mem.mem.Bytes())
	ids := []uint32{0}
	if others != nil {
		bytes += uint64(others.Bytes())
		ids = append(ids, spacesIn([]*generation{s.mem})...)
	}
	covered := uint64(0)
	for _, id := range ids {
		k := e.space(id)
		if k == nil {
			continue
		}
		if l := s.mem.rangeList(k); l != nil {
			covered += compaction.CoveredBytes(s.v.version, id, stripes, l)
		}
	}
	return covered > bytes
}
