package latency

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestLatencyIsThatOfTheDurations: the figures of a histogram are computed again from the
// durations. Count, mean and maximum are exact; a quantile is the end of the bucket of the
// right duration, at most an eighth above it.
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

// TestBucketsMeet: each bucket ends where the next one begins, none is wider than an
// eighth of its beginning, and together they have room for every duration.
func TestBucketsMeet(t *testing.T) {
	for i := range histBuckets {
		low, next := bucketLow(i), bucketLow(i+1)
		if low >= next || low >= 8 && i < histBuckets-1 && next-low > low/8 {
			t.Errorf("bucket %d is from %d to %d", i, low, next)
		}
		if bucketOf(uint64(low)) != i || bucketOf(uint64(next-1)) != i {
			t.Errorf("%d and %d are in buckets %d and %d, not %d", low, next-1, bucketOf(uint64(low)), bucketOf(uint64(next-1)), i)
		}
	}
	if bucketLow(0) != 0 || bucketOf(math.MaxInt64) != histBuckets-1 {
		t.Errorf("the buckets are from %d to that of the longest duration, %d", bucketLow(0), bucketOf(math.MaxInt64))
	}
}

// TestExtremes: impossible durations, as after a clock was set, make no figure negative.
func TestExtremes(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		math.MinInt64: 0, -1: 0, 0: 0, 1: 1, math.MaxInt64: math.MaxInt64,
	} {
		var h Histogram
		h.Record(d)
		if l := h.Latency(1); l.Count != 1 || l.Mean != want || l.Max != want || l.P50 != want || l.P999 != want {
			t.Errorf("of %d: %+v", d, l)
		}
	}
}

// TestAllAtOnce: callers record, merge and time operations at the same time; in the
// end everything counts once, and the longest is the maximum.
func TestAllAtOnce(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for round := range rounds {
		var h, total Histogram
		var s Sampler
		var wg sync.WaitGroup
		const callers, each = 4, 100
		for c := range callers {
			wg.Go(func() {
				var own Histogram
				for i := range each {
					h.Record(time.Duration(i))
					own.Record(time.Duration((c+round)%callers*each + i))
					s.End(s.Begin())
					total.Merge(&own)
					if longest := own.Latency(1).Max; total.Latency(1).Max < longest {
						t.Errorf("the longest was %v, and now is less", longest)
					}
				}
				h.Merge(&own)
				h.Latency(1)
			})
		}
		wg.Wait()
		const sum = callers*each*(each-1)/2 + callers*each*(callers*each-1)/2
		if l := h.Latency(1); l.Count != 2*callers*each || l.Max != callers*each-1 || l.Mean != sum/(2*callers*each) {
			t.Fatalf("round %d: %+v", round, l)
		}
		if l := s.Latency(); l.Count != callers*each || s.Histogram.Latency(1).Count != (callers*each+63)/64 {
			t.Fatalf("round %d: %+v, of %d that were measured", round, l, s.Histogram.Latency(1).Count)
		}
	}
}

// TestTimesOperations: a sampled operation counts with the time from its Begin to its
// End, others take no time of their own.
func TestTimesOperations(t *testing.T) {
	var s Sampler
	begun := s.Begin()
	if begun.IsZero() || !s.Begin().IsZero() {
		t.Fatal("the first operation is not sampled, or the second is")
	}
	s.End(begun.Add(-time.Hour))
	s.End(time.Time{})
	if l := s.Latency(); l.Count != 2 || l.Max < time.Hour || l.Max > 2*time.Hour {
		t.Errorf("%+v", l)
	}
}
