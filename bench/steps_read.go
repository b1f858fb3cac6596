package main

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
)

// This file has the workloads that read.

func (w *worker) randomRecords(salt uint64) []*actor {
	return w.planned(w.cfg.Ops, salt, func(_ *actor, r *rng, _ int) op {
		return op{record: uint32(r.below(uint64(w.cfg.Keys)))}
	})
}

func (w *worker) randomRanks(salt uint64) []*actor {
	w.order()
	return w.planned(w.cfg.Ops, salt, func(_ *actor, r *rng, _ int) op {
		return op{record: uint32(r.below(uint64(len(w.sorted))))}
	})
}

func (w *worker) readPlanned(actors []*actor) (Sample, error) {
	return drive(actors, len(actors[0].plan), w.cfg.MaxTime, nil, func(a *actor, i int) (int, error) {
		return 1, w.get(a, uint64(a.plan[i].record), false, i&15 == 0)
	})
}

func readUnsettled(w *worker) (Sample, error) { return w.readPlanned(w.randomRecords('u')) }

func readRandom(w *worker) (Sample, error) {
	if err := w.warmUp(); err != nil {
		return Sample{}, err
	}
	return w.readPlanned(w.randomRecords('r'))
}

func readMissing(w *worker) (Sample, error) {
	if err := w.warmUp(); err != nil {
		return Sample{}, err
	}
	actors := w.randomRecords('m')
	return drive(actors, len(actors[0].plan), w.cfg.MaxTime, nil, func(a *actor, i int) (int, error) {
		h := w.data.hash(missBase + uint64(a.plan[i].record))
		_, found, err := w.store.Get(a.dst, writeKey(&a.key, h))
		if found {
			err = fmt.Errorf("%w: key %016x was never written and is found", errWrong, h)
		}
		return 1, err
	})
}

// readBeside reads while one goroutine writes random records as fast as it can.
func readBeside(w *worker) (Sample, error) {
	if err := w.warmUp(); err != nil {
		return Sample{}, err
	}
	w.changed()
	var writes atomic.Int64
	var stop atomic.Bool
	writer := w.actors(1)[0]
	failed := make(chan error, 1)
	go func() {
		for !stop.Load() {
			if err := w.put(writer, writer.rng.below(uint64(w.cfg.Keys))); err != nil {
				failed <- err
				return
			}
			writes.Add(1)
		}
		failed <- nil
	}()
	for writes.Load() == 0 && len(failed) == 0 {
		time.Sleep(100 * time.Microsecond)
	}
	actors := w.randomRecords('b')
	s, err := drive(actors, len(actors[0].plan), w.cfg.MaxTime, &writes, func(a *actor, i int) (int, error) {
		return 1, w.get(a, uint64(a.plan[i].record), true, i&15 == 0)
	})
	stop.Store(true)
	if werr := <-failed; err == nil {
		err = werr
	}
	return s, err
}

func seek(w *worker) (Sample, error) {
	if err := w.warmUp(); err != nil {
		return Sample{}, err
	}
	actors := w.randomRecords('s')
	for _, a := range actors {
		it, err := w.store.NewIter(IterOptions{Rows: 1})
		if err != nil {
			return Sample{}, err
		}
		a.it = it
	}
	s, err := drive(actors, len(actors[0].plan), w.cfg.MaxTime, nil, func(a *actor, i int) (int, error) {
		h := w.data.hash(uint64(a.plan[i].record))
		key := writeKey(&a.key, h)
		if !a.it.SeekGE(key) || string(a.it.Key()) != string(key) {
			return 0, w.notThere(a.it, h)
		}
		n := w.data.versions[a.plan[i].record].Load()
		return 1, w.data.checkValue(h, a.it.Value(), n, n, i&15 == 0)
	})
	for _, a := range actors {
		if cerr := a.it.Close(); err == nil {
			err = cerr
		}
	}
	return s, err
}

