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
	// unread counts the bytes of inputs that need not be read: all inputs of a drop,
	// and tables that range tombstones among the inputs delete.
	unread int64
	// passed means that the inputs have passed the filter.
	passed bool
	// byHand means that a call of Compact started it, perhaps to free space.
	byHand bool
	// also are small jobs of other keyspaces that run with this one, on the same
	// state; only the first job of a group has any.
	also []*job
}

// all returns the job and those that run with it.
func (j *job) all() []*job { return append([]*job{j}, j.also...) }

// picker chooses jobs to be run together, as compaction.Pick does.
type picker func(*readstate.State, compaction.Busy) []compaction.Job

// one returns the result of a picker that chooses at most one job.
func one(j compaction.Job, ok bool) []compaction.Job {
	if !ok {
		return nil
	}
	return []compaction.Job{j}
}

// pickCompaction returns the most urgent job that can run now, or nil. The error says why
// a job that was picked may not begin.
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

// fits returns an error if the disk has less room than a job may need: the job would take
// the room that deletes and flushes need, and fail. If there is room only for the first
// job of a group, fits removes the others. File systems that do not report their size
// always fit.
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

// startJob picks jobs and marks their inputs in one step, so that two jobs never
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

// markInputs marks the inputs of a job as busy; unmarkInputs frees them. The
// caller holds js.mu.
func (js *Jobs) markInputs(j *compaction.Job) {
	j.Files(func(_ int, f *manifest.FileMeta) { js.busy[f.Num] = j })
}

func (js *Jobs) unmarkInputs(j *compaction.Job) {
	j.Files(func(_ int, f *manifest.FileMeta) { delete(js.busy, f.Num) })
}

// unmark calls unmarkInputs for all jobs of a group. The caller holds js.mu.
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

// compact runs and installs a job and those that run with it.
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
		return nil // the keyspace was dropped, with all its tables
	}
	return err
}

// event describes a job, and those that run with it, before it begins.
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
		ev.InputBytes -= moved // moved tables are not read
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

// rewriteAndInstall runs jobs and installs them by one edit. If one of several jobs
// fails, the others are installed without it, and its error is returned with them.
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

// installJobs is Install for compactions. It leaves out jobs whose keyspace was dropped
// since they began; if no other job is left, it returns base.ErrNoKeyspace.
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
			continue // the drop of the keyspace removed its tables
		}
		edit.Add = append(edit.Add, part.Add...) // withoutMissing removes the files of dropped keyspaces
		edit.AddValues = append(edit.AddValues, part.AddValues...)
	}
	if !alive {
		return base.ErrNoKeyspace
	}
	return js.installLocked(edit, nil, nil, filtered)
}

// rewrite streams the inputs of a job into new tables; a move and a drop write
// none. It applies the compaction filter only if filter is true.
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
		MaxTableSize: js.env.Config.TableSize,
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
// It leaves out tables that those tombstones delete as a whole, and returns the number
// of their entries as covered.
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
			_ = r.Close() // the list stays valid
		}
	}
	l := rangedel.Merge(lists...)
	return &l, nil
}

// idleAfter is the time without writes after which the database counts as idle.
const idleAfter = time.Second

// workload returns what the picker may know about the use of the database. Only the
// dispatcher calls it.
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
