package memtable

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/invariant"
)

// yielding makes one in so many yields do something. Tests of races set it.
var yielding atomic.Uint32

// yield marks the places between two steps of a protocol where another
// goroutine may come in. They are a few nanoseconds wide; in the invariants
// build a test can have the scheduler pass there every now and then, without
// which a check left out goes unnoticed by any test.
func yield() {
	if invariant.Enabled {
		if n := yielding.Load(); n != 0 && rand.Uint32N(n) == 0 {
			runtime.Gosched()
		}
	}
}
