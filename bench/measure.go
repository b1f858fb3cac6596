package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Sample is the result of one step of one engine in one round.
type Sample struct {
	// Value is the figure in the table, in the unit of the step.
	Value   float64 `json:"value"`
	Ops     int64   `json:"ops,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`

	// Of the whole process while the step ran, including background work.
	Allocs     float64 `json:"allocs_per_op"`
	AllocBytes float64 `json:"alloc_bytes_per_op"`
	CPUMicros  float64 `json:"cpu_us_per_op"`
	Calls      float64 `json:"io_calls_per_op"`
	Written    float64 `json:"written_bytes_per_op"`

	// RowMicros is the time of the scans alone, in microseconds for each row
	// returned. Set by workloads that scan deleted rows.
	RowMicros float64 `json:"us_per_row,omitempty"`
	// Conflicts is the number of failed attempts for each commit.
	Conflicts float64 `json:"conflicts_per_commit,omitempty"`
	// WriterOps is the rate of the writer beside the reads.
	WriterOps float64 `json:"writer_ops_per_second,omitempty"`
	// Latency is in microseconds, if asked for: p50, p99, p99.9, max.
	Latency []float64 `json:"latency_us,omitempty"`
}

// usage is a reading of the process's counters.
type usage struct {
	at             time.Time
	mem            runtime.MemStats
	cpu            time.Duration
	calls, written int64
}

func readUsage() (u usage) {
	runtime.ReadMemStats(&u.mem)
	u.calls, u.written = ioCounters()
	u.cpu = cpuTime()
	u.at = time.Now()
	return u
}

// since makes a sample of rate ops/s from the counters since u. beside is the
// number of operations of others in that time, which share the counters but not
// the rate.
func (u *usage) since(ops, beside int64) Sample {
	seconds := time.Since(u.at).Seconds() // read first: reading the counters takes time
	now := readUsage()
	s := Sample{Ops: ops, Seconds: seconds}
	if ops == 0 || s.Seconds == 0 {
		return s
	}
	s.Value = float64(ops) / s.Seconds
	n := float64(ops + beside)
	s.Allocs = float64(now.mem.Mallocs-u.mem.Mallocs) / n
	s.AllocBytes = float64(now.mem.TotalAlloc-u.mem.TotalAlloc) / n
	s.CPUMicros = (now.cpu - u.cpu).Seconds() * 1e6 / n
	s.Calls = float64(now.calls-u.calls) / n
	s.Written = float64(now.written-u.written) / n
	return s
}

// actor is one goroutine of a workload and its buffers.
type actor struct {
	id    int
	share int // number of actors
	plan  []op
	key   [keySize]byte
	value []byte // for writing
	dst   []byte // for reading
	rng   rng
	it    Iter  // of workloads on an open iterator
	batch Batch // of workloads that write batches
	hist  *hdrhistogram.Histogram
	// coarse is set if operations are long: the clock is then read before each.
	coarse bool
	done   int64
	err    error
}

// op is a planned operation: its random numbers are drawn before the clock
// runs.
type op struct {
	record uint32 // a record, or the rank of one
	kind   opKind
	rows   uint8 // scans: rows to read
	least  uint8 // scans: rows that must be there
}

type opKind uint8

const (
	opRead opKind = iota
	opUpdate
	opInsert
	opScan
	opModify // read, then write the same record
)

// capEvery is how many operations run between two readings of the clock.
const capEvery = 16

// run calls each for i in [0, n) until limit has passed (0 for no limit). each
// returns how many units (operations, rows) it did.
func (a *actor) run(n int, limit time.Duration, each func(a *actor, i int) (int, error)) {
	start := time.Now()
	for i := range n {
		if limit > 0 && (a.coarse || i%capEvery == 0) && time.Since(start) > limit {
			return
		}
		var t time.Time
		if a.hist != nil {
			t = time.Now()
		}
		units, err := each(a, i)
		if err != nil {
			a.err = err
			return
		}
		if a.hist != nil {
			_ = a.hist.RecordValue(int64(time.Since(t))) // beyond the range: the maximum
		}
		a.done += int64(units)
	}
}

// drive runs all actors concurrently and measures them. beside, if not nil,
// counts the operations of others in that time.
func drive(actors []*actor, n int, limit time.Duration, beside *atomic.Int64, each func(*actor, int) (int, error)) (Sample, error) {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	for _, a := range actors {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-gate
			a.run(n, limit, each)
		})
	}
	ready.Wait()
	var before int64
	if beside != nil {
		before = beside.Load()
	}
	start := readUsage()
	close(gate)
	done.Wait()
	var ops, others int64
	for _, a := range actors {
		if a.err != nil {
			return Sample{}, a.err
		}
		ops += a.done
	}
	if beside != nil {
		others = beside.Load() - before
	}
	s := start.since(ops, others)
	if others > 0 {
		s.WriterOps = float64(others) / s.Seconds
	}
	s.Latency = latency(actors)
	return s, nil
}

func latency(actors []*actor) []float64 {
	var all *hdrhistogram.Histogram
	for _, a := range actors {
		switch {
		case a.hist == nil:
			return nil
		case all == nil:
			all = a.hist
		default:
			all.Merge(a.hist)
		}
	}
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	return []float64{
		us(all.ValueAtQuantile(50)), us(all.ValueAtQuantile(99)), us(all.ValueAtQuantile(99.9)), us(all.Max()),
	}
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Minute), 3)
}
