package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/observe"
)

// Metrics gathers the counters.
func (e *Engine) Metrics() *observe.Metrics {
	m := &observe.Metrics{
		VisibleSeq:   uint64(e.store.Visible()),
		Iterators:    e.open.Iterators(),
		Transactions: e.open.Transactions(),
		Uptime:       time.Since(e.opened),
	}
	n, oldest := e.store.Snapshots.Summary()
	m.Snapshots, m.OldestSnapshotSeq = int64(n)-m.Transactions, uint64(oldest)
	m.Ops.Get, m.Ops.Seek = e.store.Gets(), e.store.Seeks.Latency()
	if s, shard := e.store.Acquire(); s != nil {
		treeMetrics(e, m, s)
		s.Release(shard)
	}
	e.commit.Metrics(m)
	e.jobs.Metrics(m)
	memoryMetrics(e, m)
	ioMetrics(e, m)
	return m
}

// treeMetrics describes memtables, levels and value files of a state.
func treeMetrics(e *Engine, m *observe.Metrics, s *readstate.State) {
	m.Memtable.Active = s.Active.Mem.Bytes()
	m.Memtable.Entries = int64(s.Active.Mem.Len())
	m.Memtable.Queue = len(s.Imm)
	for i, g := range s.Generations() {
		if i > 0 {
			m.Memtable.Immutable += g.Mem.Bytes()
			m.Memtable.Entries += int64(g.Mem.Len())
		}
		if g.Num != 0 {
			m.Log.Segments++ // with NoWAL an empty file
		}
		if g.Log != nil {
			m.Log.Bytes += g.Log.Size()
		}
	}
	m.Levels = make([]observe.LevelMetrics, base.NumLevels)
	for l := range m.Levels {
		m.Levels[l].Level = l
		e.store.LevelReads(l, &m.Levels[l])
	}
	s.TableMetrics(m)
}

// IndexMetrics describes the indexes of all tables. It reads the ends of tables that
// were not read yet, and keeps nothing else of those tables in memory.
func (e *Engine) IndexMetrics(ctx context.Context) (m observe.IndexMetrics, err error) {
	s, shard := e.store.Keep()
	if s == nil {
		return m, base.ErrClosed
	}
	defer s.LetGo(shard)
	m, err = s.IndexMetrics(ctx)
	m.Training, m.BuildTime = e.jobs.IndexTimes()
	return m, err
}

func memoryMetrics(e *Engine, m *observe.Metrics) {
	c := e.cache.Stats()
	m.Cache = observe.CacheMetrics{Hits: int64(c.Hits), Misses: int64(c.Misses), Evictions: int64(c.Evictions), Shared: int64(c.Waits), Bytes: c.Bytes, Capacity: c.Budget}
	mm := &m.Memory
	mm.Budget, mm.TablesLimit = e.opts.MemoryBudget, e.store.TablesLimit()
	mm.Pages, mm.Memtables, mm.Tables = c.Charged[cache.Pages], c.Charged[cache.Memtables], c.Charged[cache.Tables]
	mm.Transactions, mm.Loads, mm.Heap = c.Charged[cache.Transactions], c.Charged[cache.Loads], c.Charged[cache.Heap]
	mm.Iterators = e.open.IterBytes()
	mm.Used = mm.Pages + mm.Memtables + mm.Tables + mm.Iterators + mm.Transactions + mm.Loads + mm.Heap
	f := e.dir.files.Stats()
	m.Files = observe.FileMetrics{Open: f.Open, Limit: f.Limit, Most: f.Max, Opens: int64(f.Opens), Closes: int64(f.Closes), Refusals: int64(f.Refusals)}
}

