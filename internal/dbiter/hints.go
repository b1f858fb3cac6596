package dbiter

import (
	"bytes"
)

// What an iterator learns on its way over tombstones. A queue leaves them at
// its front, and each scan from there would step over all of them again, at
// some 100 ns each, until compaction has taken them away. So the run of dead
// keys that a step passed is noted with the newest generation
// (memtable.Generation.AddHint), and the next iterator jumps.
//
// A hint at sequence S says that every key in it is dead at S, in its generation
// and in all that is older. It stays true while the generation lives, because
// no entry newer than S can get below it: tables and older
// generations hold only what was committed before the generation began, but for
// the bulk load that it may have begun with: a load takes the first sequence of a
// new generation, and its tables go below. So S must not be before that
// beginning, or that load, and the state that the iterator read must still be
// the current one, or it may have missed the load's tables.

//
// A key that expired is dead for reads at the iterator's time and later. Runs with
// such keys are kept apart, with that time.

// deadRun is the dead keys that a step has passed so far, in either direction.
type deadRun struct {
	n       int
	expired bool // some only because their time is over
	first   []byte
	last    []byte
}

// DefaultDeadMin is from how many dead keys, or jumps over some, a run is worth a
// hint: noting it costs about as much as passing twenty.
const DefaultDeadMin = 64

// reset begins a new run.
func (d *deadRun) reset() { d.n, d.expired = 0, false }

// pass takes note of a dead key.
func (d *deadRun) pass(key []byte, expired bool) {
	if d.n == 0 {
		d.first = append(d.first[:0], key...)
	}
	d.n++
	d.expired = d.expired || expired
	d.last = append(d.last[:0], key...)
}

// passCovered takes note of a key that covered found dead.
func (it *Iter) passCovered(key []byte) { it.dead.pass(key, it.hit.timed) }

// noteDead ends a run forward before next, and leaves a hint if it was long.
func (it *Iter) noteDead(next []byte) {
	if it.longRun() {
		it.addHint(it.dead.first, next)
	}
	it.dead.reset()
}

// noteDeadEnd is noteDead where no key follows.
func (it *Iter) noteDeadEnd() {
	if it.longRun() {
		it.fetched = append(append(it.fetched[:0], it.dead.last...), 0)
		it.addHint(it.dead.first, it.fetched)
	}
	it.dead.reset()
}

// noteDeadBack ends a run backward behind before, a live key, or where the walk
// ends if there is none.
func (it *Iter) noteDeadBack(before []byte) {
	if it.longRun() {
		lo := it.lower
		if before != nil {
			lo = append(append(it.fetched[:0], before...), 0)
			it.fetched = lo
		}
		it.addHint(lo, append(it.dead.first, 0))
	}
	it.dead.reset()
}

func (it *Iter) longRun() bool { return it.dead.n >= it.env.DeadMin && it.mayHint() }

// addHint leaves a hint with the newest generation.
func (it *Iter) addHint(lo, hi []byte) {
	if bytes.Compare(lo, hi) >= 0 {
		return
	}
	at := uint64(0)
	if it.dead.expired {
		at = it.time
	}
	m := it.s.Active.Mem
	if !m.AddHint(it.k.ID(), lo, hi, it.seq, at) && it.env.Share(it.s.Active) {
		m.AddHint(it.k.ID(), lo, hi, it.seq, at)
	}
}

// mayHint reports whether what this iterator finds dead is dead for good: see
// above. No other reader sees a transaction's own writes.
func (it *Iter) mayHint() bool {
	return !it.withOwn && it.seq >= it.s.Active.After && it.env.Store.Current() == it.s
}
