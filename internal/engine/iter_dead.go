package engine

import "bytes"

// What an iterator learns on its way over tombstones. A queue leaves them at
// its front, and each scan from there would step over all of them again, at
// some 100 ns each, until compaction has taken them away. So the run of dead
// keys that a step passed is noted with the newest generation
// (memtable.Generation.AddHint), and the next iterator jumps.
//
// A hint at sequence S says that every key in it is dead at S, in its generation
// and in all that is older. It stays true while the generation lives, because
// nothing that is newer than S can come to lie below it: tables and older
// generations hold only what was committed before the generation began, but for
// the bulk load that it may have begun with: a load takes the first sequence of a
// new generation, and its tables come to lie below. So S must not be before that
// beginning, or that load, and the state that the iterator read must still be
// the current one, or it may have missed the load's tables.

// deadRun is the dead keys that a step has passed so far.
type deadRun struct {
	n     int
	first []byte
	last  []byte
}

// DefaultDeadMin is from how many dead keys, or jumps over some, a run is worth a
// hint: noting it costs about as much as passing twenty.
const DefaultDeadMin = 64

// pass takes note of a dead key.
func (d *deadRun) pass(key []byte) {
	if d.n == 0 {
		d.first = append(d.first[:0], key...)
	}
	d.n++
	d.last = append(d.last[:0], key...)
}

// noteDead ends the run before next, and leaves a hint if it was long.
func (it *Iter) noteDead(next []byte) {
	n := it.dead.n
	it.dead.n = 0
	if n < it.e.opts.DeadMin || !it.mayHint() {
		return
	}
	m := it.s.mem.table(it.k)
	if m == nil || bytes.Compare(it.dead.first, next) >= 0 {
		return
	}
	if it.k.id == 0 {
		m.AddHint(it.dead.first, next, it.seq)
		return
	}
	lo := append(bytes.Clone(it.k.prefix[:]), it.dead.first...)
	hi := append(bytes.Clone(it.k.prefix[:]), next...)
	m.AddHint(lo, hi, it.seq)
}

// mayHint reports whether what this iterator finds dead is dead for good: see
// above. A transaction's own writes are nobody else's.
func (it *Iter) mayHint() bool {
	return !it.withOwn && it.seq >= it.s.mem.hintFrom && it.e.state.Load() == it.s
}
