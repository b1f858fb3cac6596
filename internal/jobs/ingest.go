package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
)

// Ingestion is a commit whose data is in tables from the beginning: see commit.Ingestion for
// its steps.
type Ingestion struct {
	commit.Ingestion
	// Enter installs the tables. Leave, if it is not nil, is called once readers see them.
	Enter func(at *Loading) error
	Leave func()
}

// Loading is an ingestion that has its place and has not ended.
type Loading struct {
	*commit.Place
	job *compaction.Job // represents the ingestion to the picker, once its level is chosen
}

// Ingest runs an ingestion and returns its last sequence. The error is
// definite unless errors.Is(err, base.ErrCommitUnknown).
func (js *Jobs) Ingest(ctx context.Context, in *Ingestion) (base.SeqNum, error) {
	js.flushMu.Lock()
	defer js.flushMu.Unlock()
	place, err := js.env.Commit.TakePlace(ctx, &in.Ingestion)
	if err != nil {
		return 0, err
	}
	at := &Loading{Place: place}
	// A panic leaves no commit waiting.
	err = errPanicked
	defer func() { js.endIngestion(in, at, err) }()
	// The rest takes a few syncs and ignores ctx.
	if _, ferr := js.flushBefore(context.Background(), at.Seq-1); ferr != nil {
		err = ferr
		return 0, err
	}
	err = in.Enter(at)
	return at.End, err
}

// errPanicked is the outcome of an ingestion if one of its steps panics.
var errPanicked = errors.New("jobs: an ingestion panicked")

// endIngestion ends an ingestion; err is the outcome of its steps.
func (js *Jobs) endIngestion(in *Ingestion, at *Loading, err error) {
	if at.job != nil {
		js.mu.Lock()
		js.unmarkInputs(at.job)
		js.mu.Unlock()
	}
	js.env.Commit.EndPlace(at.Place, err, in.Leave)
	js.Kick() // the tables no longer block jobs, and may need some
}

// Outcome runs a step that installs an ingestion and returns its error. The error is definite
// unless the step poisoned the database: then the next Open may find the tables installed.
func (js *Jobs) Outcome(install func() error) error {
	healthy := js.env.Latch.Cause() == nil
	err := install()
	if cause := js.env.Latch.Cause(); err != nil && healthy && cause != nil {
		return fmt.Errorf("%w: %w", base.ErrCommitUnknown, cause)
	}
	return err
}
