package engine

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/observe"
)

// EstimateRange estimates what lies at lo <= key < hi; nil is unbounded. It opens the
// tables that lo or hi cut, and reads nothing else.
func (k *Keyspace) EstimateRange(lo, hi []byte) (observe.RangeEstimate, error) {
	s, shard := k.e.store.Keep()
	if s == nil {
		return observe.RangeEstimate{}, base.ErrClosed
	}
	defer s.LetGo(shard)
	if err := k.Usable(); err != nil { // asked of a state that is as new as the drop, if it was
		return observe.RangeEstimate{}, err
	}
	return s.Estimate(k.ID(), lo, hi)
}
