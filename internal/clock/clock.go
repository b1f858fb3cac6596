// Package clock tells the time by which values expire, in Unix milliseconds.
//
// It follows the system's clock, but not where that jumps: a clock that is ten
// years ahead for a moment must not make everything expire, nor a clock that is
// set back make time stand still. So there is a line, which runs on by elapsed time
// from the last moment at which the system was believed. The clock promises:
//
//   - The time never goes back while the database is open, for however many
//     callers: what was seen to be gone stays gone.
//   - The system is followed at once where it is ahead of the line by jumpSlack or
//     less. A jump ahead by more counts once the system has kept to it for
//     jumpConfirm of elapsed time: for so long every look at it found it within
//     jumpSlack of where it jumped to. That is also how a machine that slept is noticed.
//   - Where the system is behind the line, time runs on without it. Having followed
//     the system ahead of the line, the time waits for the line: it stands still for
//     jumpSlack at most.
//   - The time at Open is the system's or the mark that was kept, whichever is later;
//     the mark counts for no more than the system's time if the caller asks for a reset.
//   - Mark, the time to keep, never goes back and is never ahead of the time told. A
//     mark that is far in the future could never be taken back, so where the system
//     is more than openSlack ahead of the kept mark at Open, that one stays until the
//     system has kept to its time for jumpConfirm: it may be wrong since before Open.
//     A database without a mark takes the system's time.
//
// The clock looks at the system when it is asked, and no more often; Tick makes it
// look. A system that jumps twice to the same place, with no look in between,
// passes for one that kept to it.
//
// The mark is kept in the manifest, with every edit and by Close, so that time does
// not go back over openings.
package clock

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/observe"
)

// Clock tells the time by which values expire. Start comes first, then Begin if the
// database was there before; all else comes after them, and is for concurrent use.
type Clock struct {
	high   atomic.Uint64    // the latest time told
	inUse  atomic.Bool      // something has an expiry, so the time matters
	system func() time.Time // immutable after Open
	// elapsed is the elapsed time at a reading of system. On some machines it stands
	// still while they sleep. Immutable after Open.
	elapsed func(time.Time) time.Duration

	// line is what the time runs on by. Stored under mu.
	line atomic.Pointer[clockLine]

	mu     sync.Mutex
	kept   uint64        // guarded by mu; the mark of the manifest at Open
	sure   bool          // guarded by mu; the latest time may be written down
	agreed time.Duration // guarded by mu; while not sure: since when no Tick found the system behind
	jump   int64         // guarded by mu; by how much the system's clock is ahead of the line

	// jumpedAt is since when it is, in elapsed time; 0: it is not. Stored under mu.
	jumpedAt atomic.Int64
}

// clockLine is a time, and how much had elapsed at it.
type clockLine struct {
	time    uint64
	elapsed time.Duration
}

const (
	// jumpSlack is up to which difference the system's clock is followed at once.
	jumpSlack = 5 * time.Second
	// jumpConfirm is for how long it must keep to a jump.
	jumpConfirm = 10 * time.Second
	// openSlack is by how much it may be ahead at Open of what was written down
	// and be believed at once: most databases were closed for less.
	openSlack = 30 * 24 * time.Hour
	// aheadSlack is from which difference on Health says that time runs ahead of
	// the system's clock.
	aheadSlack = time.Hour
)

// Start makes the clock usable, for a database without a mark. It follows system.
// elapsed returns the elapsed time at a reading of system; nil stands for how far a
// reading is from the first one.
func (c *Clock) Start(system func() time.Time, elapsed func(time.Time) time.Duration) {
	c.system, c.elapsed = system, elapsed
	if c.elapsed == nil {
		opened := c.system()
		c.elapsed = func(t time.Time) time.Duration { return t.Sub(opened) }
	}
	c.Begin(0, false)
}

