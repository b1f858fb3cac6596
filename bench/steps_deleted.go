package main

// Scans over deleted rows: all keys of a settled store are deleted but one in
// many, and then all remaining rows are scanned.

// leaveEach is the number of keys for each one that is left.
const leaveEach = 10_000

// leave returns leaveEach, or less in a small run, so that there are rows to
// scan.
func (w *worker) leave() int { return max(min(leaveEach, w.cfg.Keys/10), 2) }

func deleteLoad(w *worker) (Sample, error) {
	if _, err := fillBatch(w); err != nil {
		return Sample{}, err
	}
	return Sample{}, w.store.Settle()
}

// left records what was deleted. It does not run while the clock does: it
// misses the processor's cache once a key.
func (w *worker) left() {
	leave := w.leave()
	for rank, h := range w.sorted {
		if rank%leave != 0 {
			w.data.versions[w.data.record(h)].Store(0)
		}
	}
	w.changed()
}

// deletePoints deletes in the order of the keys.
func deletePoints(w *worker) (Sample, error) {
	w.order()
	a := w.actors(1)
	a[0].batch = w.store.NewBatch()
	leave := w.leave()
	n := (len(w.sorted) + batchRows - 1) / batchRows
	s, err := drive(a, n, 0, nil, func(a *actor, i int) (done int, err error) {
		for r := i * batchRows; r < min((i+1)*batchRows, len(w.sorted)); r++ {
			if r%leave == 0 {
				continue
			}
			if err := a.batch.Delete(writeKey(&a.key, w.sorted[r])); err != nil {
				return done, err
			}
			done++
		}
		if done == 0 {
			return 0, nil
		}
		return done, a.batch.Commit()
	})
	w.left()
	return s, err
}

// deleteRanges deletes each gap with one range delete.
func deleteRanges(w *worker) (Sample, error) {
	w.order()
	store := w.store.(RangeDeleter)
	leave := w.leave()
	n := (len(w.sorted) + leave - 1) / leave
	s, err := drive(w.actors(1), n, 0, nil, func(a *actor, i int) (int, error) {
		first, end := i*leave+1, min((i+1)*leave, len(w.sorted))
		if first >= end {
			return 0, nil
		}
		var buf [keySize]byte
		hi := []byte("g") // above all keys, which are hexadecimal
		if end < len(w.sorted) {
			hi = writeKey(&buf, w.sorted[end])
		}
		return 1, store.DeleteRange(writeKey(&a.key, w.sorted[first]), hi)
	})
	w.left()
	return s, err
}

// scanLeft scans everything, at least once and until it has read --ops rows or
// --max-time is over.
func scanLeft(w *worker) (Sample, error) {
	rows, sum := w.data.totals()
	actors := w.actors(1)
	actors[0].coarse = true
	s, err := drive(actors, max(1, w.cfg.Ops/int(max(rows, 1))), w.cfg.MaxTime, nil, func(*actor, int) (int, error) {
		return w.scanOnce(false, rows, sum)
	})
	s.RowMicros = s.Seconds * 1e6 / float64(max(s.Ops, 1))
	return s, err
}

// checkLeft checks that the remaining rows exist, and that deleted ones are not
// found by key either.
func checkLeft(w *worker) (Sample, error) {
	if err := w.check(); err != nil {
		return Sample{}, err
	}
	a := w.actors(1)[0]
	for r := uint64(0); r < uint64(w.cfg.Keys); r += 7 {
		if w.data.versions[r].Load() > 0 {
			continue
		}
		if err := w.absent(a, w.data.hash(r)); err != nil {
			return Sample{}, err
		}
	}
	return Sample{}, nil
}
