package commit

import (
	"errors"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
)

// This file holds what a failed write or sync does to a pipeline.

// logFailed turns an error of the log into what a committer gets, and into
// the state of the pipeline. A full disk is a definite failure of this commit
// only: the log was cut back, and the next commit tries again, which is how
// writing resumes by itself. The caller holds mu.
func (p *Pipeline) logFailed(g *generation.Generation, err error) error {
	if errors.Is(err, base.ErrNoSpace) {
		p.trouble.Store(&err)
		return err
	}
	if errors.Is(err, base.ErrClosed) {
		return err
	}
	p.poisonLocked(g.LogError(err))
	if errors.Is(err, base.ErrCommitUnknown) || errors.Is(err, base.ErrReadOnly) {
		return err
	}
	return fmt.Errorf("%w: %w", base.ErrCommitUnknown, err)
}

// ClearTrouble notes that commits go on.
func (p *Pipeline) ClearTrouble() {
	if p.trouble.Load() != nil {
		p.trouble.Store(nil)
	}
}

// Poison makes the database read-only for good (I9): reads go on, writes meet
// the first cause.
func (p *Pipeline) Poison(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.poisonLocked(cause)
}

func (p *Pipeline) poisonLocked(cause error) {
	if p.env.Latch.Set(cause) {
		if !p.closing {
			p.refuse(p.env.Latch.Refusal())
		}
		p.env.Report.Poisoned(p.env.Latch.Cause())
		p.env.Work.Stop()
	}
	p.changed.Broadcast()
}
