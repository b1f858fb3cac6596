package sstable

import (
	"slices"
	"testing"
	"time"
)

// quiet runs op over and over in batches that are shorter than a time slice of
// the scheduler, and reports the tenth percentile of their times: what an
// operation takes while nobody else has the processor. On a busy machine the
// mean that the testing package reports says more about the neighbours.
func quiet(b *testing.B, op func(i int)) {
	const batch = 256
	times := make([]float64, 0, 1<<14)
	i := 0
	for b.Loop() {
		begin := time.Now()
		for range batch {
			op(i)
			i++
		}
		if t := float64(time.Since(begin).Nanoseconds()) / batch; len(times) < cap(times) {
			times = append(times, t)
		} else {
			times[i/batch%len(times)] = t
		}
	}
	slices.Sort(times)
	b.ReportMetric(times[len(times)/10], "quiet-ns/op")
	b.ReportMetric(times[len(times)/2], "median-ns/op")
	b.ReportMetric(0, "ns/op")
}
