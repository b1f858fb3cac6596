package dbtest

import (
	"sync/atomic"
	"time"
)

// Epoch is the time at which models begin, in Unix milliseconds.
const Epoch = 1_000_000

// Clock is a clock that stands still until it is set. The engine asks it
// from many goroutines.
type Clock struct {
	ms      atomic.Int64
	elapsed atomic.Int64 // ms; what SetBack takes from ms has elapsed all the same
}

// NewClock returns a clock at the time at which models begin.
func NewClock() *Clock {
	c := &Clock{}
	c.Set(0)
	return c
}

// Set makes it the time of a model.
func (c *Clock) Set(model int64) {
	c.ms.Store(Epoch + model)
	c.elapsed.Store(model)
}

// SetBack makes it show an earlier time than that of a model.
func (c *Clock) SetBack(model, by int64) {
	c.Set(model)
	c.ms.Add(-by)
}

// Since returns how much has elapsed, for the option Elapsed of tests.
func (c *Clock) Since(time.Time) time.Duration {
	return time.Duration(c.elapsed.Load()) * time.Millisecond
}

// Add makes it later, or earlier.
func (c *Clock) Add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// Now is for the option Clock of tests.
func (c *Clock) Now() time.Time { return time.UnixMilli(c.ms.Load()) }

// ModelTime returns an expiry in the time of a model.
func ModelTime(at time.Time, expires bool) int64 {
	if !expires {
		return 0
	}
	return at.UnixMilli() - Epoch
}
