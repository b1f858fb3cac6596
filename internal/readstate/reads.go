package readstate

import (
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/latency"
)

// readStats is one shard of the counts of point reads, which are sharded like
// the reference counters of the state.
type readStats struct {
	latency.Sampler
	values atomic.Int64
	levels [base.NumLevels]struct {
		reads, negatives, falsePositives, unfiltered, pages atomic.Int64
	}
	_ [64]byte
}
