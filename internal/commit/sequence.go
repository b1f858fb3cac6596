package commit

import (
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
)

// sequence is an atomic sequence that only grows.
type sequence struct{ v atomic.Uint64 }

func (c *sequence) load() base.SeqNum { return base.SeqNum(c.v.Load()) }

func (c *sequence) raise(s base.SeqNum) {
	for {
		old := c.v.Load()
		if uint64(s) <= old || c.v.CompareAndSwap(old, uint64(s)) {
			return
		}
	}
}
