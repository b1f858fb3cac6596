package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/merge"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/observe"
)

// job is a compaction that was picked: its inputs are marked busy, and the
// state it was picked from is pinned until it ends.
type job struct {
	compaction.Job
	id    int
	space *Keyspace
	s     *state
	shard int
	// unread is the bytes of inputs that need not be read: all of a drop, and
	// what range tombstones among the inputs delete.
	unread int64
	// passed means that the inputs have passed the filter.
	passed bool
	// byHand means that a call of Compact wants it, perhaps to make space.
	byHand bool
}

// pickConfig are the numbers the picker works with.
func (e *Engine) pickConfig() compaction.Config {
	c := compaction.DefaultConfig()
	c.Shape = e.opts.Shape
	c.L0Trigger = e.opts.L0Trigger
	c.BaseLevelBytes = uint64(e.opts.BaseLevelBytes)
	c.TableSize = uint64(e.opts.TableSize)
	c.ValueFileSize = e.opts.valueFileSize()
	return c
}

// picker chooses a job from a version; compaction.Pick is one.
type picker func(*state, compaction.Busy) (compaction.Job, bool)

// pickCompaction asks for the most urgent job that can run now. The error is why it may
// not begin.
func (e *Engine) pickCompaction() (*job, error) {
	w := e.workload()
	cfg := e.pickConfig()
	j := e.startJob(func(s *state, busy compaction.Busy) (compaction.Job, bool) {
		return compaction.Pick(s.v.version, busy, w, cfg)
	})
	if j == nil {
		return nil, nil
	}
	if err := e.fits(j); err != nil {
		e.mu.Lock()
		e.unmarkInputs(&j.Job)
		e.mu.Unlock()
		j.s.letGo(j.shard)
		return nil, err
	}
	return j, nil
}

// fits is why a job may not begin, or nil: if there is not as much room as it may
// need, it would take what deletes and flushes need, and fail. A file system that
// does not know how large it is is not asked.
func (e *Engine) fits(j *job) error {
	if j.Move || j.Drop {
		return nil
	}
	free, total, err := e.dirRoot.Usage("")
	if err != nil || total == 0 || free > j.Size()+roomMin {
		return nil
	}
	return fmt.Errorf("%w: a compaction of %d bytes waits for room, and %d bytes are free", base.ErrNoSpace, j.Size(), free)
}

// startJob picks and marks the inputs in one step, so that two jobs never
// take the same table.
func (e *Engine) startJob(pick picker) *job {
	for {
		s, shard := e.keep()
		if s == nil {
			return nil
		}
		e.mu.Lock()
		if cur := e.state.Load(); cur == nil || cur.v != s.v {
			e.mu.Unlock() // the version moved on meanwhile
			s.letGo(shard)
			continue
		}
		j, ok := pick(s, e.busy)
		if !ok {
			e.mu.Unlock()
			s.letGo(shard)
			return nil
		}
		space := e.space(j.Keyspace)
		if space == nil { // being dropped: the version is about to move on
			space = e.newKeyspace(manifest.Keyspace{ID: j.Keyspace})
			space.dropped.Store(true)
		}
		started := &job{Job: j, id: int(e.nextJob.Add(1)), space: space, s: s, shard: shard}
		e.markInputs(&started.Job)
		e.mu.Unlock()
		return started
	}
}

// markInputs notes that a job has its inputs; unmarkInputs frees them. The
// caller holds e.mu.
func (e *Engine) markInputs(j *compaction.Job) {
	j.Files(func(_ int, f *manifest.FileMeta) { e.busy[f.Num] = j })
}

func (e *Engine) unmarkInputs(j *compaction.Job) {
	j.Files(func(_ int, f *manifest.FileMeta) { delete(e.busy, f.Num) })
}

// compact runs a job and installs it.
func (e *Engine) compact(ctx context.Context, j *job) error {
	begin := time.Now()
	ev := observe.CompactionEvent{
		Job: j.id, Reason: j.Reason.String(), FromLevel: j.Inputs[0].Level, ToLevel: j.OutputLevel,
		InputBytes: int64(j.Size()), Move: j.Move, Drop: j.Drop,
	}
	for _, in := range j.Inputs {
		ev.InputTables += len(in.Files)
	}
	e.stats.compact.running.Add(1)
	e.listener.compactionBegin(ev)
	res, err := e.rewriteAndInstall(ctx, j)
	e.mu.Lock()
	e.unmarkInputs(&j.Job)
	if err == nil {
		e.byHand.follow(&j.Job, res.Tables)
	}
	e.mu.Unlock()
	j.s.letGo(j.shard)
	e.stats.compact.running.Add(-1)
	ev.InputBytes -= j.unread
	ev.OutputTables, ev.OutputBytes = len(res.Tables), int64(res.Stats.BytesOut)
	ev.Duration, ev.Err = time.Since(begin), err
	if err != nil {
		e.stats.compact.failures.Add(1)
		e.damaged(err)
	} else {
		if j.Drop {
			e.stats.versions.add(&res.Stats)
		}
		e.noteCompaction(j, ev, begin)
	}
	e.listener.compactionEnd(ev)
	if err == errNoKeyspace {
		return nil // its keyspace was dropped, and all its tables with it
	}
	return err
}

