package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

// TestFailingFlushIsNamed: while memtables cannot be flushed writers that wait for room are
// given the reason, and so is Errors; when a flush succeeds both end, and nothing is lost.
func TestFailingFlushIsNamed(t *testing.T) {
	var failed, reported sync.Map
	r := newRig(t, memfs.New(), func(o *rigOptions) {
		o.Listener.FlushEnd = func(ev observe.FlushEvent) { failed.Store(ev.Job, ev.Err) }
		o.Listener.BackgroundError = func(err error) { reported.Store(err.Error(), err) }
	})
	k := r.Keyspaces.Root()
	fired := r.FS.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Err: syscall.EIO})
	r.Put(k, "a", "1")
	if err := r.Flush(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Fatalf("a flush that fails: %v", err)
	}
	var refused error
	rows := map[string]string{"a": "1"}
	for i := range 100_000 {
		key := fmt.Sprintf("key %06d", i)
		value := strings.Repeat("x", 500)
		if refused = r.Write(func(b *batch.Batch) error { return b.Put(0, []byte(key), []byte(value)) }); refused != nil {
			break
		}
		rows[key] = value
	}
	if !errors.Is(refused, syscall.EIO) || !strings.Contains(refused.Error(), "writers are stopped while memtables cannot be flushed") {
		t.Errorf("a commit that would wait for ever: %v", refused)
	}
	if err := r.Blocking(commit.StopMemtables); !errors.Is(err, syscall.EIO) || r.Blocking(commit.StopL0) != nil {
		t.Errorf("what blocks: %v, and compactions %v", err, r.Blocking(commit.StopL0))
	}
	if errs := r.Errors(); len(errs) != 1 || !errors.Is(errs[0], syscall.EIO) {
		t.Errorf("what fails: %v", errs)
	}
	if err := r.Flush(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("a flush whose memtable has no place in the queue: %v", err)
	}
	r.FS.Clear()
	r.Check(r.Flush(t.Context()))
	if err := r.Blocking(commit.StopMemtables); err != nil || len(r.Errors()) > 0 || fired.Count() < 2 {
		t.Errorf("after a flush %v blocks, %v fails; %d creations had failed", err, r.Errors(), fired.Count())
	}
	r.WantRows("after all", k, rows)
	wantRest(r, "after all")
	r.Close()
	var m observe.Metrics
	r.Metrics(&m)
	n := 0
	failed.Range(func(_, err any) bool {
		if err != nil {
			n++
		}
		return true
	})
	if m.Flushes.Failures == 0 || int64(n) != m.Flushes.Failures || m.Flushes.Running != 0 {
		t.Errorf("%d failed flushes are counted, %d were reported, %d run", m.Flushes.Failures, n, m.Flushes.Running)
	}
	if _, ok := reported.Load(func() (s string) { reported.Range(func(k, _ any) bool { s = k.(string); return false }); return }()); !ok {
		t.Error("no failure was reported")
	}
}

// TestFailingCompactionIsNamed is the same of compactions: they are tried again into new
// files, and named while writers wait for L0.
func TestFailingCompactionIsNamed(t *testing.T) {
	m := newModelRig(t, 5, func(o *rigOptions) { o.L0Stop = 8; o.env.Config.PackFrom = 100 })
	m.create()
	fired := m.FS.Inject(faultfs.Rule{Op: faultfs.OpRead, Path: "*.sst", Err: syscall.EIO})
	for len(m.Errors()) == 0 {
		m.some(10)
		m.Check(m.Flush(t.Context()))
	}
	if err := m.Blocking(commit.StopL0); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "while compactions fail") || m.Blocking(commit.StopMemtables) != nil {
		t.Errorf("what blocks: %v, and flushes %v", err, m.Blocking(commit.StopMemtables))
	}
	m.FS.Clear()
	m.Soon("compactions go on", func() bool { return m.Blocking(commit.StopL0) == nil && len(m.Errors()) == 0 }, func() any { return m.Errors() })
	if m.want("once compactions go on"); fired.Count() == 0 {
		t.Error("nothing failed")
	}
	m.Soon("compactions end", func() bool { return !m.working() }, func() any { return m.busy })
	m.wantRest("once compactions go on")
	var got observe.Metrics
	if m.Metrics(&got); got.Compactions.Failures == 0 || got.Compactions.Count == 0 {
		t.Errorf("%d compactions failed, and %d did not", got.Compactions.Failures, got.Compactions.Count)
	}
}

