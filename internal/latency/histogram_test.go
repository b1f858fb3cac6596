package latency

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestLatencyIsThatOfTheDurations: what a histogram says is computed again from the
// durations themselves. Count, mean and maximum are exact; a quantile is the end of
// the bucket of the right duration, an eighth above it at most.
func TestLatencyIsThatOfTheDurations(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 10, 20, 100, 999, 1000, 5000} {
		var parts [3]Histogram
		var durations []time.Duration
		var sum time.Duration
		for i := range n {
			d := time.Duration(r.Uint64N(1 << (10 + r.IntN(30))))
			parts[i%3].Record(d)
			durations = append(durations, d)
			sum += d
		}
		slices.Sort(durations)
		var h Histogram
		for i := range parts {
			h.Merge(&parts[i])
		}
		l := h.Latency(7)
		if l.Count != int64(n) || l.Sampled != 7 || l.Mean != sum/time.Duration(n) || l.Max != durations[n-1] {
			t.Errorf("of %d durations: %+v; their mean is %v, the largest %v", n, l, sum/time.Duration(n), durations[n-1])
		}
		for perMille, got := range map[int]time.Duration{500: l.P50, 950: l.P95, 990: l.P99, 999: l.P999} {
			at := 0 // the first that so many do not exceed
			for (at+1)*1000 < perMille*n {
				at++
			}
			if want := durations[at]; got < want || got > want+want/8+1 {
				t.Errorf("%d of 1000 of %d durations take at most %v; it says %v", perMille, n, want, got)
			}
		}
	}
	if l := new(Histogram).Latency(1); l.Count != 0 || l.Mean != 0 || l.P999 != 0 || l.Max != 0 {
		t.Errorf("of nothing: %+v", l)
	}
}

// TestFirstIsMeasured: an operation that happened once has a latency, and of many
// each 64th is measured.
func TestFirstIsMeasured(t *testing.T) {
	var s Sampler
	for i := range 1000 {
		measured := s.Histogram.Latency(1).Count
		if want := int64((i + 63) / 64); measured != want {
			t.Fatalf("%d of %d were measured; want %d", measured, i, want)
		}
		s.End(s.Begin())
	}
	if l := s.Latency(); l.Count != 1000 || l.Sampled != 64 {
		t.Errorf("%+v", l)
	}
}
