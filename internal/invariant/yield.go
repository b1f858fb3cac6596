package invariant

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
)

// Yielding makes one in this many calls of Yield yield. Tests of races set it.
var Yielding atomic.Uint32

// Yield marks a place between two steps of a protocol where another goroutine
// may interfere. These windows are a few nanoseconds wide; in the invariants
// build a test can make the scheduler switch there now and then. Without that
// no test notices a missing check.
func Yield() {
	if Enabled {
		if n := Yielding.Load(); n != 0 && rand.Uint32N(n) == 0 {
			runtime.Gosched()
		}
	}
}
