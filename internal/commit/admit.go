package commit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/txn"
)

// This file holds the waits of a commit before it takes its place.

// admit waits until a commit may take its place and reserves need bytes for it
// in the active generation, or returns why the commit may not. The caller holds mu.
func (p *Pipeline) admit(ctx context.Context, need int64, b *batch.Batch, x *txn.Txn) error {
	var forget func()
	defer func() {
		if forget != nil {
			forget()
		}
	}()
	for {
		if p.refused != nil {
			return p.refused
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.commitsHeld {
			if err := p.env.Report.Callers.Refuse("a commit while a load, or a transaction with keyspaces, takes its place", callback.CallingJob); err != nil {
				return err
			}
			p.changed.Wait()
			continue
		}
		if err := p.env.Keyspaces.Check(b.Keyspaces()); err != nil {
			return err // a transaction may have dropped the keyspace during a wait
		}
		if err := p.env.Room.Refused(b); err != nil {
			return err
		}
		if p.turning.running {
			p.changed.Wait()
			continue
		}
		if reason := p.env.Pace.Pressure().Stops(b); reason != "" && (p.env.Room.Lacking() == nil || !reserve.Frees(b)) {
			if err := p.waitFor(StopL0, reason); err != nil {
				p.trouble.Store(&err)
				return err
			}
			continue
		}
		if x != nil {
			again, err := p.validate(ctx, x)
			if err != nil {
				return err
			}
			if again {
				continue // validate released the lock
			}
		}
		if !p.keptRoom(need, b) {
			p.changed.Wait()
			continue
		}
		if ok, err := p.reserveRoom(ctx, need, &forget); ok || err != nil {
			return err
		}
	}
}

// reserveRoom reserves need bytes of the active generation and reports true, or
// waits for what is missing and reports false: the caller then checks everything
// again. It may set forget, which the caller calls when the commit no longer
// waits. The caller holds mu.
func (p *Pipeline) reserveRoom(ctx context.Context, need int64, forget *func()) (ok bool, err error) {
	g := p.gen
	if g.Log != nil && g.Log.Crowded() {
		return false, p.waitForLog(g)
	}
	if g.Mem.Reserve(need) {
		if p.turning.halfFull != g {
			p.lookAhead()
		}
		return true, nil
	}
	if *forget == nil {
		*forget = p.noteLarge(need)
	}
	if err = p.makeRoom(ctx, need); err != nil {
		cause := err // err itself would be on the heap for every commit
		p.trouble.Store(&cause)
	}
	return false, err
}

// waitForLog waits, with mu released, until the log can take a record without
// writing to the file. The caller holds mu.
func (p *Pipeline) waitForLog(g *generation.Generation) error {
	p.mu.Unlock()
	err := g.Log.MakeRoom()
	p.mu.Lock()
	if err == nil || errors.Is(err, base.ErrClosed) {
		return nil // the caller sees the new generation, or that the database is closed
	}
	return p.logFailed(g, err)
}

// makeRoom replaces the active generation by one that can hold need bytes, after
// waiting for a flush if too many are queued. The caller holds mu, which makeRoom
// releases during waits, and checks everything again afterwards. A wait ends with
// room or with an error; it has no timeout.
func (p *Pipeline) makeRoom(ctx context.Context, need int64) error {
	// A nil state means that the database is closing: the caller sees refused.
	if s := p.env.Store.Current(); s != nil && p.queueFull(s) {
		return p.waitFor(StopMemtables, fmt.Sprintf("%d full memtables wait for their flush", len(s.Imm)))
	}
	return p.turn(ctx, p.gen, need)
}

// WaitUnstopped waits until stops returns no reason why writers are stopped. If ctx
// ends first, WaitUnstopped returns its error.
func (p *Pipeline) WaitUnstopped(ctx context.Context, stops func(*pace.Pressure) string) error {
	defer context.AfterFunc(ctx, p.Changed)()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.refused != nil {
			return p.refused
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		reason := stops(p.env.Pace.Pressure())
		if reason == "" {
			return nil
		}
		if err := p.waitFor(StopL0, reason); err != nil {
			return err
		}
	}
}

// waitFor waits until something changed, or returns the error that keeps writers
// stopped for ever. The caller holds mu.
func (p *Pipeline) waitFor(s Stop, reason string) error {
	if err := p.env.Blocking(s); err != nil {
		return err
	}
	if err := p.env.Report.Callers.Refuse("a commit while writers are stopped, since "+reason, callback.CallingJob); err != nil {
		return err
	}
	p.waitForRoom(reason)
	return nil
}

// waitForRoom parks a writer until something changed. The caller holds mu.
func (p *Pipeline) waitForRoom(reason string) {
	begin := time.Now()
	if p.waiting == 0 {
		p.Stats.stopped.Store(&reason)
		p.env.Report.Listener.StallBegin(reason)
		p.env.Report.Logger.Warn("seerdb: writers are stopped", "reason", reason)
	}
	p.waiting++
	p.env.Kick()
	p.changed.Wait()
	p.waiting--
	d := time.Since(begin)
	p.Stats.stops.Add(1)
	p.Stats.stopTime.Add(int64(d))
	if p.waiting == 0 {
		p.Stats.stopped.Store(nil)
		p.env.Report.Listener.StallEnd(reason, d)
	}
}
