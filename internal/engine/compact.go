package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/merge"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/observe"
)

// job is a compaction that was picked: its inputs are marked busy, and the
// state it was picked from is pinned until it ends.
type job struct {
	compaction.Job
	id    int
	space *keyspace.Keyspace
	s     *readstate.State
	shard int
	// unread is the bytes of inputs that need not be read: all of a drop, and
	// what range tombstones among the inputs delete.
	unread int64
	// passed means that the inputs have passed the filter.
	passed bool
	// byHand means that a call of Compact wants it, perhaps to make space.
	byHand bool
	// also are small jobs of other keyspaces, to be done with this one and of the
	// same state; only the first of them has any.
	also []*job
}

// all is the job and those to be done with it.
func (j *job) all() []*job { return append([]*job{j}, j.also...) }

// pickConfig are the numbers the picker works with.
func (e *Engine) pickConfig() compaction.Config {
	c := compaction.DefaultConfig()
	c.Style = e.opts.Style
	c.L0Trigger = e.opts.L0Trigger
	c.BaseLevelBytes = uint64(e.opts.BaseLevelBytes)
	c.TableSize = uint64(e.opts.TableSize)
	c.ValueFileSize = e.opts.valueFileSize()
	c.PackFrom, c.PackedMax, c.PackSlack = e.opts.PackFrom, uint64(e.opts.PackedMax), uint64(e.opts.PackSlack)
	return c
}

// picker chooses jobs to be done together; compaction.Pick is one.
type picker func(*readstate.State, compaction.Busy) []compaction.Job

// one is the answer of a picker that chooses one job at most.
func one(j compaction.Job, ok bool) []compaction.Job {
	if !ok {
		return nil
	}
	return []compaction.Job{j}
}

// pickCompaction asks for the most urgent job that can run now. The error is why it may
// not begin.
func (e *Engine) pickCompaction() (*job, error) {
	w := e.workload()
	cfg := e.pickConfig()
	j := e.startJob(func(s *readstate.State, busy compaction.Busy) []compaction.Job {
		return compaction.Pick(s.Version(), busy, w, cfg)
	})
	if j == nil {
		return nil, nil
	}
	if err := e.fits(j); err != nil {
		e.mu.Lock()
		e.unmark(j)
		e.mu.Unlock()
		j.s.LetGo(j.shard)
		return nil, err
	}
	return j, nil
}

// fits is why a job may not begin, or nil: if there is not as much room as it may
// need, it would take what deletes and flushes need, and fail. Others that were
// picked with it are left out if there is no room for them. A file system that does
// not know how large it is is not asked.
func (e *Engine) fits(j *job) error {
	size := j.Written()
	all := size
	for _, other := range j.also {
		all += other.Written()
	}
	if all == 0 {
		return nil
	}
	free, total, err := e.dirRoot.Usage("")
	if err != nil || total == 0 || free > all+reserve.Min {
		return nil
	}
	if size == 0 || free > size+reserve.Min {
		e.mu.Lock()
		defer e.mu.Unlock()
		j.also = slices.DeleteFunc(j.also, func(other *job) bool {
			if other.Written() == 0 {
				return false
			}
			e.unmarkInputs(&other.Job)
			return true
		})
		return nil
	}
	return fmt.Errorf("%w: a compaction of %d bytes waits for room, and %d bytes are free", base.ErrNoSpace, size, free)
}