// Begin starts the clock at Open, with the mark that was kept. With reset, a mark
// that is ahead of the system's clock is taken back to it. Begin returns the mark that
// holds. Nothing has asked for the time yet.
func (c *Clock) Begin(kept uint64, reset bool) uint64 {
	reading := c.system()
	wall := wallOf(reading)
	if reset {
		kept = min(kept, wall)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept, c.agreed = kept, c.elapsed(reading)
	c.sure = kept == 0 || wall <= kept+uint64(openSlack.Milliseconds())
	c.line.Store(&clockLine{max(wall, kept), c.agreed})
	c.high.Store(max(wall, kept)) // not what the system said at Start: it may have been wrong
	return kept
}

func wallOf(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }

// at is the time of the line when so much has elapsed.
func (l *clockLine) at(elapsed time.Duration) uint64 {
	return l.time + uint64(max(elapsed-l.elapsed, 0).Milliseconds())
}

// Now returns the time.
func (c *Clock) Now() uint64 {
	reading := c.system()
	elapsed, wall := c.elapsed(reading), wallOf(reading)
	t := c.line.Load().at(elapsed)
	if ahead := int64(wall) - int64(t); ahead > jumpSlack.Milliseconds() {
		t = c.jumped(ahead, elapsed, wall, t)
	} else {
		t = max(t, wall)
		if c.jumpedAt.Load() != 0 {
			c.returned()
		}
	}
	return c.raise(t)
}

// returned notes that the system's clock did not keep to a jump.
func (c *Clock) returned() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jumpedAt.Store(0)
}

// jumped is the time when the system's clock is ahead of the line: that of the
// line, until the jump has lasted.
func (c *Clock) jumped(ahead int64, elapsed time.Duration, wall, t uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := time.Duration(c.jumpedAt.Load())
	if same := ahead - c.jump; since == 0 || same > jumpSlack.Milliseconds() || same < -jumpSlack.Milliseconds() {
		since = max(elapsed, 1)
		c.jump = ahead
		c.jumpedAt.Store(int64(since))
	}
	if elapsed-since < jumpConfirm {
		return t
	}
	c.line.Store(&clockLine{wall, elapsed})
	c.jumpedAt.Store(0)
	return wall
}

// Tick looks at the system's clock. Callers that write the time down call it
// before, and others once in a while: more often than each jumpConfirm, so that two
// jumps that do not last are not taken for one that does.
func (c *Clock) Tick() {
	t, reading := c.Now(), c.system()
	elapsed := c.elapsed(reading)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.sure:
	case int64(t)-int64(wallOf(reading)) > jumpSlack.Milliseconds():
		c.agreed = elapsed
	case elapsed-c.agreed >= jumpConfirm:
		c.sure = true
	}
}

// Mark returns the time to write down, and by which what has expired may be dropped:
// the latest time told, or the mark at Open while that is not sure. It does not ask
// the system's clock, since callers hold locks; they called Tick before they took them.
func (c *Clock) Mark() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.sure {
		return c.kept
	}
	return c.high.Load()
}

// ahead says that the time is far from the system's clock, if it is.
func (c *Clock) ahead() (reason string) {
	if !c.inUse.Load() {
		return ""
	}
	ms := int64(c.Now()) - int64(wallOf(c.system()))
	if ms < aheadSlack.Milliseconds() {
		return ""
	}
	d := time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	return fmt.Sprintf("the time by which values expire is %v ahead of the system's clock, which was ahead itself once; "+
		"open the database with Options.ResetClock to go by the system's clock again", d.Round(time.Minute))
}

// Health calls worse if the time is far ahead of the system's clock, and something
// has an expiry.
func (c *Clock) Health(worse func(observe.Status, string)) {
	if reason := c.ahead(); reason != "" {
		worse(observe.Degraded, reason)
	}
}

// IfUsed returns Now, or 0 while nothing has an expiry. A reader that asks after it
// has its sequence sees no entry with an expiry if the answer is 0.
func (c *Clock) IfUsed() uint64 {
	if !c.inUse.Load() {
		return 0
	}
	return c.Now()
}

// Use makes Used true from now on. Callers call it before anything with an expiry
// can be seen.
func (c *Clock) Use() {
	c.Now() // so that Told knows this time
	c.inUse.Store(true)
}

// Used reports whether anything has, or may have, an expiry.
func (c *Clock) Used() bool { return c.inUse.Load() }

// Told returns the latest time that was told, or 0 while nothing has an expiry. It
// does not ask the system's clock: it is for callers that hold locks, and called
// IfUsed before they took them.
func (c *Clock) Told() uint64 {
	if !c.inUse.Load() {
		return 0
	}
	return c.high.Load()
}

// raise makes the time at least t, and returns it.
func (c *Clock) raise(t uint64) uint64 {
	for {
		high := c.high.Load()
		if t <= high {
			return high
		}
		if c.high.CompareAndSwap(high, t) {
			return t
		}
	}
}
