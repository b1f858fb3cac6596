package commit

import (
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/latency"
)

// Stats count commits and their waits. All fields are atomic.
type Stats struct {
	commits   latency.Sampler
	userBytes atomic.Int64
	stops     atomic.Int64
	stopTime  atomic.Int64
	stopped   atomic.Pointer[string]
}

// Begin notes the begin of a commit.
func (s *Stats) Begin() time.Time { return s.commits.Begin() }

// End counts the commit of a batch.
func (s *Stats) End(begin time.Time, b *batch.Batch) {
	s.userBytes.Add(int64(b.KeyValueBytes()))
	s.commits.End(begin)
}

// Loaded counts the bytes of keys and values of a bulk load.
func (s *Stats) Loaded(n uint64) { s.userBytes.Add(int64(n)) }

// Stopped returns why writers are stopped, or "".
func (s *Stats) Stopped() string {
	if r := s.stopped.Load(); r != nil {
		return *r
	}
	return ""
}
