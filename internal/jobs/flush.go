package jobs

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
// and installed. If the flush fails, Flush returns its error, and the flusher
// keeps trying in the background.
func (js *Jobs) Flush(ctx context.Context) error {
	if err := js.env.Report.Callers.Refuse("Flush", callback.CallingJob); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx) // our own: its methods are called under locks
	defer cancel()
	q := &js.flushes
	var r *flushRequest
	err := js.env.Commit.Retire(ctx, func(gens []*generation.Generation) (failed func() error) {
		r = q.add(gens)
		return r.failed
	})
	if err != nil {
		if r != nil {
			q.leave(r)
		}
		return err
	}
	if r != nil {
		if err := js.waitFlushed(ctx, r); err != nil {
			return err
		}
	}
	return js.env.Versions.SyncKeyspaces() // there is no edit if there was nothing to flush
}

// FlushAll flushes all immutable generations now, in the calling goroutine.
func (js *Jobs) FlushAll(ctx context.Context) error {
	_, err := js.flushImmutable(ctx)
	return err
}

// flushImmutable writes all immutable generations, merged, as one run of L0.
func (js *Jobs) flushImmutable(ctx context.Context) (did bool, err error) {
	js.flushMu.Lock()
	defer js.flushMu.Unlock()
	return js.flushBefore(ctx, base.SeqNumMax)
}

// flushBefore writes the immutable generations that hold nothing newer than
// last. They stay in the state and keep their logs until the edit is installed,
// so a failure at any point loses nothing. The caller holds flushMu.
func (js *Jobs) flushBefore(ctx context.Context, last base.SeqNum) (did bool, err error) {
	var s *readstate.State
	var shard int
	asked := js.flushes.take(func() { s, shard = js.env.Store.Keep() })
	var gens []*generation.Generation
	if s != nil {
		gens = slices.DeleteFunc(slices.Clone(s.Imm), func(g *generation.Generation) bool { return g.LastSeq > last })
	}
	if len(gens) == 0 {
		// Nothing to flush. Do not wake stopped writers: they kick the flusher, and
		// would wake themselves in a loop.
		if s != nil {
			s.LetGo(shard)
		}
		js.flushes.settle(asked, nil, nil, js.inMemory)
		return false, nil
	}
	defer js.env.Room.Use()()
	begin, job := time.Now(), js.NewJob()
	ev := observe.FlushEvent{Job: job, Generations: len(gens)}
	js.stats.flush.running.Add(1)
	js.env.Report.Listener.FlushBegin(ev)
	res, err := js.WriteGenerations(ctx, s.Version(), gens, job)
	s.LetGo(shard)
	if err == nil {
		if err = js.installFlush(gens, res); err != nil {
			js.outputs.Discard(res)
		}
	}
	js.stats.flush.running.Add(-1)
	ev.Duration, ev.Err = time.Since(begin), err
	ev.InputBytes, ev.OutputBytes, ev.Tables = int64(res.Stats.BytesIn), int64(res.Stats.BytesOut), len(res.Tables)
	if err != nil {
		js.stats.flush.failures.Add(1)
	} else {
		js.stats.flush.done(begin, ev.InputBytes, ev.OutputBytes)
		js.env.Pace.Moved(ev.InputBytes, ev.Duration)
	}
	js.env.Report.Listener.FlushEnd(ev)
	js.flushes.settle(asked, gens, err, js.inMemory)
	js.endFlush(err)
	js.Kick()
	return true, err
}

// WriteGenerations streams generations, newest first, into synced tables.
func (js *Jobs) WriteGenerations(ctx context.Context, v *manifest.Version, gens []*generation.Generation, job int) (compaction.Result, error) {
	if err := failpoint.Hit(failpoint.FlushStart); err != nil {
		return compaction.Result{}, err
	}
	for _, g := range gens {
		g.Mem.WaitWriters()
	}
	all, err := js.writeMemtables(ctx, v, gens, js.env.Keyspaces.Get, outputs.New(js.outputs, job, true))
	if err == nil {
		if err = failpoint.Hit(failpoint.FlushAfterTableWrite); err != nil {
			js.outputs.Discard(all)
		}
	}
	return all, err
}

// WriteMemtable is WriteGenerations for a generation that commits never saw. It writes the
// keyspaces that get returns; if frees is true, the tables may take the reserve.
func (js *Jobs) WriteMemtable(ctx context.Context, v *manifest.Version, g *generation.Generation, get func(uint32) *keyspace.Keyspace, frees bool) (compaction.Result, error) {
	defer js.env.Room.Use()()
	return js.writeMemtables(ctx, v, []*generation.Generation{g}, get, js.Outputs(frees))
}