// TestFlushAnswers: a call of Flush ends with its context and with the database, also while it
// waits for an attempt that hangs or for a place in the queue.
func TestFlushAnswers(t *testing.T) {
	r := newRig(t, memfs.New(), nil)
	r.Check(r.Flush(t.Context())) // of nothing
	r.FS.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Delay: time.Hour})
	r.Put(r.Keyspaces.Root(), "a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan error)
	go func() { answers <- r.Flush(ctx) }()
	go func() { answers <- r.Flush(context.Background()) }()
	select {
	case err := <-answers:
		t.Fatalf("a flush ended that hangs: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	if err := <-answers; !errors.Is(err, context.Canceled) {
		t.Errorf("a flush whose context ended: %v", err)
	}
	r.Stop()
	if err := <-answers; !errors.Is(err, base.ErrClosed) {
		t.Errorf("a flush of a database that closes: %v", err)
	}
	r.flushes.mu.Lock()
	waiting := len(r.flushes.waiting)
	r.flushes.mu.Unlock()
	if r.FS.Clear(); waiting > 0 {
		t.Errorf("%d requests stay whose callers have gone", waiting)
	}
	r.Close()
	if err := r.Flush(context.Background()); !errors.Is(err, base.ErrClosed) {
		t.Errorf("a flush of a closed database: %v", err)
	}
	if did, err := r.flushImmutable(context.Background()); did || err != nil {
		t.Errorf("an attempt behind Close: %v, %v", did, err)
	}
	if err := r.Install(new(manifest.Edit), nil); !errors.Is(err, base.ErrClosed) {
		t.Errorf("an edit behind Close: %v", err)
	}
	if r.startJob(nil) != nil || r.worthFlushing() || r.idling.coverage.of(r.Store, nil) != nil {
		t.Error("jobs begin behind Close")
	}
}

// TestFlushOfPoisoned: a database that became read-only refuses a flush with the cause, also
// one that waits.
func TestFlushOfPoisoned(t *testing.T) {
	r := newRig(t, memfs.New(), nil)
	r.FS.Inject(faultfs.Rule{Op: faultfs.OpDirSync, Err: syscall.EIO})
	r.FS.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Delay: 50 * time.Millisecond})
	r.Put(r.Keyspaces.Root(), "a", "1")
	for range 2 {
		if err := r.Flush(t.Context()); !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, syscall.EIO) {
			t.Errorf("a flush of what is poisoned: %v", err)
		}
	}
	if err := r.Install(new(manifest.Edit), nil); !errors.Is(err, base.ErrReadOnly) {
		t.Errorf("an edit of what is poisoned: %v", err)
	}
	r.WantRows("poisoned", r.Keyspaces.Root(), map[string]string{"a": "1"})
}

