package jobs

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/latency"
	"github.com/seerdb-go/seerdb/observe"
)

// stats are the counters of jobs behind Metrics. All fields are atomic.
type stats struct {
	flush, compact jobStats
	reasons        sync.Map // string -> *atomic.Int64
	levels         [base.NumLevels]struct{ in, out, jobs atomic.Int64 }
	rewritten      atomic.Int64 // bytes of values moved out of garbage
	versions       versionStats
	training       atomic.Int64 // ns
	building       atomic.Int64 // ns
}

type jobStats struct {
	hist                     latency.Histogram
	count, failures, in, out atomic.Int64
	time                     atomic.Int64
	running                  atomic.Int64
}

// versionStats counts what flushes and compactions did with versions.
type versionStats struct {
	expired, rangeCovered, merged, mergeFailures, filtered, singleDeleteMisuse atomic.Int64
}

func (v *versionStats) add(s *compaction.Stats) {
	v.expired.Add(int64(s.Expired))
	v.rangeCovered.Add(int64(s.RangeCovered))
	v.merged.Add(int64(s.Merged))
	v.mergeFailures.Add(int64(s.MergeFailures))
	v.filtered.Add(int64(s.Filtered))
	v.singleDeleteMisuse.Add(int64(s.SingleDeleteMisuse))
}

func (v *versionStats) metrics(m *observe.Metrics) {
	m.Expired, m.RangeCovered = v.expired.Load(), v.rangeCovered.Load()
	m.Merged, m.MergeFailures = v.merged.Load(), v.mergeFailures.Load()
	m.Filtered, m.SingleDeleteMisuse = v.filtered.Load(), v.singleDeleteMisuse.Load()
}

// done records a finished job.
func (j *jobStats) done(begin time.Time, in, out int64) {
	d := time.Since(begin)
	j.hist.Record(d)
	j.count.Add(1)
	j.in.Add(in)
	j.out.Add(out)
	j.time.Add(int64(d))
}

// reason counts a finished compaction by the reason it was picked.
func (s *stats) reason(r string) {
	c, ok := s.reasons.Load(r)
	if !ok {
		c, _ = s.reasons.LoadOrStore(r, new(atomic.Int64))
	}
	c.(*atomic.Int64).Add(1)
}

func (s *stats) byReason() map[string]int64 {
	out := map[string]int64{}
	s.reasons.Range(func(k, v any) bool {
		out[k.(string)] = v.(*atomic.Int64).Load()
		return true
	})
	return out
}

// level sets the fields of a level that compactions count.
func (s *stats) level(l int, m *observe.LevelMetrics) {
	m.BytesIn, m.BytesOut, m.Compactions = s.levels[l].in.Load(), s.levels[l].out.Load(), s.levels[l].jobs.Load()
}

func (j *jobStats) metrics() observe.JobMetrics {
	return observe.JobMetrics{
		Count: j.count.Load(), Failures: j.failures.Load(), BytesIn: j.in.Load(), BytesOut: j.out.Load(),
		Duration: time.Duration(j.time.Load()), Running: int(j.running.Load()),
	}
}
