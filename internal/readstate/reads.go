package readstate

import (
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/latency"
	"github.com/seerdb-go/seerdb/observe"
)

// readStats is one shard of what point reads count: they are sharded like the reference
// counters of the state.
type readStats struct {
	latency.Sampler
	values atomic.Int64
	levels [base.NumLevels]struct {
		reads, negatives, falsePositives, unfiltered, pages atomic.Int64
	}
	_ [64]byte
}

// Gets describes how long point reads take.
func (st *Store) Gets() observe.Latency {
	var all latency.Sampler
	for i := range st.reads {
		all.Count.Add(st.reads[i].Count.Load())
		all.Histogram.Merge(&st.reads[i].Histogram)
	}
	return all.Latency()
}

// LevelReads adds what point reads counted for a level.
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

// ValueReads is how many values point reads took out of value files.
func (st *Store) ValueReads() (n int64) {
	for i := range st.reads {
		n += st.reads[i].values.Load()
	}
	return n
}
