package engine

import (
	"context"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/compaction"
)

// runJob is compaction.Run with the merge operator and the filter of k guarded.
func (e *Engine) runJob(ctx context.Context, k *Keyspace, o compaction.RunOptions) (compaction.Result, error) {
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
	defer e.callers.Enter(callback.CallingJob)()
	res, err := compaction.Run(ctx, o)
	if p := g.Panicked(); p != nil {
		e.notePanic(p)
	}
	return res, err
}

// notePanic reports a panic of the program's code that the engine recovered from:
// to the logger, to the listener and, until the next Open, in Health.
func (e *Engine) notePanic(p *base.PanicError) {
	e.panicked.Store(p)
	ctx, final := context.Background(), p.Code == callback.ListenerCode || p.Code == callback.LoggerCode
	if final {
		ctx = callback.Finally(ctx)
	}
	if p.Code != callback.LoggerCode {
		e.opts.Logger.ErrorContext(ctx, "seerdb: code of the program panicked", "err", p, "stack", string(p.Stack))
	}
	e.listener.Panicked(p, final)
}
