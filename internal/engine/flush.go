package engine

import (
	"context"
	"slices"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/merge"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/observe"
)

// Flush returns once everything committed before the call is in tables, synced
// and installed. When the flush fails it returns that error, while the flush
// goes on being tried in the background.
func (e *Engine) Flush(ctx context.Context) error {
	if err := e.report.Callers.Refuse("Flush", callback.CallingJob); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx) // ours is asked under locks
	defer cancel()
	q := &e.background.flushes
	var r *flushRequest
	err := e.commit.Retire(ctx, func(gens []*generation.Generation) (failed func() error) {
		r = q.add(gens)
		return r.failed
	})
	switch {
	case r == nil && err == nil:
	case r == nil:
		return err
	case err != nil:
		q.leave(r)
		return err
	default:
		if err := e.waitFlushed(ctx, r); err != nil {
			return err
		}
	}
	return e.versions.SyncKeyspaces() // if nothing was left to flush, and so no edit was made
}

// flushImmutable writes all immutable generations, merged, as one run of L0.
func (e *Engine) flushImmutable(ctx context.Context) (did bool, err error) {
	e.flushMu.Lock()
	defer e.flushMu.Unlock()
	return e.flushBefore(ctx, base.SeqNumMax)
}

// flushBefore writes the immutable generations that hold nothing newer than
// last. Until the edit is installed they stay in the state and keep their logs,
// so a failure at any point costs nothing but the attempt. The caller holds
// flushMu.
func (e *Engine) flushBefore(ctx context.Context, last base.SeqNum) (did bool, err error) {
	var s *readstate.State
	var shard int
	asked := e.background.flushes.take(func() { s, shard = e.store.Keep() })
	var gens []*generation.Generation
	if s != nil {
		gens = slices.DeleteFunc(slices.Clone(s.Imm), func(g *generation.Generation) bool { return g.LastSeq > last })
	}
	if len(gens) == 0 {
		// Nothing to flush. Writers that are stopped kick the flusher, and are not
		// woken here: they would wake themselves in a loop.
		if s != nil {
			s.LetGo(shard)
		}
		e.background.flushes.settle(asked, nil, nil, e.inMemory)
		return false, nil
	}
	defer e.room.Use()()
	begin, job := time.Now(), int(e.nextJob.Add(1))
	ev := observe.FlushEvent{Job: job, Generations: len(gens)}
	e.stats.flush.running.Add(1)
	e.report.Listener.FlushBegin(ev)
	res, err := e.writeGenerations(ctx, s.Version(), gens, job)
	s.LetGo(shard)
	if err == nil {
		if err = e.installFlush(gens, res); err != nil {
			e.outputs.Discard(res)
		}
	}
	e.stats.flush.running.Add(-1)
	ev.Duration, ev.Err = time.Since(begin), err
	ev.InputBytes, ev.OutputBytes, ev.Tables = int64(res.Stats.BytesIn), int64(res.Stats.BytesOut), len(res.Tables)
	if err != nil {
		e.stats.flush.failures.Add(1)
	} else {
		e.stats.flush.done(begin, ev.InputBytes, ev.OutputBytes)
		e.pace.Moved(ev.InputBytes, ev.Duration)
	}
	e.report.Listener.FlushEnd(ev)
	e.background.flushes.settle(asked, gens, err, e.inMemory)
	e.background.endFlush(err)
	e.background.kick()
	return true, err
}

// writeGenerations streams generations, newest first, into synced tables.
func (e *Engine) writeGenerations(ctx context.Context, v *manifest.Version, gens []*generation.Generation, job int) (compaction.Result, error) {
	if err := failpoint.Hit(failpoint.FlushStart); err != nil {
		return compaction.Result{}, err
	}
	var bytes uint64
	for _, g := range gens {
		g.Mem.WaitWriters()
		bytes += uint64(g.Mem.Bytes())
	}
	var all compaction.Result
	spaces := keyspacesOf(gens)
	out := outputs.New(&e.outputs, job, true)
	out.ForKeyspaces(len(spaces))
	for _, id := range spaces {
		k := e.keyspaces.Get(id)
		if k == nil {
			continue // dropped
		}
		res, err := e.writeSpace(ctx, v, gens, k, bytes, out)
		if err != nil {
			return out.Finish(all, err)
		}
		all.Append(res)
	}
	all, err := out.Finish(all, nil)
	if err == nil {
		if err = failpoint.Hit(failpoint.FlushAfterTableWrite); err != nil {
			e.outputs.Discard(all)
		}
	}
	return all, err
}

// keyspacesOf lists the numbers of the keyspaces that a flush of generations writes
// for, ascending: the default one, and those that they hold something of.
func keyspacesOf(gens []*generation.Generation) []uint32 {
	ids := []uint32{0}
	for _, g := range gens {
		ids = append(ids, g.Mem.Keyspaces()...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// writeSpace writes what generations hold of one keyspace; bytes is what they
// hold of all.
func (e *Engine) writeSpace(ctx context.Context, v *manifest.Version, gens []*generation.Generation, k *keyspace.Keyspace, bytes uint64, out *outputs.Outputs) (compaction.Result, error) {
	iters := make([]base.Iterator, 0, len(gens))
	var ranges []*rangedel.List
	for _, g := range gens {
		if it := g.Mem.AllIter(k.ID()); it != nil {
			iters = append(iters, it)
		}
		if l := g.Mem.RangeList(k.ID()); l != nil {
			ranges = append(ranges, l)
		}
	}
	if len(iters) == 0 {
		return compaction.Result{}, nil
	}
	tombstones := rangedel.Merge(ranges...)
	in := merge.New(iters...)
	defer func() { _ = in.Close() }()
	o := k.Options()
	out.Next(0, o.Codec, o.ValueThreshold)
	res, err := e.runJob(ctx, k, compaction.RunOptions{
		Input:        in,
		Snapshots:    e.store.Snapshots.Stripes(),
		Ranges:       &tombstones,
		Merger:       o.Merger,
		ExpireAt:     e.store.Snapshots.Expired(),
		MaxTableSize: uint64(e.opts.TableSize),
		Guards:       compaction.FlushGuards(v, k.ID(), bytes, e.pickConfig()),
		Values:       out.ValueOptions(nil, nil),
		NewTable:     out.NewTable,
		NewValues:    out.NewValues,
	})
	for _, m := range res.Tables {
		m.Keyspace = k.ID()
	}
	return res, err
}

// installFlush makes the tables current and the logs of their generations
// useless, in this order, and then removes the logs (I11): a log that goes
// before its tables are current takes commits with it.
func (e *Engine) installFlush(gens []*generation.Generation, res compaction.Result) error {
	edit := flushEdit(res, uint64(e.versions.NewFileNum()))
	edit.LogNum = &e.commit.OldestBut(gens).Num
	if err := e.install(edit, gens); err != nil {
		return err
	}
	_ = failpoint.Hit(failpoint.FlushAfterInstall)
	_ = failpoint.Hit(failpoint.FlushBeforeLogClear)
	e.dropLogs(gens)
	return nil
}

// flushEdit adds the tables of a flush as one run of L0. Runs are numbered by
// file numbers, which grow, so a later flush is a newer run.
func flushEdit(res compaction.Result, run uint64) *manifest.Edit {
	edit := &manifest.Edit{AddValues: res.Values}
	for _, m := range res.Tables {
		m.Run = run
		edit.Add = append(edit.Add, manifest.NewFile{Level: 0, Meta: m})
	}
	return edit
}
