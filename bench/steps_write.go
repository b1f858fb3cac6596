package main

import (
	"time"
)

// This file has the workloads that write, and settling.

// batchRows is the size of the batches of fillbatch.
const batchRows = 100

func fillRandom(w *worker) (Sample, error) {
	n, g := w.cfg.Keys, w.cfg.Goroutines
	actors := w.actors(g)
	s, err := drive(actors, n/g, 0, nil, func(a *actor, i int) (int, error) {
		return 1, w.put(a, uint64(i*g+a.id))
	})
	if err != nil {
		return s, err
	}
	// The rest, if the keys do not divide by the goroutines.
	for i := n / g * g; i < n; i++ {
		if err := w.put(actors[0], uint64(i)); err != nil {
			return s, err
		}
	}
	w.next = n
	w.changed()
	return s, nil
}

func fillBatch(w *worker) (Sample, error) {
	w.next = w.cfg.Keys
	w.changed()
	share := w.cfg.Keys / w.cfg.Goroutines
	actors := w.actors(w.cfg.Goroutines)
	for _, a := range actors {
		a.batch = w.store.NewBatch()
	}
	n := (share + batchRows - 1) / batchRows
	return drive(actors, n, 0, nil, func(a *actor, i int) (int, error) {
		return w.putBatch(a, uint64(a.id*share+i*batchRows), min(batchRows, share-i*batchRows))
	})
}

// putBatch commits n records from first on, none of which was written before.
func (w *worker) putBatch(a *actor, first uint64, n int) (int, error) {
	for r := first; r < first+uint64(n); r++ {
		h := w.data.hash(r)
		if err := a.batch.Put(writeKey(&a.key, h), w.data.value(a.value, h, 1)); err != nil {
			return 0, err
		}
	}
	if err := a.batch.Commit(); err != nil {
		return 0, err
	}
	for r := first; r < first+uint64(n); r++ {
		w.data.versions[r].Store(1)
	}
	return n, nil
}

// syncTuned is a store that wants to know how many goroutines commit
// concurrently.
type syncTuned interface{ SetSyncers(n int) }

// tune passes that number to such a store.
func (w *worker) tune(g int) {
	if t, ok := w.store.(syncTuned); ok {
		t.SetSyncers(g)
	}
}

func fillSync(g int) func(*worker) (Sample, error) {
	return func(w *worker) (Sample, error) {
		w.tune(g)
		base := w.next
		w.next += syncMost
		w.changed()
		return drive(w.actors(g), syncMost/g, w.cfg.SyncTime, nil, func(a *actor, i int) (int, error) {
			return 1, w.put(a, uint64(base+i*g+a.id))
		})
	}
}

// overwrite writes existing records at random, each goroutine those of its
// share.
func overwrite(w *worker) (Sample, error) {
	actors := w.planned(w.cfg.Ops, 'o', func(a *actor, r *rng, _ int) op {
		return op{record: w.own(a, r.below(uint64(w.cfg.Keys)))}
	})
	w.changed()
	return drive(actors, len(actors[0].plan), 0, nil, func(a *actor, i int) (int, error) {
		return 1, w.put(a, uint64(a.plan[i].record))
	})
}

// own returns the record of the actor's share that is nearest below a loaded
// record.
func (w *worker) own(a *actor, record uint64) uint32 {
	g := uint64(a.share)
	r := record - record%g + uint64(a.id)
	if r >= uint64(w.cfg.Keys) {
		r -= g
	}
	return uint32(r)
}

func settle(w *worker) (Sample, error) {
	start := readUsage()
	if err := w.store.Settle(); err != nil {
		return Sample{}, err
	}
	s := start.since(1, 0)
	s.Value = s.Seconds
	w.warm = false
	return s, nil
}

func disk(w *worker) (Sample, error) {
	mb, err := w.diskMB()
	return Sample{Value: mb}, err
}

// resident returns how much the resident memory has grown since before the
// store was opened.
func resident(w *worker) (Sample, error) {
	now := residentBytes()
	if now == 0 {
		return Sample{}, nil
	}
	return Sample{Value: float64(now-w.resident) / 1e6}, nil
}

// check verifies the work of earlier steps, so that no figure comes from work
// not done. It has no figure.
func check(w *worker) (Sample, error) { return Sample{}, w.check() }

// The hotkey stage has one key with very many versions in the memtable, as a
// skewed update-heavy workload leaves.

func hotLoad(w *worker) (Sample, error) {
	if _, err := fillBatch(w); err != nil {
		return Sample{}, err
	}
	if err := w.store.Settle(); err != nil {
		return Sample{}, err
	}
	w.order()
	w.hot = len(w.sorted) / 2
	return Sample{}, w.warmUp()
}

func hotPut(w *worker) (Sample, error) {
	record := w.data.record(w.sorted[w.hot])
	s, err := drive(w.actors(1), w.cfg.HotVersions, 0, nil, func(a *actor, _ int) (int, error) {
		return 1, w.put(a, record)
	})
	w.changed()
	// The scans are to find the versions where the writes left them: let a log
	// that is written in the background catch up, and nothing more.
	time.Sleep(20 * time.Millisecond)
	return s, err
}

func hotGet(w *worker) (Sample, error) {
	w.order()
	record := w.data.record(w.sorted[w.hot])
	return drive(w.actors(1), w.cfg.Ops, w.cfg.MaxTime, nil, func(a *actor, i int) (int, error) {
		return 1, w.get(a, record, false, i&15 == 0)
	})
}

func hotScan(w *worker) (Sample, error) {
	w.order()
	return drive(w.actors(1), w.cfg.Ops, w.cfg.MaxTime, nil, func(a *actor, i int) (int, error) {
		// From 10 to 90 rows before the hot key.
		return 1, w.shortScan(a, w.hot-10-i%81, 100)
	})
}
