// Package clock tells the time by which values expire, in Unix milliseconds.
//
// It follows the system's clock, but not its jumps: a system clock that is ten
// years ahead for a moment must not make everything expire, and one that is set
// back must not make time stand still. So the clock keeps a line, which runs on
// by elapsed time from the last moment at which the system was believed. The
// clock promises:
//
//   - The time never goes back while the database is open, for any caller: a
//     value seen to be gone stays gone.
//   - If the system is ahead of the line by jumpSlack or less, the clock follows
//     it at once. It follows a larger jump once the system has kept to it for
//     jumpConfirm of elapsed time, that is, once every look in that time found
//     the system within jumpSlack of the new time. The time that a machine slept
//     is noticed in this way too.
//   - If the system is behind the line, time runs on without it. If the clock had
//     followed the system ahead of the line, its time stands still until the line
//     catches up, for jumpSlack at most.
//   - The time at Open is the system's or the mark that was kept, whichever
//     is later. If the caller asks for a reset, the system's time is taken.
//   - Mark, the time to keep, never goes back and is never ahead of the time
//     that Now returns. A mark far in the future could never be taken back.
//     So if the system is more than openSlack ahead of the kept mark at Open,
//     and may have been wrong since before Open, that mark stays until the
//     system has kept to its time for jumpConfirm. A database without a mark
//     takes the system's time.
//
// The clock looks at the system only when it is asked; Tick makes it look. If
// the system jumps twice to the same place with no look in between, the clock
// takes it for one jump that lasted.
//
// The mark is kept in the manifest, with every edit and by Close, so that time
// does not go back from one opening to the next.
package clock

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/observe"
)

// Clock tells the time by which values expire. Call Start first, then Begin if
// the database existed before; after that it is safe for concurrent use.
type Clock struct {
	high   atomic.Uint64    // the latest time returned
	inUse  atomic.Bool      // something has an expiry, so the time matters
	system func() time.Time // immutable after Open
	// elapsed is the elapsed time at a reading of system. On some machines it stands
	// still while they sleep. Immutable after Open.
	elapsed func(time.Time) time.Duration

	// line is what the time runs along. Stored under mu.
	line atomic.Pointer[clockLine]

	mu     sync.Mutex
	kept   uint64        // guarded by mu; the mark in the manifest at Open
	sure   bool          // guarded by mu; the latest time may be kept as the mark
	agreed time.Duration // guarded by mu; while not sure: since when no Tick found the system behind
	jump   int64         // guarded by mu; how far the system's clock is ahead of the line

	// jumpedAt is the elapsed time at which that jump was first seen, or 0.
	// Stored under mu.
	jumpedAt atomic.Int64
}

// clockLine is a time and the elapsed time at it.
type clockLine struct {
	time    uint64
	elapsed time.Duration
}

const (
	// jumpSlack is the largest difference at which the system's clock is
	// followed at once.
	jumpSlack = 5 * time.Second
	// jumpConfirm is how long the system must keep to a jump.
	jumpConfirm = 10 * time.Second
	// openSlack is how far the system may be ahead of the kept mark at Open and
	// be believed at once: most databases were closed for less.
	openSlack = 30 * 24 * time.Hour
	// aheadSlack is the lead over the system's clock from which on Health
	// reports it.
	aheadSlack = time.Hour
)

// Start makes the clock usable, for a database without a mark. elapsed returns
// the elapsed time at a reading of system; if it is nil, that is how far a
// reading is from the first one.
func (c *Clock) Start(system func() time.Time, elapsed func(time.Time) time.Duration) {
	c.system, c.elapsed = system, elapsed
	if c.elapsed == nil {
		opened := c.system()
		c.elapsed = func(t time.Time) time.Duration { return t.Sub(opened) }
	}
	c.Begin(0, false)
}

// Begin starts the clock at Open with the mark that was kept, and returns the
// mark that holds. With reset, a mark ahead of the system's clock is taken back
// to it. Begin is called before any caller asks for the time.
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
	c.high.Store(max(wall, kept)) // not the time at Start: the system may have been wrong then
	return kept
}

func wallOf(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }

// at returns the time of the line at an elapsed time.
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

// jumped returns the time while the system's clock is ahead of the line: the
// line's, until the jump has lasted.
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

// Tick looks at the system's clock. Callers that keep the time call it before
// they do, and a worker calls it more often than once in jumpConfirm, so that
// two short jumps are not taken for one that lasts.
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

// Mark returns the time to keep, by which expired values may be dropped: the
// latest time returned, or the mark at Open while that is not sure. It does not
// ask the system's clock, since its callers hold locks; they call Tick before
// they take them.
func (c *Clock) Mark() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.sure {
		return c.kept
	}
	return c.high.Load()
}

// ahead returns a message if the time is far ahead of the system's clock, else
// "".
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

// Health calls worse if the time is far ahead of the system's clock and
// something has an expiry.
func (c *Clock) Health(worse func(observe.Status, string)) {
	if reason := c.ahead(); reason != "" {
		worse(observe.Degraded, reason)
	}
}

// IfUsed returns Now, or 0 while nothing has an expiry. If a reader calls it
// after it has its sequence and gets 0, it sees no entry with an expiry.
func (c *Clock) IfUsed() uint64 {
	if !c.inUse.Load() {
		return 0
	}
	return c.Now()
}

// Use makes Used true from now on. Callers call it before anything with an
// expiry becomes visible.
func (c *Clock) Use() {
	c.Now() // so that Told returns this time
	c.inUse.Store(true)
}

// Used reports whether anything has, or may have, an expiry.
func (c *Clock) Used() bool { return c.inUse.Load() }

// Told returns the latest time that was returned, or 0 while nothing has an
// expiry. It does not ask the system's clock: its callers hold locks, and
// called IfUsed before they took them.
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
