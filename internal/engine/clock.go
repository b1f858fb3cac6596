package engine

import (
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

// clock tells the time by which values expire, in Unix milliseconds. It never
// goes back: what was seen to be gone stays gone. The latest time that was told
// is kept in the manifest, with every edit and by Close; a crash loses what was
// told since the last edit, which matters only if the system's clock is then
// behind where it was.
type clock struct {
	high   atomic.Uint64    // the latest time told
	inUse  atomic.Bool      // something has an expiry, so the time matters
	system func() time.Time // immutable after Open
}

// now is the time now.
func (c *clock) now() uint64 {
	t := uint64(max(c.system().UnixMilli(), 0))
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

// ifUsed is now, or 0 while nothing has an expiry. A reader that asks after it
// has its sequence sees no entry with an expiry if the answer is 0.
func (c *clock) ifUsed() uint64 {
	if !c.inUse.Load() {
		return 0
	}
	return c.now()
}

// raise makes the time at least t.
func (c *clock) raise(t uint64) {
	for {
		high := c.high.Load()
		if t <= high || c.high.CompareAndSwap(high, t) {
			return
		}
	}
}

// Now is the time by which values expire, in Unix milliseconds.
func (e *Engine) Now() uint64 { return e.clock.now() }

// Moment is what a read sees: entries up to a sequence, and of those that
// expire the ones that are left at a time.
type Moment struct {
	Seq  base.SeqNum // base.SeqNumMax: the newest visible one
	Time uint64      // 0: the time at which the read begins
	hold *hold       // of the snapshot; nil where there is none
}

// Newest is the moment at which a read begins.
var Newest = Moment{Seq: base.SeqNumMax}
