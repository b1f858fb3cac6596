package engine

import (
	"context"

	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
)

// runJob is compaction.Run with the merge operator and the filter of k guarded.
func (e *Engine) runJob(ctx context.Context, k *keyspace.Keyspace, o compaction.RunOptions) (compaction.Result, error) {
	if o.Merger == nil && o.Filter == nil {
		return compaction.Run(ctx, o)
	}
	g := callback.NewGuard(k.Describe(), o.Merger, o.Filter)
	if o.Merger != nil {
		o.Merger = g
	}
	if o.Filter != nil {
		o.Filter = g.Ask
	}
	defer e.report.Callers.Enter(callback.CallingJob)()
	res, err := compaction.Run(ctx, o)
	if p := g.Panicked(); p != nil {
		e.report.Panic(p)
	}
	return res, err
}
