package jobs

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
func (js *Jobs) pickCompaction() (*job, error) {
	w := js.workload()
	cfg := js.env.Config
	j := js.startJob(func(s *readstate.State, busy compaction.Busy) []compaction.Job {
		return compaction.Pick(s.Version(), busy, w, cfg)
	})
	if j == nil {
		return nil, nil
	}
	if err := js.fits(j); err != nil {
		js.mu.Lock()
		js.unmark(j)
		js.mu.Unlock()
		j.s.LetGo(j.shard)
		return nil, err
	}
	return j, nil
}

// fits is why a job may not begin, or nil: if there is not as much room as it may
// need, it would take what deletes and flushes need, and fail. Others that were
// picked with it are left out if there is no room for them. A file system that does
// not know how large it is is not asked.
func (js *Jobs) fits(j *job) error {
	size := j.Written()
	all := size
	for _, other := range j.also {
		all += other.Written()
	}
	if all == 0 {
		return nil
	}
	free, total, err := js.env.Root.Usage("")
	if err != nil || total == 0 || free > all+reserve.Min {
		return nil
	}
	if size == 0 || free > size+reserve.Min {
		js.mu.Lock()
		defer js.mu.Unlock()
		j.also = slices.DeleteFunc(j.also, func(other *job) bool {
			if other.Written() == 0 {
				return false
			}
			js.unmarkInputs(&other.Job)
			return true
		})
		return nil
	}
	return fmt.Errorf("%w: a compaction of %d bytes waits for room, and %d bytes are free", base.ErrNoSpace, size, free)
}

// startJob picks and marks the inputs in one step, so that two jobs never
// take the same table.
func (js *Jobs) startJob(pick picker) *job {
	for {
		s, shard := js.env.Store.Keep()
		if s == nil {
			return nil
		}
		js.mu.Lock()
		if cur := js.env.Store.Current(); cur == nil || cur.Version() != s.Version() {
			js.mu.Unlock() // the version moved on
			s.LetGo(shard)
			continue
		}
		picked := pick(s, js.busy)
		if len(picked) == 0 {
			js.mu.Unlock()
			s.LetGo(shard)
			return nil
		}
		id := js.NewJob()
		jobs := make([]*job, len(picked))
		for i, j := range picked {
			jobs[i] = &job{Job: j, id: id, space: js.env.Keyspaces.Of(j.Keyspace), s: s, shard: shard}
			js.markInputs(&jobs[i].Job)
		}
		jobs[0].also = jobs[1:]
		js.mu.Unlock()
		return jobs[0]
	}
}

// markInputs notes that a job has its inputs; unmarkInputs frees them. The
// caller holds js.mu.
func (js *Jobs) markInputs(j *compaction.Job) {
	j.Files(func(_ int, f *manifest.FileMeta) { js.busy[f.Num] = j })
}

func (js *Jobs) unmarkInputs(j *compaction.Job) {
	j.Files(func(_ int, f *manifest.FileMeta) { delete(js.busy, f.Num) })
}

// unmark is unmarkInputs for all that was started together. The caller holds js.mu.
func (js *Jobs) unmark(j *job) {
	for _, j := range j.all() {
		js.unmarkInputs(&j.Job)
	}
}

// done is a job whose tables are written.
type done struct {
	*job
	res compaction.Result
}

