package invariant

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
)

// Yielding makes one in so many Yields do something. Tests of races set it.
var Yielding atomic.Uint32

// Yield marks the places between two steps of a protocol where another
// goroutine may come in. They are a few nanoseconds wide; in the invariants
// build a test can have the scheduler pass there every now and then, without
// which a check left out goes unnoticed by any test.
func Yield() {
	if Enabled {
		if n := Yielding.Load(); n != 0 && rand.Uint32N(n) == 0 {
			runtime.Gosched()
		}
	}
}
