package dbtest

import (
	"sync/atomic"
	"time"
)

// Epoch is the time at which models begin, in Unix milliseconds.
const Epoch = 1_000_000

// Clock is a clock that stands still until it is set. It may be used by many
// goroutines.
type Clock struct {
	ms      atomic.Int64
	elapsed atomic.Int64 // ms; it includes the time that SetBack takes from ms
}

// NewClock returns a clock at Epoch.
func NewClock() *Clock {
	c := &Clock{}
	c.Set(0)
	return c
}

// Set sets the clock to the time of a model.
func (c *Clock) Set(model int64) {
	c.ms.Store(Epoch + model)
	c.elapsed.Store(model)
}

// SetBack sets the clock to a time before that of a model.
func (c *Clock) SetBack(model, by int64) {
	c.Set(model)
	c.ms.Add(-by)
}

// Since returns the elapsed time, for the test option Elapsed.
func (c *Clock) Since(time.Time) time.Duration {
	return time.Duration(c.elapsed.Load()) * time.Millisecond
}

// Add moves the clock forward or back.
func (c *Clock) Add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// Now returns the time, for the test option Clock.
func (c *Clock) Now() time.Time { return time.UnixMilli(c.ms.Load()) }

// ModelTime converts an expiry to the time of a model.
func ModelTime(at time.Time, expires bool) int64 {
	if !expires {
		return 0
	}
	return at.UnixMilli() - Epoch
}
