package commit

import (
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/latency"
)

// Stats count commits and what they wait for. All are atomic.
type Stats struct {
	commits   latency.Sampler
	userBytes atomic.Int64
	stops     atomic.Int64
	stopTime  atomic.Int64
	stopped   atomic.Pointer[string]
}

// Begin begins a commit.
func (s *Stats) Begin() time.Time { return s.commits.Begin() }

// End ends the commit of a batch.
func (s *Stats) End(begin time.Time, b *batch.Batch) {
	s.userBytes.Add(int64(b.KeyValueBytes()))
	s.commits.End(begin)
}

// Loaded counts the bytes of keys and values of a bulk load.
func (s *Stats) Loaded(n uint64) { s.userBytes.Add(int64(n)) }

// Stopped is why writers are stopped, or empty.
func (s *Stats) Stopped() string {
	if r := s.stopped.Load(); r != nil {
		return *r
	}
	return ""
}