// TestNoMoreCompactionsThanAllowed: at most MaxCompactions run at once, each with tables of its
// own, and a full database ends them all; jobEnded is closed when one ends.
func TestNoMoreCompactionsThanAllowed(t *testing.T) {
	for _, most := range []int{1, 3} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			m := newQuietRig(t, func(o *rigOptions) {
				o.env.MaxCompactions = most
				o.env.Config.PackFrom, o.env.Config.PackedMax = 100, 0
			})
			m.quietRuns(5, 30)
			hung := m.FS.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "*.sst", Delay: time.Hour})
			m.Start()
			m.Soon("compactions hang", func() bool { return hung.Count() == most }, func() any { return hung.Count() })
			ended := m.jobEnded()
			for range 10 {
				m.Kick()
				time.Sleep(time.Millisecond)
			}
			m.failures.mu.Lock()
			running := m.failures.compacting
			m.failures.mu.Unlock()
			m.mu.Lock()
			jobs := map[*compaction.Job]bool{}
			tables := 0
			for _, j := range m.busy {
				jobs[j] = true
			}
			for j := range jobs {
				j.Files(func(_ int, f *manifest.FileMeta) {
					if tables++; m.busy[f.Num] != j {
						t.Errorf("table %d has two jobs", f.Num)
					}
				})
			}
			if running != most || len(jobs) != most || tables != len(m.busy) || hung.Count() != most {
				t.Errorf("%d compactions of %d run, of %d tables of which %d are busy; %d hang", running, most, tables, len(m.busy), hung.Count())
			}
			m.mu.Unlock()
			select {
			case <-ended:
				t.Error("a job has ended")
			default:
			}
			hung.Remove()
			<-ended
			m.want("beside each other")
			m.Soon("compactions end", func() bool { return !m.working() }, func() any { return m.busy })
			m.wantRest("beside each other")
		})
	}
}

// every puts the same row into all keyspaces.
func (m *modelRig) every() {
	for _, s := range m.spaces {
		m.Put(s.k, "k00", "every")
		s.rows["k00"] = modelRow{value: "every"}
	}
}

// runs makes runs of level 0, each of some operations and of a row in every keyspace.
func (m *modelRig) runs(n, operations int) {
	m.Helper()
	for range n {
		m.some(operations)
		m.every()
		m.Check(m.Flush(m.Context()))
	}
}

// quietRuns is like runs where no worker flushes.
func (m *modelRig) quietRuns(n, operations int) {
	m.Helper()
	for range n {
		m.some(operations)
		m.every()
		m.retire()
		m.Check(m.FlushAll(m.Context()))
	}
}

// TestManualOnly: such a database compacts when it is asked to, and not otherwise.
func TestManualOnly(t *testing.T) {
	m := newModelRig(t, 13, func(o *rigOptions) { o.env.ManualOnly = true })
	m.runs(7, 20)
	m.idling.seen = m.Store.Visible()
	m.flushDeletes()
	m.CollapseLater(m.spaces[0].k, []byte("k00"))
	for range 10 {
		m.Kick()
		time.Sleep(time.Millisecond)
	}
	if runs := len(m.Store.Current().Version().Tree(0).Levels[0]); runs != 7 || m.startCompaction() {
		t.Errorf("%d runs of 7 are left, and a compaction may begin", runs)
	}
	m.Check(m.Compact(t.Context(), m.spaces[0].k, nil, nil))
	if runs := len(m.Store.Current().Version().Tree(0).Levels[0]); runs != 0 {
		t.Errorf("%d runs are left after Compact", runs)
	}
	m.want("at the end")
}

