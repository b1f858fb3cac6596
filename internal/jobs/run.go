package jobs

import (
	"context"

	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
)

// runJob calls compaction.Run with guards around the merge operator and the filter of k.
func (js *Jobs) runJob(ctx context.Context, k *keyspace.Keyspace, o compaction.RunOptions) (compaction.Result, error) {
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
	defer js.env.Report.Callers.Enter(callback.CallingJob)()
	res, err := compaction.Run(ctx, o)
	if p := g.Panicked(); p != nil {
		js.env.Report.Panic(p)
	}
	return res, err
}
