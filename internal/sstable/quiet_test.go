package sstable

import (
	"slices"
	"testing"
	"time"
)

// batch is how many operations are timed together: few enough to be done
// within a time slice of the scheduler.
const batch = 256

// quiet runs op over and over in batches, and reports the tenth percentile of
// their times: what an operation takes while no other program has the processor. On
// a busy machine the mean that the testing package reports says more about the
// neighbours.
func quiet(b *testing.B, op func(i int)) {
	t := newTimes()
	for b.Loop() {
		t.run(op)
	}
	b.ReportMetric(t.percentile(10), "quiet-ns/op")
	b.ReportMetric(t.percentile(50), "median-ns/op")
	b.ReportMetric(0, "ns/op")
}

// versus times several ways to do one thing in turns, a batch each, so that
// what the machine does besides meets all of them alike.
func versus(rounds int, ops ...func(i int)) []*times {
	ts := make([]*times, len(ops))
	for k := range ts {
		ts[k] = newTimes()
	}
	for range rounds {
		for k, op := range ops {
			ts[k].run(op)
		}
	}
	return ts
}

// times are nanoseconds per operation, a batch each.
type times struct {
	ns []float64
	i  int // operations done
}

func newTimes() *times { return &times{ns: make([]float64, 0, 1<<14)} }

func (t *times) run(op func(i int)) {
	begin := time.Now()
	for range batch {
		op(t.i)
		t.i++
	}
	d := float64(time.Since(begin).Nanoseconds()) / batch
	if len(t.ns) < cap(t.ns) {
		t.ns = append(t.ns, d)
	} else {
		t.ns[t.i/batch%len(t.ns)] = d
	}
}

func (t *times) percentile(p int) float64 {
	s := slices.Clone(t.ns)
	slices.Sort(s)
	return s[len(s)*p/100]
}