// compact runs a job, with those to be done with it, and installs it.
func (js *Jobs) compact(ctx context.Context, j *job) error {
	begin := time.Now()
	ev := j.event()
	js.stats.compact.running.Add(1)
	js.env.Report.Listener.CompactionBegin(ev)
	did, err := js.rewriteAndInstall(ctx, j.all())
	js.mu.Lock()
	js.unmark(j)
	for _, d := range did {
		js.byHand.follow(&d.Job, d.res.Tables)
	}
	js.mu.Unlock()
	j.s.LetGo(j.shard)
	js.stats.compact.running.Add(-1)
	for _, j := range j.all() {
		ev.InputBytes -= j.unread
	}
	for _, d := range did {
		ev.OutputTables += len(d.res.Tables)
		ev.OutputBytes += int64(d.res.Stats.BytesOut)
	}
	ev.Duration, ev.Err = time.Since(begin), err
	if err != nil {
		js.stats.compact.failures.Add(1)
		js.env.Report.Damage(err)
	}
	if len(did) > 0 {
		js.noteCompaction(did, ev, begin)
	}
	js.env.Report.Listener.CompactionEnd(ev)
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

func (js *Jobs) noteCompaction(did []done, ev observe.CompactionEvent, begin time.Time) {
	js.stats.reason(ev.Reason)
	rewrote, read := false, int64(0)
	for _, d := range did {
		if d.Drop {
			js.stats.versions.add(&d.res.Stats)
		}
		if d.Move || d.Drop {
			continue
		}
		in := int64(d.Size()) - d.unread
		rewrote, read = true, read+in
		l := &js.stats.levels[d.OutputLevel]
		l.in.Add(in)
		l.out.Add(int64(d.res.Stats.BytesOut))
		l.jobs.Add(1)
	}
	if rewrote {
		js.stats.compact.done(begin, read, ev.OutputBytes)
		js.env.Pace.Moved(read, ev.Duration)
	}
}

// rewriteAndInstall does the work of jobs, by one edit. A job among several that
// fails is left out, so that it does not hold up the others: its error comes with
// what was installed.
func (js *Jobs) rewriteAndInstall(ctx context.Context, jobs []*job) (did []done, failed error) {
	out := outputs.New(js.outputs, jobs[0].id, jobs[0].byHand)
	out.ForKeyspaces(len(jobs))
	var all compaction.Result
	for _, j := range jobs {
		res, err := js.rewrite(ctx, j, !j.passed && js.env.Store.Snapshots.Patient(), out)
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
			err = js.installJobs(did)
		}
		if err != nil {
			js.outputs.Discard(all)
		}
	}
	if err != nil {
		return nil, err
	}
	js.mu.Lock()
	for _, d := range did {
		js.learned.Observe(&d.Job, d.res.Tables)
	}
	js.mu.Unlock()
	_ = failpoint.Hit(failpoint.CompactionAfterInstall)
	return did, failed
}

// installJobs is Install for compactions. Those of keyspaces that were dropped since
// they began are left out; if there are no others the error is base.ErrNoKeyspace.
func (js *Jobs) installJobs(did []done) error {
	js.env.Clock.Tick()
	js.env.Versions.Lock()
	defer js.env.Versions.Unlock()
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
	return js.installLocked(edit, nil, nil, filtered)
}

// rewrite streams the inputs of a job into new tables; a move needs none, and a
// drop leaves none. The filter is left out unless it may be used.
func (js *Jobs) rewrite(ctx context.Context, j *job, filter bool, out *outputs.Outputs) (compaction.Result, error) {
	if err := failpoint.Hit(failpoint.CompactionStart); err != nil || j.Move {
		return compaction.Result{}, err
	}
	if j.Drop {
		j.unread = int64(j.Size())
		return compaction.Result{Stats: j.Dropped()}, nil
	}
	snapshots := js.env.Store.Snapshots.Stripes()
	in, ranges, covered, err := js.inputs(j, snapshots)
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
	res, err := js.runJob(ctx, j.space, compaction.RunOptions{
		Input:        in,
		Snapshots:    snapshots,
		Elide:        elider.Elidable,
		Ranges:       ranges,
		ElideRange:   elider.ElidableRange,
		Merger:       o.Merger,
		ExpireAt:     js.env.Store.Snapshots.Expired(),
		Filter:       ask,
		ZeroSeq:      j.OutputLevel > 0,
		MaxTableSize: uint64(js.env.TableSize),
		Dense:        j.Dense,
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
func (js *Jobs) inputs(j *job, snapshots []base.SeqNum) (in base.Iterator, ranges *rangedel.List, covered uint64, err error) {
	tombstones, err := js.inputRanges(j)
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
			tables = append(tables, js.env.Store.Table(f.Num))
		}
		run := new(readstate.RunIter)
		run.Init(tables, sstable.IterOptions{Bypass: true}, nil)
		iters = append(iters, run)
	}
	return merge.New(iters...), tombstones, covered, nil
}

// inputRanges merges the range tombstones of the input tables.
func (js *Jobs) inputRanges(j *job) (*rangedel.List, error) {
	var lists []*rangedel.List
	for _, in := range j.Inputs {
		for _, f := range in.Files {
			if f.Ranges == 0 {
				continue
			}
			r, err := js.env.Store.Table(f.Num).Use()
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
func (js *Jobs) workload() compaction.Workload {
	js.mu.Lock()
	w := js.learned
	w.Held = js.byHand.held()
	js.mu.Unlock()
	stripes := js.env.Store.Snapshots.Stripes()
	w.OldestSnapshot = stripes[0]
	w.ExpireAt = js.env.Store.Snapshots.Expired()
	w.RangeDeleted = js.idling.coverage.of(js.env.Store, stripes)
	w.Idle = js.idleFor() > idleAfter
	return w
}