// TestJobsTakeTablesOnce: of many that pick at the same time no two get the same table.
func TestJobsTakeTablesOnce(t *testing.T) {
	m := newQuietRig(t, func(o *rigOptions) {
		o.env.Config.PackedMax, o.env.Config.PackFrom = 0, 100
	})
	for range 12 {
		m.create()
	}
	m.quietRuns(5, 0)
	var mu sync.Mutex
	var took []*job
	var wg sync.WaitGroup
	w, cfg := m.workload(), m.env.Config
	for range 4 {
		wg.Go(func() {
			for {
				j := m.startJob(func(s *readstate.State, busy compaction.Busy) []compaction.Job {
					return compaction.Pick(s.Version(), busy, w, cfg)
				})
				if j == nil {
					return
				}
				mu.Lock()
				took = append(took, j.all()...)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	seen := map[base.FileNum]bool{}
	for _, j := range took {
		j.Files(func(_ int, f *manifest.FileMeta) {
			if seen[f.Num] {
				t.Errorf("table %d was taken twice", f.Num)
			}
			seen[f.Num] = true
		})
	}
	if len(took) < len(m.spaces) || len(seen) != len(m.busy) {
		t.Errorf("%d jobs in %d keyspaces, of %d tables; %d are busy", len(took), len(m.spaces), len(seen), len(m.busy))
	}
	for _, j := range took {
		m.Check(m.compact(t.Context(), j))
	}
	m.want("after all jobs")
	m.wantRest("after all jobs")
}

// TestCompactionWaitsForRoom: one that does not fit the disk does not begin, says so and leaves
// nothing busy; when there is room it runs.
func TestCompactionWaitsForRoom(t *testing.T) {
	m := newQuietRig(t, nil)
	m.fill(5, 40)
	_, total, err := m.Disk.Usage("")
	m.Check(err)
	free, _, err := m.Disk.Usage("")
	m.Check(err)
	m.Disk.SetCapacity(int64(total - free + 1000))
	if m.startCompaction() {
		t.Error("a compaction begins on a full disk")
	}
	if err := m.Blocking(commit.StopL0); !errors.Is(err, base.ErrNoSpace) || len(m.busy) > 0 || m.working() {
		t.Errorf("what blocks: %v; %d tables are busy", err, len(m.busy))
	}
	m.Disk.SetCapacity(0)
	for m.startCompaction() || m.working() {
		time.Sleep(time.Millisecond)
	}
	if m.want("with room"); m.Blocking(commit.StopL0) != nil {
		t.Errorf("what blocks: %v", m.Blocking(commit.StopL0))
	}
	m.wantRest("with room")
}

// TestDropsTakeTheirJobsAlong: a job of a keyspace that is dropped while it runs is no failure,
// and leaves no file; what was to be done with it is done.
func TestDropsTakeTheirJobsAlong(t *testing.T) {
	for _, c := range []struct{ n, packFrom int }{{1, 2}, {4, 2}, {1, 100}, {4, 100}} { // of four keyspaces
		n := c.n
		m := newQuietRig(t, func(o *rigOptions) { o.env.Config.PackFrom = c.packFrom })
		m.quietRuns(5, 0)
		j, err := m.pickCompaction()
		if err != nil || j == nil || len(j.all()) != 4 {
			t.Fatalf("picked %v, %v", j, err)
		}
		dropped := map[*keyspace.Keyspace]bool{}
		for _, j := range j.all() {
			if j.space.ID() != 0 && len(dropped) < n {
				m.Drop(j.space)
				dropped[j.space] = true
			}
		}
		m.Check(m.compact(t.Context(), j))
		if left := m.Tables(m.Keyspaces.Root()); len(left[0]) > 0 {
			t.Errorf("%d dropped: %d tables of the others stay in level 0", n, len(left[0]))
		}
		kept := m.spaces[:0]
		for _, s := range m.spaces {
			if !dropped[s.k] {
				kept = append(kept, s)
			} else if tables := m.Tables(s.k); fmt.Sprint(tables) != fmt.Sprint([base.NumLevels][]*manifest.FileMeta{}) {
				t.Errorf("a keyspace that was dropped has %v", tables)
			}
		}
		m.spaces = kept
		m.want("after drops")
		m.wantRest("after drops")
	}
	m := newQuietRig(t, nil) // the only one of a job
	m.quietRuns(1, 0)
	k := m.spaces[1].k
	m.beginByHand(k, nil, nil)
	j := m.startJob(func(s *readstate.State, busy compaction.Busy) []compaction.Job {
		return one(m.byHand.pick(s, busy, m.env.Config))
	})
	if j == nil {
		t.Fatal("nothing to do")
	}
	m.Drop(k)
	m.Check(m.compact(t.Context(), j))
	if _, ok := m.byHand.pick(m.Store.Current(), m.busy, m.env.Config); ok || len(m.byHand.tables) > 0 {
		t.Errorf("%d tables are left to do of a keyspace that was dropped", len(m.byHand.tables))
	}
	m.endByHand()
	m.spaces = append(m.spaces[:1], m.spaces[2:]...)
	m.want("after a drop")
	m.wantRest("after a drop")
}
