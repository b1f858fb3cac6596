package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A worker is a process that holds one engine's store through one stage. Its
// parent sends it the next step to run, and stops it (SIGSTOP) while others
// have their turn. So no engine's garbage collector, compactions or memory
// count towards another's figures.

// WorkerConfig is the first message from the parent. Immutable.
type WorkerConfig struct {
	Engine      string        `json:"engine"`
	Stage       string        `json:"stage"`
	Dir         string        `json:"dir"`
	Class       Class         `json:"class"`
	Keys        int           `json:"keys"`
	Ops         int           `json:"ops"`
	ValueSize   int           `json:"value_size"`
	Cache       int64         `json:"cache"`
	Memtable    int64         `json:"memtable"`
	Seed        uint64        `json:"seed"`
	Goroutines  int           `json:"goroutines"`
	MaxTime     time.Duration `json:"max_time"`
	SyncTime    time.Duration `json:"sync_time"`
	HotVersions int           `json:"hot_versions"`
	Latency     bool          `json:"latency"`
	Profile     string        `json:"profile,omitempty"` // directory for CPU profiles
}

type request struct {
	Open *WorkerConfig `json:"open,omitempty"`
	Step string        `json:"step,omitempty"` // "" without Open: close the store and end
}

type reply struct {
	Sample *Sample `json:"sample,omitempty"`
	Error  string  `json:"error,omitempty"`
	Wrong  bool    `json:"wrong,omitempty"` // the error is a wrong answer
}

// syncMost bounds the commits of one fillsync step.
const syncMost = 400_000

type worker struct {
	cfg   WorkerConfig // immutable after open
	store Store        // immutable after open
	data  *dataset     // immutable after open; its versions are atomic
	zipf  *zipf        // immutable after open; over the records of the load

	// Only the goroutine that runs the steps touches these.
	next     int      // records from here on were never written
	planMem  []op     // memory of the plans
	hashMem  []uint64 // memory of sorted
	sumMem   []uint64 // memory of sums
	sorted   []uint64 // hashes of the written records in order; nil if out of date
	sums     []uint64 // sums[i]: rowSum of all rows before sorted[i]
	warm     bool     // every record was read since the last settle
	hot      int      // rank of the hot key
	commits  int64    // of the stage txn
	counts   []atomic.Int64
	locks    []sync.Mutex // of counters, where the engine has no transactions
	front    int          // of the stages queue: the first entry that is left
	resident int64        // resident memory before the store was opened
}

func openWorker(cfg WorkerConfig) (*worker, error) {
	d, err := findDriver(cfg.Engine)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	w := &worker{cfg: cfg}
	// YCSB D and E insert in one operation of 20; fillsync up to its bound at
	// each count.
	capacity := cfg.Keys + cfg.Ops/4 + 1024
	plan := max(cfg.Ops, cfg.Keys)
	if cfg.Stage == "sync" {
		capacity, plan = 3*syncMost, 0
	}
	w.data = newDataset(cfg.Seed, cfg.ValueSize, capacity)
	w.hashMem, w.sumMem = offHeap[uint64](capacity), offHeap[uint64](capacity+1)
	w.planMem = offHeap[op](plan)
	w.zipf = newZipf(cfg.Keys)
	w.resident = residentBytes()
	w.store, err = d.Open(StoreOptions{
		Dir: cfg.Dir, Class: cfg.Class, Cache: cfg.Cache, Memtable: cfg.Memtable, Syncers: 1,
		Conflicts: cfg.Stage == "txn" || cfg.Stage == "counters",
	})
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return w, nil
}

// run runs one step.
func (w *worker) run(name string) (Sample, error) {
	stage, step, err := findStep(name)
	if err != nil {
		return Sample{}, err
	}
	if stage.Name != w.cfg.Stage {
		return Sample{}, fmt.Errorf("step %s is not of stage %s", name, w.cfg.Stage)
	}
	if w.cfg.Profile == "" || step.Unit == "" {
		return step.run(w)
	}
	return w.profiled(step)
}

