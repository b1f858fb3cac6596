package engine

import (
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
)

// seqCell is a sequence that only grows.
type seqCell struct{ v atomic.Uint64 }

func (c *seqCell) load() base.SeqNum { return base.SeqNum(c.v.Load()) }

func (c *seqCell) raise(s base.SeqNum) {
	for {
		old := c.v.Load()
		if uint64(s) <= old || c.v.CompareAndSwap(old, uint64(s)) {
			return
		}
	}
}
