package engine

import (
	"context"
	"errors"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
)

// ingestion is a commit whose data is in tables from the beginning. How it takes its place
// is described in package commit.
type ingestion struct {
	commit.Ingestion
	// enter installs the tables. leave, if it is not nil, is called when readers see them.
	enter func(at *loading) error
	leave func()
}

// loading is an ingestion between its place and its end.
type loading struct {
	*commit.Place
	job *compaction.Job // stands for it before the picker, once its level is chosen
}

// ingest takes an ingestion through, and returns its last sequence. The error is
// definite unless errors.Is(err, base.ErrCommitUnknown).
func (e *Engine) ingest(ctx context.Context, in *ingestion) (base.SeqNum, error) {
	e.flushMu.Lock()
	defer e.flushMu.Unlock()
	place, err := e.commit.TakePlace(ctx, &in.Ingestion)
	if err != nil {
		return 0, err
	}
	at := &loading{Place: place}
	// A panic leaves no commit waiting.
	err = errPanicked
	defer func() { e.endIngestion(in, at, err) }()
	// From here it is a matter of a few syncs; no context is asked.
	if _, ferr := e.flushBefore(context.Background(), at.Seq-1); ferr != nil {
		err = ferr
		return 0, err
	}
	err = in.enter(at)
	return at.End, err
}

// errPanicked is the outcome of an ingestion of which a step panicked.
var errPanicked = errors.New("engine: an ingestion panicked")

// endIngestion ends it, whether its tables came or not.
func (e *Engine) endIngestion(in *ingestion, at *loading, err error) {
	if at.job != nil {
		e.mu.Lock()
		e.unmarkInputs(at.job)
		e.mu.Unlock()
	}
	e.commit.EndPlace(at.Place, err, in.leave)
	e.background.kick() // the tables were in the way of jobs, or make some
}
