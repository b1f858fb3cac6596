package commit

import (
	"errors"
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
)

// This file makes logs durable beside commits.

// Sync makes every commit acknowledged so far durable.
func (p *Pipeline) Sync() error {
	p.mu.Lock()
	if err := p.refused; err != nil {
		p.mu.Unlock()
		return err
	}
	g, end := p.gen, p.nextSeq-1
	end -= p.heldSeqs // no log holds the sequences of an ingestion
	p.mu.Unlock()
	if g.Log == nil {
		return fmt.Errorf("%w: there is no log to sync with NoWAL; use Flush", base.ErrInvalidOptions)
	}
	if err := p.env.Versions.SyncKeyspaces(); err != nil {
		return err
	}
	if err := g.SyncAll(); err != nil {
		if errors.Is(err, base.ErrClosed) && p.durable.load() >= end {
			return nil // a flush made it durable, and abandoned the log
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.logFailed(g, err)
	}
	p.durable.raise(end)
	return nil
}

// sealer syncs and closes the logs of full generations, so that a Sync commit
// that follows a rotation finds little left to sync.
func (p *Pipeline) sealer() {
	for {
		select {
		case <-p.env.Work.Done():
			return
		case g := <-p.seals:
			if err := g.Seal(); err != nil && !errors.Is(err, base.ErrClosed) {
				p.Poison(g.LogError(err))
			}
		}
	}
}

// syncer makes Buffered commits durable every SyncInterval. It goes through Sync, not
// the log's own timer, because a log must not be synced before its
// predecessor.
func (p *Pipeline) syncer() {
	tick := time.NewTicker(p.env.SyncInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.env.Work.Done():
			return
		case <-tick.C:
			if p.durable.load() < p.env.Store.Visible() {
				_ = p.Sync() // a failure poisons, which all later commits report
			}
		}
	}
}

// sealLater hands a full generation to the sealer. If the sealer is behind, the log
// is sealed when it must be durable, or is dropped before.
func (p *Pipeline) sealLater(g *generation.Generation) {
	if g.Log == nil {
		return
	}
	select {
	case p.seals <- g:
	default:
	}
}