// notThere returns the error of a seek to a record that did not land on it.
func (w *worker) notThere(it Iter, hash uint64) error {
	if err := it.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: a seek to key %016x does not land on it", errWrong, hash)
}

func newIter(rows int) func(*worker) (Sample, error) {
	return func(w *worker) (Sample, error) {
		if err := w.warmUp(); err != nil {
			return Sample{}, err
		}
		actors := w.randomRanks('i' + uint64(rows))
		return drive(actors, len(actors[0].plan), w.cfg.MaxTime, nil, func(a *actor, i int) (int, error) {
			return 1, w.shortScan(a, int(a.plan[i].record), rows)
		})
	}
}

// row is what a scan must know about the previous row.
type row struct{ head, tail uint64 }

// take reads the iterator's row, checks the order, and returns its sum.
// backward is the direction.
func (p *row) take(it Iter, size int, first bool, backward bool) (uint64, error) {
	key, value := it.Key(), it.Value()
	if len(key) != keySize || len(value) != size {
		return 0, fmt.Errorf("%w: row of key %x with a value of %d bytes", errWrong, key, len(value))
	}
	now := row{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])}
	if !first {
		lower, upper := *p, now
		if backward {
			lower, upper = now, *p
		}
		if lower.head > upper.head || lower.head == upper.head && lower.tail >= upper.tail {
			return 0, fmt.Errorf("%w: key %s out of order", errWrong, key)
		}
	}
	*p = now
	return rowSum(now.head, now.tail, binary.LittleEndian.Uint64(value)), nil
}

// shortScan reads rows from a rank on with an iterator of its own. There are no
// concurrent writes, so the rows are known exactly.
func (w *worker) shortScan(a *actor, rank, rows int) (err error) {
	it, err := w.store.NewIter(IterOptions{Rows: rows})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	want := min(rows, len(w.sorted)-rank)
	var prev row
	var sum uint64
	n := 0
	for ok := it.SeekGE(writeKey(&a.key, w.sorted[rank])); ok && n < rows; n++ {
		s, err := prev.take(it, w.cfg.ValueSize, n == 0, false)
		if err != nil {
			return err
		}
		sum += s
		if n+1 < rows {
			ok = it.Next()
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	if n != want || sum != w.sums[rank+want]-w.sums[rank] {
		return fmt.Errorf("%w: scan from key %016x: %d rows, want %d, or other rows", errWrong, w.sorted[rank], n, want)
	}
	return nil
}

func fullScan(backward bool) func(*worker) (Sample, error) {
	return func(w *worker) (Sample, error) {
		if err := w.warmUp(); err != nil {
			return Sample{}, err
		}
		rows, sum := w.data.totals()
		passes := max(1, w.cfg.Ops/int(max(rows, 1)))
		return drive(w.actors(w.cfg.Goroutines), passes, w.cfg.MaxTime, nil, func(*actor, int) (int, error) {
			return w.scanOnce(backward, rows, sum)
		})
	}
}

// scanOnce reads all rows, which must have this number and sum.
func (w *worker) scanOnce(backward bool, rows, sum uint64) (n int, err error) {
	it, err := w.store.NewIter(IterOptions{Reverse: backward})
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	var prev row
	var got uint64
	if backward {
		for ok := it.Last(); ok; ok = it.Prev() {
			s, err := prev.take(it, w.cfg.ValueSize, n == 0, true)
			if err != nil {
				return n, err
			}
			got += s
			n++
		}
	} else {
		for ok := it.First(); ok; ok = it.Next() {
			s, err := prev.take(it, w.cfg.ValueSize, n == 0, false)
			if err != nil {
				return n, err
			}
			got += s
			n++
		}
	}
	if err := it.Err(); err != nil {
		return n, err
	}
	if uint64(n) != rows || got != sum {
		return n, fmt.Errorf("%w: a full scan gave %d rows, want %d, or other rows", errWrong, n, rows)
	}
	return n, nil
}
