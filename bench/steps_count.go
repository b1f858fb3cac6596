package main

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
)

// Counters: numbers are added to some of them, skewed as in YCSB. Every engine
// can do that by read-modify-write, in a transaction if it has them, else under
// a lock that the harness has for each counter; some can do it without reading,
// by a merge operator. The harness knows every sum.

const (
	counters     = 10_000
	counterLocks = 1024
)

func (w *worker) counters() int { return min(counters, w.cfg.Keys) }

// counterLoad puts all counters at 0 and settles, so that the first additions
// are like the later ones.
func counterLoad(w *worker) (Sample, error) {
	w.counts = make([]atomic.Int64, w.counters())
	w.locks = make([]sync.Mutex, counterLocks)
	w.zipf = newZipf(w.counters())
	b := w.store.NewBatch()
	var key [keySize]byte
	var zero [8]byte
	for i := range w.counts {
		if err := b.Put(writeKey(&key, w.data.hash(uint64(i))), zero[:]); err != nil {
			return Sample{}, err
		}
		if i%batchRows == batchRows-1 || i == len(w.counts)-1 {
			if err := b.Commit(); err != nil {
				return Sample{}, err
			}
		}
	}
	return Sample{}, w.store.Settle()
}

// adder is one goroutine that adds to counters.
type adder struct {
	w         *worker
	counter   uint32
	delta     int64
	key       [keySize]byte
	value     [8]byte
	conflicts int
	fn        func(Tx) error
}

// access has the methods that a store and a transaction share.
type access interface {
	Get(dst, key []byte) ([]byte, bool, error)
	Put(key, value []byte) error
}

func (a *adder) modify(t access) error {
	v, found, err := t.Get(a.value[:0], a.key[:])
	if err == nil && (!found || len(v) != 8) {
		err = fmt.Errorf("%w: counter %s: found %v, %d bytes", errWrong, a.key, found, len(v))
	}
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(a.value[:], binary.LittleEndian.Uint64(v)+uint64(a.delta))
	return t.Put(a.key[:], a.value[:])
}

// readModifyWrite adds as an engine without merge operators must.
func (a *adder) readModifyWrite() error {
	if t, ok := a.w.store.(Transactor); ok {
		conflicts, err := t.Transact(a.fn)
		a.conflicts += conflicts
		return err
	}
	l := &a.w.locks[a.counter%counterLocks]
	l.Lock()
	defer l.Unlock()
	return a.modify(a.w.store)
}

func (a *adder) merge() error { return a.w.store.(Adder).Add(a.key[:], a.delta) }

// count adds with g goroutines. The numbers, from -100 to 155, are drawn into
// the plan's rows.
func count(g int, merge bool) func(*worker) (Sample, error) {
	return func(w *worker) (Sample, error) {
		w.tune(g)
		actors := w.actors(g)
		adders := make([]*adder, g)
		each := max(w.cfg.Ops/g, 1)
		for i, a := range actors {
			ad := &adder{w: w}
			ad.fn = func(t Tx) error { return ad.modify(t) }
			adders[i] = ad
			a.plan = w.planMem[i*each : (i+1)*each]
			r := rng(mix(w.cfg.Seed+uint64(g)) + uint64(i)*keySalt)
			for k := range a.plan {
				a.plan[k] = op{record: uint32(w.zipf.scrambled(&r)), rows: uint8(r.next())}
			}
		}
		s, err := drive(actors, each, w.cfg.MaxTime, nil, func(a *actor, i int) (int, error) {
			ad := adders[a.id]
			ad.counter, ad.delta = a.plan[i].record, int64(a.plan[i].rows)-100
			writeKey(&ad.key, w.data.hash(uint64(ad.counter)))
			var err error
			if merge {
				err = ad.merge()
			} else {
				err = ad.readModifyWrite()
			}
			if err == nil {
				w.counts[ad.counter].Add(ad.delta)
			}
			return 1, err
		})
		conflicts := 0
		for _, a := range adders {
			conflicts += a.conflicts
		}
		s.Conflicts = float64(conflicts) / float64(max(s.Ops, 1))
		return s, err
	}
}

// readCounters reads as often as count added, with the same skew.
func readCounters(w *worker) (Sample, error) {
	actors := w.planned(w.cfg.Ops, 'n', func(_ *actor, r *rng, _ int) op {
		return op{record: uint32(w.zipf.scrambled(r))}
	})
	return drive(actors, len(actors[0].plan), w.cfg.MaxTime, nil, func(a *actor, i int) (int, error) {
		return 1, w.readCounter(a, int(a.plan[i].record))
	})
}

func (w *worker) readCounter(a *actor, i int) error {
	key := writeKey(&a.key, w.data.hash(uint64(i)))
	v, found, err := w.store.Get(a.dst, key)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: counter %s not found", errWrong, key)
	}
	return w.checkCounter(i, v)
}

func (w *worker) checkCounter(i int, v []byte) error {
	if want := w.counts[i].Load(); len(v) != 8 || int64(binary.LittleEndian.Uint64(v)) != want {
		return fmt.Errorf("%w: counter %d is %x, want %d", errWrong, i, v, want)
	}
	return nil
}

// checkCounters reads all counters, by key and by a scan.
func checkCounters(w *worker) (Sample, error) {
	a := w.actors(1)[0]
	for i := range w.counts {
		if err := w.readCounter(a, i); err != nil {
			return Sample{}, err
		}
	}
	n := 0
	err := w.each(func(key, value []byte) error {
		h, ok := parseKey(key)
		if !ok || w.data.record(h) >= uint64(len(w.counts)) {
			return fmt.Errorf("%w: key %x is no counter", errWrong, key)
		}
		n++
		return w.checkCounter(int(w.data.record(h)), value)
	})
	if err == nil && n != len(w.counts) {
		err = fmt.Errorf("%w: a scan gave %d counters, want %d", errWrong, n, len(w.counts))
	}
	return Sample{}, err
}
