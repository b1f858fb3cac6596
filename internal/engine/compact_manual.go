package engine

import (
	"context"
	"errors"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// byHand is what a call of Compact has yet to do: tables that hold something
// which was there when it began, and are not where it shall be. Other jobs go on
// beside it. What one of them makes of such tables takes their place, so that
// there are never more to come than there were, however fast others write. A nil
// byHand has nothing to do. It is guarded by Engine.mu.
type byHand struct {
	k      *keyspace.Keyspace
	all    bool // there is a filter, which all has to pass
	tables map[base.FileNum]bool
	waits  bool // for jobs that are in the way: no more of them may begin
}

const lastLevel = base.NumLevels - 1

// rewrites reports whether a table of the last level has something that a
// rewrite may drop.
func (h *byHand) rewrites(f *manifest.FileMeta) bool {
	return h.all || f.Deletes+f.Ranges+f.Expiring > 0
}

// follow takes note of a job that was installed.
func (h *byHand) follow(j *compaction.Job, outputs []*manifest.FileMeta) {
	if h == nil || h.k.ID() != j.Keyspace {
		return
	}
	took := false
	j.Files(func(_ int, f *manifest.FileMeta) {
		if !h.tables[f.Num] {
			return
		}
		took = true
		if !j.Move || j.OutputLevel == lastLevel && !h.rewrites(f) {
			delete(h.tables, f.Num)
		}
	})
	if took && j.OutputLevel < lastLevel {
		for _, f := range outputs {
			h.tables[f.Num] = true
		}
	}
}

// held are the keyspaces in which no job may begin.
func (h *byHand) held() map[uint32]bool {
	if h == nil || !h.waits {
		return nil
	}
	return map[uint32]bool{h.k.ID(): true}
}

// pick chooses the next job. Where there is none although there are tables left,
// others are in the way.
func (h *byHand) pick(s *readstate.State, busy compaction.Busy, cfg compaction.Config) (j compaction.Job, ok bool) {
	there := make(map[base.FileNum]bool, len(h.tables))
	s.Version().Tree(h.k.ID()).All(func(_ int, f *manifest.FileMeta) bool {
		there[f.Num] = true
		return true
	})
	for num := range h.tables {
		if !there[num] && busy[num] == nil {
			delete(h.tables, num) // its keyspace was dropped
		}
	}
	wanted := func(f *manifest.FileMeta) bool { return h.tables[f.Num] }
	if len(h.tables) > 0 {
		if j, ok = compaction.PickManual(s.Version(), busy, h.k.ID(), wanted, cfg); !ok {
			j, ok = compaction.PickRewrite(s.Version(), busy, h.k.ID(), wanted, cfg)
		}
	}
	h.waits = !ok && len(h.tables) > 0
	return j, ok
}

// beginByHand lists what Compact has to do in [lo, hi) of a keyspace.
func (e *Engine) beginByHand(k *keyspace.Keyspace, lo, hi []byte) {
	h := &byHand{k: k, all: k.Options().Filter != nil, tables: make(map[base.FileNum]bool)}
	end := base.EndAt(hi)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.byHand = h
	s := e.store.Current()
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

func (e *Engine) endByHand() {
	e.mu.Lock()
	e.byHand = nil
	e.mu.Unlock()
	e.background.kick()
}

// Compact flushes, then rewrites until every key of the keyspace in [lo, hi) that
// was there when it began is in one run of the last level that holds any, and has
// passed the filter if there is one; small files there are joined. Background
// compactions go on beside it. In this keyspace no new ones begin while it waits
// for those that are in its way.
func (k *Keyspace) Compact(ctx context.Context, lo, hi []byte) error {
	e := k.e
	if err := k.Usable(); err != nil {
		return err
	}
	if err := e.report.Callers.Refuse("Compact", callback.CallingJob); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx) // ours is asked under locks
	defer cancel()
	if err := e.Flush(ctx); err != nil {
		return err
	}
	if !e.work.Enter() {
		return e.latch.Refusal()
	}
	defer e.work.Leave()
	select {
	case e.manual <- struct{}{}: // one at a time
		defer func() { <-e.manual }()
	case <-ctx.Done():
		return ctx.Err()
	case <-e.work.Done():
		return e.latch.Refusal()
	}
	defer context.AfterFunc(e.work.Context(), cancel)()
	e.beginByHand(k.Keyspace, lo, hi)
	defer e.endByHand()
	err := e.workByHand(ctx)
	if err == nil {
		err = e.tidyByHand(ctx, k.Keyspace, lo, hi)
	}
	if err != nil && e.work.Stopped() {
		return e.latch.Refusal()
	}
	return err
}

// workByHand does what byHand lists.
func (e *Engine) workByHand(ctx context.Context) error {
	// Where there is no room for a merge, jobs in the background may make some:
	// they drop the tables of which nothing is left.
	attempts := 3
	for ctx.Err() == nil {
		ended := e.background.jobEnded()
		j := e.startJob(func(s *readstate.State, busy compaction.Busy) []compaction.Job {
			return one(e.byHand.pick(s, busy, e.pickConfig()))
		})
		if j != nil {
			err := e.compactByHand(ctx, j)
			if err == nil {
				continue
			}
			if attempts--; attempts == 0 || !errors.Is(err, base.ErrNoSpace) {
				return err
			}
		}
		e.mu.Lock()
		left := len(e.byHand.tables)
		e.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
		case <-time.After(idleAfter): // what else may have been in the way
		}
	}
	return ctx.Err()
}

// tidyByHand joins the small files that are there now.
func (e *Engine) tidyByHand(ctx context.Context, k *keyspace.Keyspace, lo, hi []byte) error {
	_, before := e.versions.Numbers()
	for ctx.Err() == nil {
		j := e.startJob(func(s *readstate.State, busy compaction.Busy) []compaction.Job {
			return one(compaction.PickTidy(s.Version(), busy, k.ID(), lo, hi, before, e.pickConfig()))
		})
		if j == nil {
			return nil
		}
		j.passed = true
		if err := e.compactByHand(ctx, j); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (e *Engine) compactByHand(ctx context.Context, j *job) error {
	j.byHand = true
	defer e.room.Use()()
	err := e.compact(ctx, j)
	e.commit.Changed()
	e.background.kick()
	return err
}
