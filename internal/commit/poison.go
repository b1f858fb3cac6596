package commit

import (
	"errors"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
)

// This file handles failed writes and syncs.

// logFailed records an error of the log in the pipeline, and returns the error for the
// committer. A full disk is a definite failure of this commit only: the log was cut
// back, and the next commit tries again, so writing resumes by itself once there is
// space. The caller holds mu.
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

// ClearTrouble notes that commits succeed again.
func (p *Pipeline) ClearTrouble() {
	if p.trouble.Load() != nil {
		p.trouble.Store(nil)
	}
}

// Poison makes the database read-only for good (I9): reads go on, writes return
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