// startJob picks and marks the inputs in one step, so that two jobs never
// take the same table.
func (e *Engine) startJob(pick picker) *job {
	for {
		s, shard := e.store.Keep()
		if s == nil {
			return nil
		}
		e.mu.Lock()
		if cur := e.store.Current(); cur == nil || cur.Version() != s.Version() {
			e.mu.Unlock() // the version moved on
			s.LetGo(shard)
			continue
		}
		picked := pick(s, e.busy)
		if len(picked) == 0 {
			e.mu.Unlock()
			s.LetGo(shard)
			return nil
		}
		id := int(e.nextJob.Add(1))
		jobs := make([]*job, len(picked))
		for i, j := range picked {
			jobs[i] = &job{Job: j, id: id, space: e.keyspaces.Of(j.Keyspace), s: s, shard: shard}
			e.markInputs(&jobs[i].Job)
		}
		jobs[0].also = jobs[1:]
		e.mu.Unlock()
		return jobs[0]
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

// unmark is unmarkInputs for all that was started together. The caller holds e.mu.
func (e *Engine) unmark(j *job) {
	for _, j := range j.all() {
		e.unmarkInputs(&j.Job)
	}
}

// done is a job whose tables are written.
type done struct {
	*job
	res compaction.Result
}

// compact runs a job, with those to be done with it, and installs it.
func (e *Engine) compact(ctx context.Context, j *job) error {
	begin := time.Now()
	ev := j.event()
	e.stats.compact.running.Add(1)
	e.report.Listener.CompactionBegin(ev)
	did, err := e.rewriteAndInstall(ctx, j.all())
	e.mu.Lock()
	e.unmark(j)
	for _, d := range did {
		e.byHand.follow(&d.Job, d.res.Tables)
	}
	e.mu.Unlock()
	j.s.LetGo(j.shard)
	e.stats.compact.running.Add(-1)
	for _, j := range j.all() {
		ev.InputBytes -= j.unread
	}
	for _, d := range did {
		ev.OutputTables += len(d.res.Tables)
		ev.OutputBytes += int64(d.res.Stats.BytesOut)
	}
	ev.Duration, ev.Err = time.Since(begin), err
	if err != nil {
		e.stats.compact.failures.Add(1)
		e.report.Damage(err)
	}
	if len(did) > 0 {
		e.noteCompaction(did, ev, begin)
	}
	e.report.Listener.CompactionEnd(ev)
	if err == base.ErrNoKeyspace {
		return nil // its keyspace was dropped, and all its tables with it
	}
	return err
}

// event describes a job, and those done with it, before it begins.
func (j *job) event() observe.CompactionEvent {
	ev := observe.CompactionEvent{
		Job: j.id, Reason: j.Reason.String(), FromLevel: j.Inputs[0].Level, ToLevel: j.OutputLevel,
		Keyspaces: 1 + len(j.also), Move: true, Drop: true,
	}
	var moved int64
	for _, j := range j.all() {
		ev.InputBytes += int64(j.Size())
		if j.Move {
			moved += int64(j.Size())
		}
		for _, in := range j.Inputs {
			ev.InputTables += len(in.Files)
		}
		ev.Move, ev.Drop = ev.Move && j.Move, ev.Drop && j.Drop
	}
	if !ev.Move {
		ev.InputBytes -= moved // it is not read
	}
	return ev
}

func (e *Engine) noteCompaction(did []done, ev observe.CompactionEvent, begin time.Time) {
	e.stats.reason(ev.Reason)
	rewrote, read := false, int64(0)
	for _, d := range did {
		if d.Drop {
			e.stats.versions.add(&d.res.Stats)
		}
		if d.Move || d.Drop {
			continue
		}
		in := int64(d.Size()) - d.unread
		rewrote, read = true, read+in
		l := &e.stats.levels[d.OutputLevel]
		l.in.Add(in)
		l.out.Add(int64(d.res.Stats.BytesOut))
		l.jobs.Add(1)
	}
	if rewrote {
		e.stats.compact.done(begin, read, ev.OutputBytes)
		e.pace.Moved(read, ev.Duration)
	}
}

// rewriteAndInstall does the work of jobs, by one edit. A job among several that
// fails is left out, so that it does not hold up the others: its error comes with
// what was installed.
func (e *Engine) rewriteAndInstall(ctx context.Context, jobs []*job) (did []done, failed error) {
	out := outputs.New(&e.outputs, jobs[0].id, jobs[0].byHand)
	out.ForKeyspaces(len(jobs))
	var all compaction.Result
	for _, j := range jobs {
		res, err := e.rewrite(ctx, j, !j.passed && e.store.Snapshots.Patient(), out)
		if err != nil {
			failed = errors.Join(failed, err)
			if ctx.Err() != nil || out.Broken() {
				break
			}
			continue
		}
		did = append(did, done{j, res})
		if !j.Drop {
			all.Append(res)
		}
	}
	err := ctx.Err()
	if err == nil && (len(did) == 0 || out.Broken()) {
		err = failed
	}
	all, err = out.Finish(all, err)
	if err == nil {
		if err = failpoint.Hit(failpoint.CompactionAfterOutputWrite); err == nil {
			err = e.installJobs(did)
		}
		if err != nil {
			e.outputs.Discard(all)
		}
	}
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	for _, d := range did {
		e.observed.Observe(&d.Job, d.res.Tables)
	}
	e.mu.Unlock()
	_ = failpoint.Hit(failpoint.CompactionAfterInstall)
	return did, failed
}

// installJobs is install for compactions. Those of keyspaces that were dropped since
// they began are left out; if there are no others the error is base.ErrNoKeyspace.
func (e *Engine) installJobs(did []done) error {
	e.clock.Tick()
	e.versions.Lock()
	defer e.versions.Unlock()
	edit := &manifest.Edit{}
	alive, filtered := false, false
	for _, d := range did {
		part := d.Edit(d.res.Tables, d.res.Values)
		if dropped := d.space.Dropped(); !dropped {
			edit.Remove = append(edit.Remove, part.Remove...)
			alive, filtered = true, filtered || d.res.Stats.Filtered > 0
		} else if d.Move {
			continue // its tables went with the keyspace
		}
		edit.Add = append(edit.Add, part.Add...) // withoutMissing removes the files of those that are
		edit.AddValues = append(edit.AddValues, part.AddValues...)
	}
	if !alive {
		return base.ErrNoKeyspace
	}
	return e.installLocked(edit, nil, nil, filtered)
}

// rewrite streams the inputs of a job into new tables; a move needs none, and a
// drop leaves none. The filter is left out unless it may be used.
func (e *Engine) rewrite(ctx context.Context, j *job, filter bool, out *outputs.Outputs) (compaction.Result, error) {
	if err := failpoint.Hit(failpoint.CompactionStart); err != nil || j.Move {
		return compaction.Result{}, err
	}
	if j.Drop {
		j.unread = int64(j.Size())
		return compaction.Result{Stats: j.Dropped()}, nil
	}
	snapshots := e.store.Snapshots.Stripes()
	in, ranges, covered, err := e.inputs(j, snapshots)
	if err != nil {
		return compaction.Result{}, err
	}
	defer func() { _ = in.Close() }()
	o := j.space.Options()
	out.Next(j.OutputLevel, o.Codec, o.ValueThreshold)
	elider := j.Elider(j.s.Version())
	var ask compaction.Filter
	if filter {
		ask = o.Filter
	}
	res, err := e.runJob(ctx, j.space, compaction.RunOptions{
		Input:        in,
		Snapshots:    snapshots,
		Elide:        elider.Elidable,
		Ranges:       ranges,
		ElideRange:   elider.ElidableRange,
		Merger:       o.Merger,
		ExpireAt:     e.store.Snapshots.Expired(),
		Filter:       ask,
		ZeroSeq:      j.OutputLevel > 0,
		MaxTableSize: uint64(e.opts.TableSize),
		Guards:       j.Guards,
		Values:       out.ValueOptions(j.s, j.RewriteValues),
		NewTable:     out.NewTable,
		NewValues:    out.NewValues,
	})
	res.Stats.RangeCovered += covered
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
		tables := make([]*readstate.Table, 0, len(in.Files))
		for _, f := range in.Files {
			if unread[f.Num] {
				j.unread += int64(f.Size)
				covered += f.Entries
				continue
			}
			tables = append(tables, e.store.Table(f.Num))
		}
		run := new(readstate.RunIter)
		run.Init(tables, sstable.IterOptions{Bypass: true}, nil)
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
			r, err := e.store.Table(f.Num).Use()
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

// idleAfter is how long there must have been no writes for compactions to use the
// time.
const idleAfter = time.Second

// workload is what the picker may know about the use of the database. Only the
// dispatcher asks.
func (e *Engine) workload() compaction.Workload {
	e.mu.Lock()
	w := e.observed
	w.Held = e.byHand.held()
	e.mu.Unlock()
	stripes := e.store.Snapshots.Stripes()
	w.OldestSnapshot = stripes[0]
	w.ExpireAt = e.store.Snapshots.Expired()
	w.RangeDeleted = e.background.coverage.of(e, stripes)
	w.Idle = e.background.idleFor() > idleAfter
	return w
}
