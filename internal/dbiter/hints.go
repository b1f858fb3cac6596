package dbiter

import "bytes"

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

// pass takes note of a dead key, and of what its newest entry means.
func (c *cursor) pass(key []byte, what meaning) {
	d := &c.dead
	if d.n == 0 {
		d.first = append(d.first[:0], key...)
	}
	d.n++
	d.expired = d.expired || what == expired || what == covered && c.hit.timed
	d.last = append(d.last[:0], key...)
}

// longRun reports whether the last move passed enough dead keys for a hint, to an end
// that is known.
func (c *cursor) longRun() bool { return c.dead.n >= c.env.DeadMin && c.err == nil }

// noteDead leaves a hint about what a move forward passed, up to cur if it came to a live
// key, or else up to the last dead one.
func (c *cursor) noteDead(live bool) {
	if live {
		c.addHint(c.dead.first, c.cur.Key)
	} else {
		c.addHint(c.dead.first, append(c.own(c.dead.last), 0))
	}
}

// noteDeadBack leaves a hint about what a move backward passed, down to the key in keyCopy
// if that is live, or else to where the walk ends.
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

// mayHint reports whether what this cursor finds dead is dead for good: see
// above. No other reader sees a transaction's own writes.
func (c *cursor) mayHint() bool {
	return !c.withOwn && c.seq >= c.s.Active.After && c.env.Store.Current() == c.s
}
