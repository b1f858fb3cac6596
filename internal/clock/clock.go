// Package clock tells the time by which values expire, in Unix milliseconds. It never
// goes back while the database is open: what was seen to be gone stays gone.
//
// It follows the system's clock, but not where that jumps: a clock that is ten
// years ahead for a moment must not make everything expire, nor a clock that is
// set back make time stand still. So it runs on by elapsed time from the last
// moment at which the two agreed, and
//
//   - a jump ahead, by more than jumpSlack, counts only when the system has kept
//     to it for jumpConfirm of elapsed time: that is also how a machine that slept
//     is noticed;
//   - where the system's clock is behind, time runs on without it.
//
// The latest time is kept in the manifest, with every edit and by Close, so that
// time does not go back over openings. A mark that is far in the future could
// never be taken back, so one is set far ahead of the one before it only after
// jumpConfirm: until then the system may be wrong since before Open.
package clock

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/observe"
)

// Clock tells the time by which values expire. Start comes first, then Begin if the
// database was there before; all else is for concurrent use.
type Clock struct {
	high   atomic.Uint64    // the latest time told
	inUse  atomic.Bool      // something has an expiry, so the time matters
	system func() time.Time // immutable after Open
	// elapsed is the elapsed time at a reading of system; perhaps it stands still
	// while the machine sleeps. Immutable after Open.
	elapsed func(time.Time) time.Duration

	// line is what the time runs on by. Stored under mu.
	line atomic.Pointer[clockLine]

	mu       sync.Mutex
	kept     uint64        // guarded by mu; the mark of the manifest at Open
	sure     bool          // guarded by mu; the latest time may be written down
	opened   time.Duration // immutable after Begin
	jump     int64         // guarded by mu; by how much the system's clock is ahead of the line
	jumpedAt time.Duration // guarded by mu; since when; 0: it is not
}

// clockLine says that it was a time when so much had elapsed.
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

// Start makes the clock usable, for a database without a mark. It follows system;
// elapsed is the elapsed time at a reading of that, nil for what readings are apart.
func (c *Clock) Start(system func() time.Time, elapsed func(time.Time) time.Duration) {
	c.system, c.elapsed = system, elapsed
	if c.elapsed == nil {
		opened := c.system()
		c.elapsed = func(t time.Time) time.Duration { return t.Sub(opened) }
	}
	c.Begin(0, false)
}

// Begin starts the clock at Open, with the mark that was written down; reset
// believes the system's clock instead. It returns the mark that holds.
func (c *Clock) Begin(kept uint64, reset bool) uint64 {
	reading := c.system()
	wall := wallOf(reading)
	if reset {
		kept = min(kept, wall)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept, c.opened = kept, c.elapsed(reading)
	c.sure = kept == 0 || wall <= kept+uint64(openSlack.Milliseconds())
	c.line.Store(&clockLine{max(wall, kept), c.opened})
	c.raise(max(wall, kept))
	return kept
}

func wallOf(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }

// at is the time of the line when so much has elapsed.
func (l *clockLine) at(elapsed time.Duration) uint64 {
	return l.time + uint64(max(elapsed-l.elapsed, 0).Milliseconds())
}

// Now is the time now.
func (c *Clock) Now() uint64 {
	reading := c.system()
	elapsed, wall := c.elapsed(reading), wallOf(reading)
	t := c.line.Load().at(elapsed)
	if ahead := int64(wall) - int64(t); ahead > jumpSlack.Milliseconds() {
		t = c.jumped(ahead, elapsed, wall, t)
	} else {
		t = max(t, wall)
	}
	return c.raise(t)
}

// jumped is the time when the system's clock is ahead of the line: that of the
// line, until the jump has lasted.
func (c *Clock) jumped(ahead int64, elapsed time.Duration, wall, t uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if same := ahead - c.jump; c.jumpedAt == 0 || same > jumpSlack.Milliseconds() || same < -jumpSlack.Milliseconds() {
		c.jump, c.jumpedAt = ahead, max(elapsed, 1)
	}
	if elapsed-c.jumpedAt < jumpConfirm {
		return t
	}
	c.line.Store(&clockLine{wall, elapsed})
	c.jumpedAt = 0
	return wall
}

// Tick looks at the clock once in a while, so that a jump that lasts does not look
// like two that do not.
func (c *Clock) Tick() {
	t, reading := c.Now(), c.system()
	wall := wallOf(reading)
	c.mu.Lock()
	defer c.mu.Unlock()
	if int64(wall)-int64(t) <= jumpSlack.Milliseconds() {
		c.jumpedAt = 0
	}
	if !c.sure && c.elapsed(reading)-c.opened >= jumpConfirm && int64(t)-int64(wall) <= jumpSlack.Milliseconds() {
		c.sure = true // it has kept to it since Open
	}
}

// Mark is the time to write down, and by which what has expired may be dropped:
// the latest time, as far as that is sure. It does not ask the system's clock, since
// callers hold locks; they called Tick before they took them.
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
	d := time.Duration(int64(c.Now())-int64(wallOf(c.system()))) * time.Millisecond
	if d < aheadSlack {
		return ""
	}
	return fmt.Sprintf("the time by which values expire is %v ahead of the system's clock, which was ahead itself once; "+
		"open the database with Options.ResetClock to go by the system's clock again", d.Round(time.Minute))
}

// Health adds what is wrong with the clock.
func (c *Clock) Health(worse func(observe.Status, string)) {
	if reason := c.ahead(); reason != "" {
		worse(observe.Degraded, reason)
	}
}

// IfUsed is Now, or 0 while nothing has an expiry. A reader that asks after it
// has its sequence sees no entry with an expiry if the answer is 0.
func (c *Clock) IfUsed() uint64 {
	if !c.inUse.Load() {
		return 0
	}
	return c.Now()
}

// Use is called before anything with an expiry can be seen.
func (c *Clock) Use() {
	c.Now() // so that Told knows a time
	c.inUse.Store(true)
}

// Used reports whether anything has, or may have, an expiry.
func (c *Clock) Used() bool { return c.inUse.Load() }

// Told is IfUsed without asking the system's clock: for callers that hold locks,
// and called IfUsed before they took them.
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