func (e *Engine) noteCompaction(j *job, ev observe.CompactionEvent, begin time.Time) {
	e.stats.reason(ev.Reason)
	if j.Move || j.Drop {
		return
	}
	e.stats.compact.done(begin, ev.InputBytes, ev.OutputBytes)
	l := &e.stats.levels[ev.ToLevel]
	l.in.Add(ev.InputBytes)
	l.out.Add(ev.OutputBytes)
	l.jobs.Add(1)
	e.noteAbsorbed(ev.InputBytes, ev.Duration)
}

// rewriteAndInstall does the work of a job.
func (e *Engine) rewriteAndInstall(ctx context.Context, j *job) (compaction.Result, error) {
	res, err := e.rewrite(ctx, j, !j.passed && e.snaps.patient())
	if err != nil {
		return res, err
	}
	edit := j.Edit(res.Tables, res.Values)
	if err := e.installJob(edit, j.space, res.Stats.Filtered > 0); err != nil {
		e.discardOutputs(res)
		return res, err
	}
	e.mu.Lock()
	e.observed.Observe(&j.Job, res.Tables)
	e.mu.Unlock()
	_ = failpoint.Hit(failpoint.CompactionAfterInstall)
	return res, nil
}

// rewrite streams the inputs into new tables; a move needs none, and a drop
// leaves none. The filter is left out unless it may be used.
func (e *Engine) rewrite(ctx context.Context, j *job, filter bool) (compaction.Result, error) {
	if err := failpoint.Hit(failpoint.CompactionStart); err != nil || j.Move {
		return compaction.Result{}, err
	}
	if j.Drop {
		j.unread = int64(j.Size())
		return compaction.Result{Stats: j.Dropped()}, nil
	}
	snapshots := e.snaps.stripes(e.visibleSeq)
	in, ranges, covered, err := e.inputs(j, snapshots)
	if err != nil {
		return compaction.Result{}, err
	}
	defer func() { _ = in.Close() }()
	out := &outputs{e: e, job: j.id, level: j.OutputLevel, opts: j.space.options(), frees: j.byHand}
	elider := j.Elider(j.s.v.version)
	var ask compaction.Filter
	if filter {
		ask = out.opts.Filter
	}
	res, err := e.runJob(ctx, j.space, compaction.RunOptions{
		Input:        in,
		Snapshots:    snapshots,
		Elide:        elider.Elidable,
		Ranges:       ranges,
		ElideRange:   elider.ElidableRange,
		Merger:       out.opts.Merger,
		ExpireAt:     e.snaps.expired(&e.clock),
		Filter:       ask,
		ZeroSeq:      j.OutputLevel > 0,
		MaxTableSize: uint64(e.opts.TableSize),
		Guards:       j.Guards,
		Values:       out.valueOptions(j.s.v, j.RewriteValues),
		NewTable:     out.newTable,
		NewValues:    out.newValues,
	})
	res.Stats.RangeCovered += covered
	res, err = out.finish(res, err)
	if err == nil {
		if err = failpoint.Hit(failpoint.CompactionAfterOutputWrite); err != nil {
			e.discardOutputs(res)
		}
	}
	return res, err
}

// inputs merges the input tables, newest run first, and their range tombstones.
// Tables that those delete wholly are left out, and their entries counted.
func (e *Engine) inputs(j *job, snapshots []base.SeqNum) (in base.Iterator, ranges *rangedel.List, covered uint64, err error) {
	tombstones, err := e.inputRanges(j)
	if err != nil {
		return nil, nil, 0, err
	}
	unread := j.Unread(tombstones, snapshots)
	var iters []base.Iterator
	for _, in := range j.Inputs {
		tables := make([]*table, 0, len(in.Files))
		for _, f := range in.Files {
			if unread[f.Num] {
				j.unread += int64(f.Size)
				covered += f.Entries
				continue
			}
			tables = append(tables, e.table(f.Num))
		}
		run := new(runIter)
		run.init(tables, sstable.IterOptions{Bypass: true}, nil)
		iters = append(iters, run)
	}
	return merge.New(iters...), tombstones, covered, nil
}

// inputRanges merges the range tombstones of the input tables.
func (e *Engine) inputRanges(j *job) (*rangedel.List, error) {
	var lists []*rangedel.List
	for _, in := range j.Inputs {
		for _, f := range in.Files {
			if f.Ranges == 0 {
				continue
			}
			r, err := e.table(f.Num).use()
			if err != nil {
				return nil, err
			}
			if l := r.Ranges(); l != nil {
				lists = append(lists, l)
			}
			_ = r.Close() // the list stays
		}
	}
	l := rangedel.Merge(lists...)
	return &l, nil
}

// table is the handle of a table that a pinned state names.
func (e *Engine) table(n base.FileNum) *table {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tables[n]
}

// idleAfter is how long nobody must have written for compactions to use the
// time.
const idleAfter = time.Second

// workload is what the picker may know about the use of the database. Only the
// dispatcher asks.
func (e *Engine) workload() compaction.Workload {
	e.mu.Lock()
	w := e.observed
	w.Held = e.byHand.held()
	e.mu.Unlock()
	stripes := e.snaps.stripes(e.visibleSeq)
	w.OldestSnapshot = stripes[0]
	w.ExpireAt = e.snaps.expired(&e.clock)
	w.Covers = e.background.coverage.of(e, stripes)
	w.Idle = e.background.idleFor() > idleAfter
	return w
}
