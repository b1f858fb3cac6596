package api

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/observe"
)

// TestOpsAreThoseThatWereCalled: the counts of Metrics.Ops are compared with what the
// test did, and with what the listener saw of jobs; latencies with time that passed.
func TestOpsAreThoseThatWereCalled(t *testing.T) {
	var flushes, compactions, flushTime, compactTime atomic.Int64
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
		o.Listener.FlushEnd = func(e observe.FlushEvent) { flushes.Add(1); flushTime.Add(int64(e.Duration)) }
		o.Listener.CompactionEnd = func(e observe.CompactionEvent) {
			if !e.Move && !e.Drop {
				compactions.Add(1)
				compactTime.Add(int64(e.Duration))
			}
		}
	})
	begin := time.Now()
	if m := r.DB.Metrics().Ops; m != (observe.OpMetrics{
		Get: observe.Latency{Sampled: 64}, Commit: observe.Latency{Sampled: 64}, Seek: observe.Latency{Sampled: 64},
		Flush: observe.Latency{Sampled: 1}, Compaction: observe.Latency{Sampled: 1},
	}) {
		t.Errorf("before anything happened: %+v", m)
	}
	const puts, gets, seeks, rounds, readers = 70, 150, 9, 3, 4
	for round := range rounds {
		for i := range puts {
			dbtest.Must(t, r.DB.Put(fmt.Appendf(nil, "key%03d", i), fmt.Append(nil, round)))
		}
		dbtest.Must(t, r.Flush())
	}
	r.Compact()
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for i := range gets {
				_, err := r.DB.Get(fmt.Appendf(nil, "key%03d", i%puts))
				dbtest.Must(t, err)
			}
		})
	}
	wg.Wait()
	it, err := r.DB.NewIter(nil)
	dbtest.Must(t, err)
	for i := range seeks {
		it.SeekGE(fmt.Appendf(nil, "key%03d", i))
	}
	dbtest.Must(t, it.Close())
	m := r.DB.Metrics()
	dbtest.Must(t, r.DB.Close()) // every event was delivered
	took := time.Since(begin)
	for _, c := range []struct {
		name string
		l    observe.Latency
		want int64
		sum  time.Duration // if it is known
	}{
		{"Get", m.Ops.Get, readers * gets, 0}, {"Commit", m.Ops.Commit, rounds * puts, 0}, {"Seek", m.Ops.Seek, seeks, 0},
		{"Flush", m.Ops.Flush, rounds, m.Flushes.Duration}, {"Compaction", m.Ops.Compaction, compactions.Load(), m.Compactions.Duration},
	} {
		l := c.l
		if l.Count != c.want || c.want == 0 || !possible(l, took) || c.sum != 0 && l.Mean != c.sum/time.Duration(l.Count) {
			t.Errorf("%s: %+v in %v; there were %d, of %v in all", c.name, l, took, c.want, c.sum)
		}
	}
	if m.Flushes.Count != flushes.Load() || m.Compactions.Count != compactions.Load() || m.Flushes.Running+m.Compactions.Running != 0 {
		t.Errorf("%+v, %+v; the listener saw %d and %d", m.Flushes, m.Compactions, flushes.Load(), compactions.Load())
	}
	for name, d := range map[string][2]int64{"flushes": {int64(m.Flushes.Duration), flushTime.Load()}, "compactions": {int64(m.Compactions.Duration), compactTime.Load()}} {
		if d[0] > d[1]+int64(50*time.Millisecond) || d[1] > d[0]+int64(50*time.Millisecond) {
			t.Errorf("%s took %v; the listener saw %v", name, time.Duration(d[0]), time.Duration(d[1]))
		}
	}
}

// possible reports whether latencies are in order, and none is longer than all took.
func possible(l observe.Latency, took time.Duration) bool {
	return slices.IsSorted([]time.Duration{1, l.P50, l.P95, l.P99, l.P999, l.Max, took}) && l.Mean > 0 && l.Mean <= l.Max
}
