package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// beginByHand lists the work of Compact in [lo, hi) of a keyspace.
func (js *Jobs) beginByHand(k *keyspace.Keyspace, lo, hi []byte) {
	h := &byHand{k: k, all: k.Options().Filter != nil, tables: make(map[base.FileNum]bool)}
	end := base.EndAt(hi)
	js.mu.Lock()
	defer js.mu.Unlock()
	js.byHand = h
	s := js.env.Store.Current()
	if s == nil {
		return
	}
	t := s.Version().Tree(k.ID())
	for level := range t.Levels {
		for i := range t.Levels[level] {
			for _, f := range t.Levels[level][i].Overlapping(lo, end) {
				if level < lastLevel || len(t.Levels[level]) > 1 || h.rewrites(f) {
					h.tables[f.Num] = true
				}
			}
		}
	}
}

func (js *Jobs) endByHand() {
	js.mu.Lock()
	js.byHand = nil
	js.mu.Unlock()
	js.Kick()
}

// Compact flushes, then compacts until every key in [lo, hi) of the keyspace that
// was there at the call is in one run of the last level that holds any, and has
// passed the filter if there is one. It then joins small files there. Background
// compactions go on beside it, but no new ones begin in this keyspace while Compact
// waits for running ones that are in its way.
func (js *Jobs) Compact(ctx context.Context, k *keyspace.Keyspace, lo, hi []byte) error {
	if err := k.Usable(); err != nil {
		return err
	}
	if err := js.env.Report.Callers.Refuse("Compact", callback.CallingJob); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx) // our own: its methods are called under locks
	defer cancel()
	if err := js.Flush(ctx); err != nil {
		return err
	}
	if !js.env.Work.Enter() {
		return js.env.Latch.Refusal()
	}
	defer js.env.Work.Leave()
	select {
	case js.manual <- struct{}{}: // one at a time
		defer func() { <-js.manual }()
	case <-ctx.Done():
		return ctx.Err()
	case <-js.env.Work.Done():
		return js.env.Latch.Refusal()
	}
	defer context.AfterFunc(js.env.Work.Context(), cancel)()
	js.beginByHand(k, lo, hi)
	defer js.endByHand()
	err := js.workByHand(ctx)
	if err == nil {
		err = js.tidyByHand(ctx, k, lo, hi)
	}
	if err != nil && js.env.Work.Stopped() {
		return js.env.Latch.Refusal()
	}
	return err
}

// workByHand runs jobs until the list of byHand is empty.
func (js *Jobs) workByHand(ctx context.Context) error {
	// If there is no room for a merge, background jobs may make some: they drop
	// tables that are wholly deleted.
	attempts := 3
	for ctx.Err() == nil {
		ended := js.jobEnded()
		j := js.startJob(func(s *readstate.State, busy compaction.Busy) []compaction.Job {
			return one(js.byHand.pick(s, busy, js.env.Config))
		})
		if j != nil {
			err := js.compactByHand(ctx, j)
			if err == nil {
				continue
			}
			if attempts--; attempts == 0 || !errors.Is(err, base.ErrNoSpace) {
				return err
			}
		}
		js.mu.Lock()
		left := len(js.byHand.tables)
		js.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
		case <-time.After(idleAfter): // an obstacle other than a job may be gone
		}
	}
	return ctx.Err()
}

// tidyByHand joins the small files that exist when it begins.
func (js *Jobs) tidyByHand(ctx context.Context, k *keyspace.Keyspace, lo, hi []byte) error {
	_, before := js.env.Versions.Numbers()
	for ctx.Err() == nil {
		j := js.startJob(func(s *readstate.State, busy compaction.Busy) []compaction.Job {
			return one(compaction.PickTidy(s.Version(), busy, k.ID(), lo, hi, before, js.env.Config))
		})
		if j == nil {
			return nil
		}
		j.passed = true
		if err := js.compactByHand(ctx, j); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (js *Jobs) compactByHand(ctx context.Context, j *job) error {
	j.byHand = true
	defer js.env.Room.Use()()
	err := js.compact(ctx, j)
	js.env.Commit.Changed()
	js.Kick()
	return err
}
