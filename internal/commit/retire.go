package commit

import (
	"context"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
)

// This file makes generations immutable for flushes.

// Retire makes everything committed so far immutable. If any generations hold it, Retire
// calls wanted with them before it replaces the active one: the replacement wakes the flusher,
// which may fail and retry before the caller of Retire waits for it. While Retire waits for
// room in the queue, it returns the first error of failed, the function that wanted returned.
// Both functions are called with the lock of commits held.
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

// RetireSoon requests that the active generation be made immutable, if it is not empty and
// the queue has room for it. It does not wait.
func (p *Pipeline) RetireSoon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused == nil && !p.gen.Mem.Empty() && !p.queueFull(p.env.Store.Current()) {
		p.wantTurn(0)
	}
}

// RetireLast replaces the active generation by one that takes no commit. Callers call it
// after commits and workers have ended.
func (p *Pipeline) RetireLast() error { return p.turnNow(closingMemtable) }

// closingMemtable is the size of the memtable that is active while Close
// flushes the others. No commit runs any more, so it stays empty.
const closingMemtable = 1 << 10

// OldestBut returns the oldest generation that is in memory once those in gens are flushed.
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

// ShareActive makes the half of the memtable that the keyspaces share, if g is active: a
// memtable lacks it until a keyspace is written to. If mu is held, ShareActive does not
// wait for it and does nothing. It reports whether g has that half.
func (p *Pipeline) ShareActive(g *generation.Generation) bool {
	if !p.mu.TryLock() {
		return false
	}
	defer p.mu.Unlock()
	return p.gen == g && g.Mem.Share() == nil
}