// writeMemtables writes what generations hold of the keyspaces that get returns; keyspaces
// for which get returns nil were dropped.
func (js *Jobs) writeMemtables(ctx context.Context, v *manifest.Version, gens []*generation.Generation, get func(uint32) *keyspace.Keyspace, out *outputs.Outputs) (all compaction.Result, err error) {
	var bytes uint64
	for _, g := range gens {
		bytes += uint64(g.Mem.Bytes())
	}
	spaces := keyspacesOf(gens)
	out.ForKeyspaces(len(spaces))
	for _, id := range spaces {
		k := get(id)
		if k == nil {
			continue
		}
		res, err := js.writeSpace(ctx, v, gens, k, bytes, out)
		if err != nil {
			return out.Finish(all, err)
		}
		all.Append(res)
	}
	return out.Finish(all, nil)
}

// keyspacesOf lists the numbers of the keyspaces that a flush of generations writes,
// ascending: the default one, and those with entries in them.
func keyspacesOf(gens []*generation.Generation) []uint32 {
	ids := []uint32{0}
	for _, g := range gens {
		ids = append(ids, g.Mem.Keyspaces()...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// writeSpace writes what generations hold of one keyspace; bytes is their size over
// all keyspaces.
func (js *Jobs) writeSpace(ctx context.Context, v *manifest.Version, gens []*generation.Generation, k *keyspace.Keyspace, bytes uint64, out *outputs.Outputs) (compaction.Result, error) {
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
	res, err := js.runJob(ctx, k, compaction.RunOptions{
		Input:        in,
		Snapshots:    js.env.Store.Snapshots.Stripes(),
		Ranges:       &tombstones,
		Merger:       o.Merger,
		ExpireAt:     js.env.Store.Snapshots.Expired(),
		MaxTableSize: js.env.Config.TableSize,
		Guards:       compaction.FlushGuards(v, k.ID(), bytes, js.env.Config),
		Values:       out.ValueOptions(nil, nil),
		NewTable:     out.NewTable,
		NewValues:    out.NewValues,
	})
	for _, m := range res.Tables {
		m.Keyspace = k.ID()
	}
	return res, err
}

// installFlush installs the tables of a flush by an edit that also retires the logs
// of its generations, and then removes the logs (I11): to remove a log before its
// tables are current would lose commits.
func (js *Jobs) installFlush(gens []*generation.Generation, res compaction.Result) error {
	edit := FlushEdit(res, uint64(js.env.Versions.NewFileNum()))
	edit.LogNum = &js.env.Commit.OldestBut(gens).Num
	if err := js.Install(edit, gens); err != nil {
		return err
	}
	_ = failpoint.Hit(failpoint.FlushAfterInstall)
	_ = failpoint.Hit(failpoint.FlushBeforeLogClear)
	js.dropLogs(gens)
	return nil
}

// FlushEdit adds the tables of a flush as one run of L0. Runs are numbered by
// file numbers, which grow, so a later flush is a newer run.
func FlushEdit(res compaction.Result, run uint64) *manifest.Edit {
	edit := &manifest.Edit{AddValues: res.Values}
	for _, m := range res.Tables {
		m.Run = run
		edit.Add = append(edit.Add, manifest.NewFile{Level: 0, Meta: m})
	}
	return edit
}

// dropLogs removes the logs of generations whose tables are installed (I11: the
// edit is durable).
func (js *Jobs) dropLogs(gens []*generation.Generation) {
	for _, g := range gens {
		var size int64
		if g.Log != nil {
			size = g.Log.Size()
		}
		g.AbandonLog()
		js.env.Remove(base.FileTypeLog, g.Num, size)
	}
}

// inMemory reports whether a generation is not flushed yet.
func (js *Jobs) inMemory(g *generation.Generation) bool {
	s := js.env.Store.Current()
	return s != nil && (s.Active == g || slices.Contains(s.Imm, g))
}

// waitFlushed waits for the answer to a request.
func (js *Jobs) waitFlushed(ctx context.Context, r *flushRequest) error {
	js.Kick()
	js.flushes.settle(nil, nil, nil, js.inMemory)
	select {
	case <-r.done:
	case <-ctx.Done():
	case <-js.env.Work.Done():
	}
	answered, err := r.answered()
	switch {
	case answered && err == nil:
		return nil
	case ctx.Err() != nil:
		err = ctx.Err()
	case js.env.Work.Stopped():
		// A flush that Close cuts short fails with a cancellation; the caller gets
		// the refusal instead.
		err = js.env.Latch.Refusal()
	}
	js.flushes.leave(r)
	return err
}