// ioMetrics reports I/O as counted at the file layer. (The original seerdb counted above
// it, and published a write amplification of 1.01.)
func ioMetrics(e *Engine, m *observe.Metrics) {
	io := func(types ...base.FileType) (f observe.FileIO) {
		for _, t := range types {
			s := e.dir.io.Stats(t)
			f.BytesWritten += int64(s.BytesWritten)
			f.BytesRead += int64(s.BytesRead)
			f.Writes += int64(s.Writes)
			f.Reads += int64(s.Reads)
			f.Syncs += int64(s.Syncs)
		}
		return f
	}
	m.IO.Log, m.IO.Values, m.IO.Manifest = io(base.FileTypeLog), io(base.FileTypeValues), io(base.FileTypeManifest)
	m.IO.Tables = io(base.FileTypeTable, base.FileTypePack)
	m.Log.BytesWritten, m.Log.Writes, m.Log.Syncs = m.IO.Log.BytesWritten, m.IO.Log.Writes, m.IO.Log.Syncs
	var deepest, live int64
	for _, l := range m.Levels {
		m.IO.Tables.Files += l.Files
		m.IO.Tables.Bytes += l.Bytes
		if l.Bytes > 0 {
			deepest = l.Bytes
		}
	}
	files, bytes := e.store.Packed()
	m.IO.Tables.Files += files
	m.IO.Tables.Bytes += bytes
	m.IO.Values.Files, m.IO.Values.Bytes = m.Values.Files, m.Values.Bytes
	live = deepest + m.Values.Bytes - m.Values.Garbage
	if live > 0 {
		m.IO.SpaceAmplification = float64(m.IO.Tables.Bytes+m.IO.Values.Bytes) / float64(live)
	}
	if m.UserBytes > 0 {
		data := m.IO.Tables.BytesWritten + m.IO.Values.BytesWritten
		m.IO.WriteAmplification = float64(data) / float64(m.UserBytes)
		m.IO.WriteAmplificationWithLog = float64(data+m.IO.Log.BytesWritten) / float64(m.UserBytes)
	}
	if n := m.Ops.Get.Count; n > 0 {
		m.IO.ReadAmplification = float64(m.Cache.Misses+e.store.ValueReads()) / float64(n)
	}
}

// Health reports whether everything works. It takes no lock that is held over disk
// I/O.
func (e *Engine) Health() observe.Health {
	h := observe.Health{}
	worse := func(s observe.Status, reason string) {
		h.Status = max(h.Status, s)
		h.Reasons = append(h.Reasons, reason)
	}
	h.Err = e.commit.Refused()
	switch {
	case e.store.Closed():
		h.Err = base.ErrClosed
		worse(observe.ReadOnly, "the database is closed")
		return h
	case h.Err != nil:
		worse(observe.ReadOnly, h.Err.Error())
	}
	if err := e.commit.Refusing(); err != nil && h.Err == nil {
		h.Err = err
		worse(observe.Degraded, "commits are refused: "+err.Error())
	}
	for _, err := range e.jobs.Errors() {
		worse(observe.Degraded, err.Error())
	}
	if f := e.dir.files.Stats(); f.Refused {
		worse(observe.Degraded, fmt.Sprintf("the system had no descriptor left for a file; at most %d tables and value files are kept open instead of %d, and reads open them again", f.Limit, f.Max))
	}
	if p := e.commit.Pinning(); p != "" {
		worse(observe.Degraded, p)
	}
	if p := e.store.Unfiltered(); p != "" {
		worse(observe.Degraded, p)
	}
	if p := e.report.Panicked(); p != nil {
		worse(observe.Degraded, p.Error())
	}
	for _, o := range e.open.Old() {
		worse(observe.Degraded, o)
	}
	e.clock.Health(worse)
	if r := e.commit.Stats.Stopped(); r != "" {
		worse(observe.Degraded, "writers are stopped: "+r)
	} else if rate := e.commit.Slowed(); rate != 0 {
		worse(observe.Degraded, fmt.Sprintf("writers are slowed to %d bytes a second while compaction catches up", rate))
	}
	return h
}
