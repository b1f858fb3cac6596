package dbtest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Crowd runs workers until the test stops them.
type Crowd struct {
	testing.TB
	stop    atomic.Bool
	Workers sync.WaitGroup
}

// Each calls f over and over, concurrently with the other workers.
func (c *Crowd) Each(f func(i int)) {
	c.Workers.Go(func() {
		for i := 1; !c.stop.Load() && !c.Failed(); i++ {
			f(i)
		}
	})
}

// Run runs the workers for a while, and on a busy machine until enough has
// happened.
func (c *Crowd) Run(d time.Duration, enough func() bool) {
	for range 100 {
		if time.Sleep(d); enough() || c.Failed() {
			break
		}
	}
	c.stop.Store(true)
	c.Workers.Wait()
}

// OK reports an error to the test. Unlike Must it may be called by workers.
func (c *Crowd) OK(err error) bool {
	if err != nil {
		c.Error(err)
	}
	return err == nil
}

// CrowdTime returns how long a crowd works.
func CrowdTime() time.Duration {
	if testing.Short() {
		return 200 * time.Millisecond
	}
	return 800 * time.Millisecond
}
