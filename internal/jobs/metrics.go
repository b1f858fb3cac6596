package jobs

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/observe"
)

// noteBuilt counts what a job did with versions and values, and warns of misused
// single deletes.
func (js *Jobs) noteBuilt(job int, st *compaction.Stats) {
	js.stats.rewritten.Add(int64(st.RewrittenBytes))
	js.stats.versions.add(st)
	js.stats.training.Add(int64(st.Training))
	js.stats.building.Add(int64(st.Duration))
	if n := st.SingleDeleteMisuse; n > 0 {
		js.env.Report.Logger.Warn("seerdb: a key was put more than once under a single delete, which was taken for a delete",
			"job", job, "keys", n)
	}
}

// Metrics adds what the jobs count.
func (js *Jobs) Metrics(m *observe.Metrics) {
	s := &js.stats
	m.Flushes, m.Compactions = s.flush.metrics(), s.compact.metrics()
	m.Ops.Flush, m.Ops.Compaction = s.flush.hist.Latency(1), s.compact.hist.Latency(1)
	m.CompactionsByReason = s.byReason()
	s.versions.metrics(m)
	for l := range m.Levels {
		s.level(l, &m.Levels[l])
	}
	m.Values.Rewritten = s.rewritten.Load()
	m.Index.Training, m.Index.BuildTime = js.IndexTimes()
}

// IndexTimes returns how long jobs have spent on tables since Open: on all of building them, and
// within that on training, which decides where pages end.
func (js *Jobs) IndexTimes() (training, building time.Duration) {
	return time.Duration(js.stats.training.Load()), time.Duration(js.stats.building.Load())
}
