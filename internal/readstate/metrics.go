package readstate

import (
	"context"

	"github.com/seerdb-go/seerdb/internal/latency"
	"github.com/seerdb-go/seerdb/observe"
)

// TableMetrics adds the figures of the tables and value files of a state.
// m.Levels has an element for each level.
func (s *State) TableMetrics(m *observe.Metrics) {
	for _, t := range s.v.trees {
		for l := range t.Levels {
			m.Levels[l].Runs = max(m.Levels[l].Runs, len(t.Levels[l]))
		}
	}
	s.v.eachTable(func(l int, t *Table) {
		lm := &m.Levels[l]
		lm.Files++
		lm.Bytes += int64(t.Meta.Size)
		lm.Entries += int64(t.Meta.Entries)
		lm.Deletes += int64(t.Meta.Deletes)
		addIndex(&m.Index, t.props.Load())
		if r := t.reader.Load(); r != nil {
			addFilter(&m.Memory, r)
		}
	})
	for _, f := range s.v.version.Values {
		m.Values.Files++
		m.Values.Bytes += int64(f.Bytes)
		m.Values.Garbage += int64(f.Garbage())
	}
}

// IndexMetrics describes the indexes of all tables. It reads the ends of tables
// that were not read yet, and keeps only the figures in memory.
func (s *State) IndexMetrics(ctx context.Context) (m observe.IndexMetrics, err error) {
	s.v.eachTable(func(_ int, t *Table) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && t.props.Load() == nil {
			err = t.readProps()
		}
		addIndex(&m, t.props.Load())
	})
	return m, err
}

// addIndex adds the figures of a table's index, if known.
func addIndex(m *observe.IndexMetrics, p *indexProps) {
	if p == nil {
		return
	}
	m.Tables++
	m.Pages += p.pages
	m.LearnedPages += p.learnedPages
	m.FencePages += p.fencePages
	m.Windows += p.segments - p.fencePages // a segment is a model, or a fence of one page
	m.Bytes += p.indexBytes
	m.FilterBytes += p.filterBytes
	m.Entries += p.entries
	if p.learnedPages == 0 && p.pages > 1 {
		m.FallbackTables++
	}
}

// Gets returns the latency of point reads.
func (st *Store) Gets() observe.Latency {
	var all latency.Sampler
	for i := range st.reads {
		all.Count.Add(st.reads[i].Count.Load())
		all.Histogram.Merge(&st.reads[i].Histogram)
	}
	return all.Latency()
}

// LevelReads adds the counts of point reads in a level.
func (st *Store) LevelReads(l int, m *observe.LevelMetrics) {
	for i := range st.reads {
		c := &st.reads[i].levels[l]
		m.Reads += c.reads.Load()
		m.FilterNegatives += c.negatives.Load()
		m.FilterFalsePositives += c.falsePositives.Load()
		m.UnfilteredReads += c.unfiltered.Load()
		m.PageReads += c.pages.Load()
	}
}

// ValueReads returns how many values point reads read from value files.
func (st *Store) ValueReads() (n int64) {
	for i := range st.reads {
		n += st.reads[i].values.Load()
	}
	return n
}
