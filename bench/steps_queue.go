package main

import (
	"fmt"
	"time"
)

// A queue: entries are appended at the end and removed at the front, where a
// scan from the very first key looks for them. Deleted entries pile up before
// the remaining ones. Entry i has the key of the hash i, so that keys are in
// the order of the queue, and that record's value.

const (
	backlog    = 100_000
	queueRows  = 10 // rows of a scan, and entries that come and go with it
	queueScans = 100
	queueCut   = queueRows * queueScans // entries that a range delete removes
)

func queueLoad(w *worker) (Sample, error) {
	b := w.store.NewBatch()
	value := w.data.valueBuffer()
	var key [keySize]byte
	n := min(backlog, w.cfg.Keys)
	for i := range n {
		if err := b.Put(writeKey(&key, uint64(i)), w.data.value(value, uint64(i), 1)); err != nil {
			return Sample{}, err
		}
		if i%batchRows == batchRows-1 || i == n-1 {
			if err := b.Commit(); err != nil {
				return Sample{}, err
			}
		}
	}
	w.front, w.next = 0, n
	return Sample{}, w.store.Settle()
}

// peek reads the rows at the front, which must be those that were not deleted.
func (w *worker) peek(a *actor) (err error) {
	it, err := w.store.NewIter(IterOptions{Rows: queueRows})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	ok := it.First()
	for n := range queueRows {
		want := uint64(w.front + n)
		if !ok || string(it.Key()) != string(writeKey(&a.key, want)) {
			return w.notFront(it, want, ok)
		}
		if err := w.data.checkValue(want, it.Value(), 1, 1, n == 0); err != nil {
			return err
		}
		if n+1 < queueRows {
			ok = it.Next()
		}
	}
	return it.Err()
}

func (w *worker) notFront(it Iter, want uint64, ok bool) error {
	switch err := it.Err(); {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w: the queue ends before entry %d", errWrong, want)
	}
	return fmt.Errorf("%w: key %s at the front, want entry %d", errWrong, it.Key(), want)
}

func (w *worker) appendEntry(a *actor) error {
	h := uint64(w.next)
	w.next++
	return w.store.Put(writeKey(&a.key, h), w.data.value(a.value, h, 1))
}

// queueLoop repeats scanning, appending and take, and returns the time of the
// scans for each row. take is called after each scan and returns how many
// operations it did.
func (w *worker) queueLoop(take func(a *actor, i int) (int, error)) (Sample, error) {
	var scans time.Duration
	rows := 0
	s, err := drive(w.actors(1), max(w.cfg.Ops/(2*queueRows+1), 2*queueScans), w.cfg.MaxTime, nil, func(a *actor, i int) (int, error) {
		start := time.Now()
		if err := w.peek(a); err != nil {
			return 0, err
		}
		scans += time.Since(start)
		rows += queueRows
		n, err := take(a, i)
		if err != nil {
			return 0, err
		}
		for range queueRows {
			if err := w.appendEntry(a); err != nil {
				return 0, err
			}
		}
		return 1 + n + queueRows, nil
	})
	s.RowMicros = float64(scans.Nanoseconds()) / 1e3 / float64(max(rows, 1))
	return s, err
}

func queue(w *worker) (Sample, error) {
	return w.queueLoop(func(a *actor, _ int) (int, error) {
		for range queueRows {
			if err := w.store.Delete(writeKey(&a.key, uint64(w.front))); err != nil {
				return 0, err
			}
			w.front++
		}
		return queueRows, nil
	})
}

func queueRange(w *worker) (Sample, error) {
	store := w.store.(RangeDeleter)
	return w.queueLoop(func(a *actor, i int) (int, error) {
		if i%queueScans != queueScans-1 || w.next-w.front < queueCut+queueRows {
			return 0, nil
		}
		var hi [keySize]byte
		err := store.DeleteRange(writeKey(&a.key, uint64(w.front)), writeKey(&hi, uint64(w.front+queueCut)))
		w.front += queueCut
		return 1, err
	})
}

// checkQueue checks that exactly the entries exist that were appended and not
// removed.
func checkQueue(w *worker) (Sample, error) {
	want := uint64(w.front)
	err := w.each(func(key, value []byte) error {
		if h, ok := parseKey(key); !ok || h != want {
			return fmt.Errorf("%w: key %s, want entry %d", errWrong, key, want)
		}
		err := w.data.checkValue(want, value, 1, 1, true)
		want++
		return err
	})
	if err == nil && want != uint64(w.next) {
		err = fmt.Errorf("%w: the queue ends at entry %d, want %d", errWrong, want, w.next)
	}
	if err != nil {
		return Sample{}, err
	}
	a := w.actors(1)[0]
	for i := 0; i < w.front; i += 7 {
		if err := w.absent(a, uint64(i)); err != nil {
			return Sample{}, err
		}
	}
	return Sample{}, nil
}

// absent checks that a key is not found.
func (w *worker) absent(a *actor, hash uint64) error {
	_, found, err := w.store.Get(a.dst, writeKey(&a.key, hash))
	if found {
		err = fmt.Errorf("%w: key %016x was deleted and is found", errWrong, hash)
	}
	return err
}
