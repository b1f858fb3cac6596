package commit

import (
	"context"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
)

// This file holds what flushes need of the pipeline: generations that no commit adds to any
// more.

// Retire makes everything committed so far immutable. wanted gets the generations that hold
// it, if there are any, before the active one is replaced, which wakes the flusher: it may
// have failed and tried again before the caller of Retire waits for it. While Retire waits for
// room in the queue it asks failed, which wanted returned, whether that is in vain. Both are
// called with the lock of commits held.
func (p *Pipeline) Retire(ctx context.Context, wanted func(gens []*generation.Generation) (failed func() error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != nil {
		return p.refused
	}
	s := p.env.Store.Current()
	if s == nil {
		return base.ErrClosed
	}
	gens := slices.Clone(s.Imm)
	active := !p.gen.Mem.Empty() || p.head != nil
	if active {
		gens = append(gens, p.gen)
	}
	if len(gens) == 0 {
		return nil
	}
	failed := wanted(gens)
	if !active {
		return nil
	}
	return p.retireActive(ctx, p.gen, failed)
}

// retireActive makes g immutable. The caller holds mu.
func (p *Pipeline) retireActive(ctx context.Context, g *generation.Generation, failed func() error) error {
	defer context.AfterFunc(ctx, p.Changed)()
	for p.gen == g {
		if p.refused != nil {
			return p.refused
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !p.queueFull(p.env.Store.Current()) {
			return p.turn(ctx, g, 0)
		}
		if err := failed(); err != nil {
			return err
		}
		p.waitForRoom("a flush waits for its turn")
	}
	return nil
}

// RetireSoon asks for the active generation to be made immutable, if it holds something and
// there is room for one in the queue.
func (p *Pipeline) RetireSoon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused == nil && !p.gen.Mem.Empty() && !p.queueFull(p.env.Store.Current()) {
		p.wantTurn(0)
	}
}

// RetireLast replaces the active generation, by one that takes no commit, when there are
// neither commits nor workers any more.
func (p *Pipeline) RetireLast() error { return p.turnNow(closingMemtable) }

// closingMemtable is the size of the memtable that is active while Close
// flushes the others. No commit runs any more, so it stays empty.
const closingMemtable = 1 << 10

// OldestBut is the oldest generation that is still in memory once those in gens are flushed.
func (p *Pipeline) OldestBut(gens []*generation.Generation) *generation.Generation {
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := p.gen
	for _, g := range p.env.Store.Current().Imm {
		if !slices.Contains(gens, g) {
			oldest = g // the list is newest first
		}
	}
	return oldest
}

// ShareActive makes the half of a memtable that the keyspaces share, if g is active: it is
// missing while all of them are idle. It does nothing if a commit is in the way.
func (p *Pipeline) ShareActive(g *generation.Generation) bool {
	if !p.mu.TryLock() {
		return false
	}
	defer p.mu.Unlock()
	return p.gen == g && g.Mem.Share() == nil
}