// profiled writes a CPU profile of a step, including its preparation.
func (w *worker) profiled(step *Step) (s Sample, err error) {
	f, err := os.Create(filepath.Join(w.cfg.Profile, fmt.Sprintf("%s-%s-%d.pprof", w.cfg.Engine, step.Name, w.cfg.Goroutines)))
	if err != nil {
		return s, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if err := pprof.StartCPUProfile(f); err != nil {
		return s, err
	}
	defer pprof.StopCPUProfile()
	return step.run(w)
}

// actors returns the state of n goroutines. Their plans share planMem.
func (w *worker) actors(n int) []*actor {
	all := make([]*actor, n)
	for i := range all {
		all[i] = &actor{
			id: i, share: n,
			value: w.data.valueBuffer(),
			dst:   make([]byte, 0, w.cfg.ValueSize+64),
			rng:   rng(w.cfg.Seed + uint64(i)*golden),
		}
		if w.cfg.Latency {
			all[i].hist = newHistogram()
		}
	}
	return all
}

// planned returns actors with plans of n operations in total, drawn by draw.
func (w *worker) planned(n int, salt uint64, draw func(a *actor, r *rng, i int) op) []*actor {
	actors := w.actors(w.cfg.Goroutines)
	each := n / len(actors)
	for _, a := range actors {
		a.plan = w.planMem[a.id*each : (a.id+1)*each : (a.id+1)*each]
		r := rng(mix(w.cfg.Seed+salt) + uint64(a.id)*keySalt)
		for i := range a.plan {
			a.plan[i] = draw(a, &r, i)
		}
	}
	return actors
}

// put writes the next version of a record of the actor's share.
func (w *worker) put(a *actor, record uint64) error {
	d := w.data
	v := &d.versions[record]
	n := v.Load() + 1
	h := d.hash(record)
	if err := w.store.Put(writeKey(&a.key, h), d.value(a.value, h, n)); err != nil {
		return err
	}
	v.Store(n)
	return nil
}

// get reads a record that exists and checks the result. racing is set if the
// record's writer may be at work.
func (w *worker) get(a *actor, record uint64, racing, full bool) error {
	d := w.data
	h := d.hash(record)
	lo := d.versions[record].Load()
	v, found, err := w.store.Get(a.dst, writeKey(&a.key, h))
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: key %016x of version %d not found", errWrong, h, lo)
	}
	hi := d.versions[record].Load()
	if racing {
		hi++
	}
	return d.checkValue(h, v, lo, hi, full)
}

// order computes sorted and sums.
func (w *worker) order() {
	if w.sorted != nil {
		return
	}
	d := w.data
	w.sorted = d.appendHashes(w.hashMem[:0])
	slices.Sort(w.sorted)
	w.sums = w.sumMem[:len(w.sorted)+1]
	var buf [keySize]byte
	var sum uint64
	for i, h := range w.sorted {
		w.sums[i] = sum
		sum += d.rowSumOf(writeKey(&buf, h), d.word0(h, d.versions[d.record(h)].Load()))
	}
	w.sums[len(w.sorted)] = sum
}

// changed marks sorted and sums as out of date, after records were written.
func (w *worker) changed() { w.sorted, w.sums = nil, nil }

// check reads everything, twice and unmeasured: by key with all bytes compared,
// and by a scan.
func (w *worker) check() error {
	if err := w.readAll(); err != nil {
		return err
	}
	rows, sum := w.data.totals()
	_, err := w.scanOnce(false, rows, sum)
	return err
}

func (w *worker) readAll() error {
	w.order()
	a := w.actors(1)[0]
	for _, h := range w.sorted {
		if err := w.get(a, w.data.record(h), false, true); err != nil {
			return err
		}
	}
	return nil
}

// warmUp reads every record once in key order, which brings all that fits into
// the engine's cache.
func (w *worker) warmUp() error {
	if w.warm {
		return nil
	}
	w.warm = true
	return w.readAll()
}

// serve answers requests until the input ends. It is the worker's main loop.
func serve(in io.Reader, out io.Writer) error {
	requests, replies := json.NewDecoder(in), json.NewEncoder(out)
	var w *worker
	for {
		var q request
		if err := requests.Decode(&q); err != nil {
			if errors.Is(err, io.EOF) {
				return nil // the parent has ended
			}
			return err
		}
		var r reply
		var err error
		switch {
		case q.Open != nil:
			w, err = openWorker(*q.Open)
		case q.Step != "":
			var s Sample
			if s, err = w.run(q.Step); err == nil {
				r.Sample = &s
			}
		default:
			err = w.store.Close()
		}
		if err != nil {
			r.Error, r.Wrong = err.Error(), errors.Is(err, errWrong)
		}
		if err := replies.Encode(r); err != nil {
			return err
		}
		if q.Open == nil && q.Step == "" {
			return nil
		}
	}
}

// diskMB returns the disk space of the store, in MB (10^6 bytes).
func (w *worker) diskMB() (float64, error) {
	n, err := diskBytes(filepath.Clean(w.cfg.Dir))
	return float64(n) / 1e6, err
}
