package commit

import (
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/txn"
)

// This file begins and ends a pipeline.

// New returns a pipeline that takes no commits before Begin.
func New(env Env) *Pipeline {
	p := &Pipeline{env: env, seals: make(chan *generation.Generation, maxImmutable+8)}
	p.nextSeq = base.SeqNumStart
	p.changed.L = &p.mu
	p.maxQueue.Store(maxImmutable)
	p.turning.kick = make(chan struct{}, 1)
	p.tracker = txn.New(share(env.MemoryBudget, trackerShare))
	return p
}

// Follow makes the next sequence greater than seq. The caller is alone.
func (p *Pipeline) Follow(seq base.SeqNum) { p.nextSeq = max(p.nextSeq, seq+1) }

// Begin lets commits in, on version v of the tables. The first generation is g, which the
// pipeline owns from then on; if g is nil, Begin makes a generation and its log. Begin
// returns the generation. The caller is alone.
func (p *Pipeline) Begin(v *manifest.Version, g *generation.Generation) (*generation.Generation, error) {
	p.env.Store.Publish(p.nextSeq - 1)
	if g == nil {
		seg, err := p.MakeLog()
		if err != nil {
			return nil, err
		}
		if g, err = p.newGeneration(int64(p.env.MemtableSize), nil, seg); err != nil {
			return nil, err
		}
		g.After = p.nextSeq - 1
	}
	p.gen = g
	p.keeping.begin()
	p.env.Store.Begin(p.env.Versions.DB(), g, nil, v)
	return g, nil
}

// BeginReadOnly refuses all commits. The generations in gens, newest first, hold the content
// of the logs; active is empty. The caller is alone.
func (p *Pipeline) BeginReadOnly(v *manifest.Version, active *generation.Generation, gens []*generation.Generation) {
	p.env.Store.Publish(p.nextSeq - 1)
	p.durable.raise(p.nextSeq - 1)
	p.gen = active
	p.refuse(fmt.Errorf("%w: it was opened with Options.ReadOnly", base.ErrReadOnly))
	p.env.Store.Begin(p.env.Versions.DB(), active, gens, v)
}

// Abandon abandons the log of a pipeline whose Open failed.
func (p *Pipeline) Abandon() {
	if p.gen != nil {
		p.gen.AbandonLog()
	}
}

// Start starts the workers.
func (p *Pipeline) Start() {
	p.keepRoom(true) // before other writers take the room
	w := p.env.Work
	w.Go(p.turner)
	w.Go(p.keeper)
	w.Go(p.sealer)
	if p.env.SyncInterval > 0 {
		w.Go(p.syncer)
	}
}

// Close refuses new commits and waits for those in the queue.
func (p *Pipeline) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse(base.ErrClosed)
	p.closing = true
	for p.head != nil {
		p.changed.Wait()
	}
}

// KeepReserve sizes the reserve for the next Open. Callers call Close first.
func (p *Pipeline) KeepReserve() {
	want, _ := p.roomWanted(0)
	_, _ = p.env.Room.Keep(want, want+reserve.Min)
}
