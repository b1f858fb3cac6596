package engine

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/observe"
)

// EstimateRange estimates the content of lo <= key < hi; nil is unbounded. It opens only
// the tables that contain lo or hi.
func (k *Keyspace) EstimateRange(lo, hi []byte) (observe.RangeEstimate, error) {
	s, shard := k.e.store.Keep()
	if s == nil {
		return observe.RangeEstimate{}, base.ErrClosed
	}
	defer s.LetGo(shard)
	if err := k.Usable(); err != nil { // after the state was acquired: it may lack a dropped keyspace
		return observe.RangeEstimate{}, err
	}
	return s.Estimate(k.ID(), lo, hi)
}
