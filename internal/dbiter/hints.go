package dbiter

import "bytes"

// This file holds the hints that iterators leave about dead keys. A queue leaves tombstones
// at its front, and each scan from there would step over all of them, at some 100 ns each,
// until a compaction removes them. So a move stores the run of dead keys that it passed
// with the newest generation (memtable.Generation.AddHint), and later iterators jump over
// the run.
//
// A hint at sequence S says that every key in it is dead at S, in its generation and in
// everything older. It stays true while the generation exists, because no entry newer than
// S can get below it: tables and older generations hold only what was committed before the
// generation began. The one exception is the bulk load that a generation may begin with:
// the load takes the first sequence of the generation, and its tables go below. So S must
// not be before the beginning of the generation, nor before that load, and the state that
// the iterator read must still be the current one: an older state may lack the load's
// tables.
//
// An expired key is dead only for reads at the iterator's time and later. Runs with such
// keys are stored separately, with that time.

// deadRun is the dead keys that a move has passed so far, in either direction.
type deadRun struct {
	n       int
	expired bool // some are dead only because they expired
	first   []byte
	last    []byte
}

// DefaultDeadMin is how many dead keys, or jumps over some, make a run worth a hint:
// storing a hint costs about as much as passing twenty.
const DefaultDeadMin = 64

// reset begins a new run.
func (d *deadRun) reset() { d.n, d.expired = 0, false }

// pass adds a dead key to the run; what is the meaning of its newest entry.
func (c *cursor) pass(key []byte, what meaning) {
	d := &c.dead
	if d.n == 0 {
		d.first = append(d.first[:0], key...)
	}
	d.n++
	d.expired = d.expired || what == expired || what == covered && c.hit.timed
	d.last = append(d.last[:0], key...)
}

// longRun reports whether the last move passed enough dead keys for a hint, and did not
// fail.
func (c *cursor) longRun() bool { return c.dead.n >= c.env.DeadMin && c.err == nil }

// noteDead leaves a hint about the dead keys that a forward move passed: up to cur if the
// move found a live key, or else up to the last dead key.
func (c *cursor) noteDead(live bool) {
	if live {
		c.addHint(c.dead.first, c.cur.Key)
	} else {
		c.addHint(c.dead.first, append(c.own(c.dead.last), 0))
	}
}

// noteDeadBack leaves a hint about the dead keys that a backward move passed: down to the
// key in keyCopy if that is live, or else down to the lower bound.
func (c *cursor) noteDeadBack(live bool) {
	lo := c.lower
	if live {
		lo = append(c.own(c.keyCopy), 0)
	}
	c.addHint(lo, append(c.dead.first, 0))
}

// addHint leaves a hint with the newest generation.
func (c *cursor) addHint(lo, hi []byte) {
	if !c.mayHint() || bytes.Compare(lo, hi) >= 0 {
		return
	}
	at := uint64(0)
	if c.dead.expired {
		at = c.time
	}
	m := c.s.Active.Mem
	if !m.AddHint(c.k.ID(), lo, hi, c.seq, at) && c.env.Share(c.s.Active) {
		m.AddHint(c.k.ID(), lo, hi, c.seq, at)
	}
}

// mayHint reports whether the keys that this cursor finds dead stay dead: see the head of
// this file. A cursor with a transaction's own writes leaves no hints, since no other
// reader sees these writes.
func (c *cursor) mayHint() bool {
	return !c.withOwn && c.seq >= c.s.Active.After && c.env.Store.Current() == c.s
}
