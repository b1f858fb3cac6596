package main

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The core workloads of YCSB (Cooper et al. 2010): requests skewed by a
// scrambled Zipf of 0.99 over the records of the load, or towards the latest
// insert.

// mixture is one of A to F: the percentage of each kind of operation.
type mixture struct {
	salt                               uint64
	read, update, insert, scan, modify uint64
	latest                             bool
}

var (
	ycsbA = mixture{salt: 'A', read: 50, update: 50}
	ycsbB = mixture{salt: 'B', read: 95, update: 5}
	ycsbC = mixture{salt: 'C', read: 100}
	ycsbD = mixture{salt: 'D', read: 95, insert: 5, latest: true}
	ycsbE = mixture{salt: 'E', scan: 95, insert: 5}
	ycsbF = mixture{salt: 'F', read: 50, modify: 50}
)

const scanMost = 100

// planner draws the operations of one workload.
type planner struct {
	w       *worker
	m       mixture
	base    int   // the first record that may be inserted
	inserts []int // by actor: the number so far
}

func (p *planner) draw(a *actor, r *rng, _ int) op {
	x := r.below(100)
	zipf := func() uint64 { return p.w.zipf.scrambled(r) }
	for _, c := range []struct {
		share uint64
		kind  opKind
	}{{p.m.read, opRead}, {p.m.update, opUpdate}, {p.m.insert, opInsert}, {p.m.scan, opScan}} {
		if x >= c.share {
			x -= c.share
			continue
		}
		switch c.kind {
		case opRead:
			if p.m.latest {
				return op{record: p.latest(a, r)}
			}
			return op{record: uint32(zipf())}
		case opUpdate:
			return op{kind: opUpdate, record: p.w.own(a, zipf())}
		case opInsert:
			p.inserts[a.id]++
			return op{kind: opInsert, record: p.inserted(a, p.inserts[a.id]-1)}
		case opScan:
			return p.scan(uint32(zipf()), r)
		}
	}
	return op{kind: opModify, record: p.w.own(a, zipf())}
}

// inserted returns the record of the actor's k-th insert.
func (p *planner) inserted(a *actor, k int) uint32 {
	return uint32(p.base + k*a.share + a.id)
}

// latest draws a record with the skew towards recent inserts: first this
// actor's own inserts, then the load from its end.
func (p *planner) latest(a *actor, r *rng) uint32 {
	z := int(p.w.zipf.next(r))
	own := p.inserts[a.id]
	if z < own {
		return p.inserted(a, own-1-z)
	}
	return uint32(max(p.w.cfg.Keys-1-(z-own), 0))
}

func (p *planner) scan(record uint32, r *rng) op {
	rows := 1 + r.below(scanMost)
	rank, _ := slices.BinarySearch(p.w.sorted, p.w.data.hash(uint64(record)))
	least := min(int(rows), len(p.w.sorted)-rank)
	return op{kind: opScan, record: record, rows: uint8(rows), least: uint8(least)}
}

func ycsb(m mixture) func(*worker) (Sample, error) {
	return func(w *worker) (Sample, error) {
		w.order() // for the ranks of scans; before any insert of this workload
		p := &planner{w: w, m: m, base: w.next, inserts: make([]int, w.cfg.Goroutines)}
		actors := w.planned(w.cfg.Ops, m.salt, p.draw)
		w.next = p.base + slices.Max(p.inserts)*w.cfg.Goroutines
		if w.next > len(w.data.versions) {
			return Sample{}, fmt.Errorf("YCSB %c: no room for %d records", rune(m.salt), w.next)
		}
		w.changed()
		racing := w.cfg.Goroutines > 1
		limit := w.cfg.MaxTime
		if m.update > 5 {
			limit = 0 // E must find equally many versions after A in every engine
		}
		return drive(actors, len(actors[0].plan), limit, nil, func(a *actor, i int) (int, error) {
			o := a.plan[i]
			switch o.kind {
			case opRead:
				return 1, w.get(a, uint64(o.record), racing, i&15 == 0)
			case opScan:
				return 1, w.openScan(a, o)
			case opModify:
				if err := w.get(a, uint64(o.record), racing, i&15 == 0); err != nil {
					return 0, err
				}
			}
			return 1, w.put(a, uint64(o.record))
		})
	}
}

// openScan reads up to o.rows rows from a record on, while others may insert
// and update. The first row and the least number of rows are known.
func (w *worker) openScan(a *actor, o op) (err error) {
	d := w.data
	h := d.hash(uint64(o.record))
	lo := d.versions[o.record].Load()
	it, err := w.store.NewIter(IterOptions{Rows: int(o.rows)})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	key := writeKey(&a.key, h)
	ok := it.SeekGE(key)
	if !ok || string(it.Key()) != string(key) {
		return w.notThere(it, h)
	}
	if err := d.checkValue(h, it.Value(), lo, d.versions[o.record].Load()+1, false); err != nil {
		return err
	}
	var prev row
	n := 0
	for ok && n < int(o.rows) {
		if _, err := prev.take(it, w.cfg.ValueSize, n == 0, false); err != nil {
			return err
		}
		if !d.belongs(it.Key(), binary.LittleEndian.Uint64(it.Value())) {
			return fmt.Errorf("%w: the value of key %s is not its own", errWrong, it.Key())
		}
		if n++; n < int(o.rows) {
			ok = it.Next()
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	if n < int(o.least) {
		return fmt.Errorf("%w: scan from key %016x: %d rows, want at least %d", errWrong, h, n, o.least)
	}
	return nil
}
