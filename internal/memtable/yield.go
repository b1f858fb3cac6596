package memtable

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/invariant"
)

// yielding makes yield do something. Tests of races set it.
var yielding atomic.Bool

// yield marks the places between two steps of a protocol where another
// goroutine may come in. They are a few nanoseconds wide; in the invariants
// build a test can have the scheduler pass there every now and then, without
// which a check left out goes unnoticed by any test.
func yield() {
	if invariant.Enabled && yielding.Load() && rand.Uint32()&7 == 0 {
		runtime.Gosched()
	}
}
