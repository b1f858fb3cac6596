package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestCompactBesideEverything: beside writers, flushes and other compactions, what was there
// when Compact began is in the last level when it ends, in one run.
func TestCompactBesideEverything(t *testing.T) {
	r := newRig(t, memfs.New(), func(o *rigOptions) { o.env.MaxCompactions = 2 })
	k := r.Keyspaces.Root()
	var stop atomic.Bool
	var newest atomic.Int64 // of what was committed
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := int64(1); !stop.Load(); i++ {
			if err := r.Write(func(b *batch.Batch) error {
				return b.Put(0, fmt.Appendf(nil, "k%03d", i%200), fmt.Appendf(nil, "%09d%s", i, strings.Repeat("x", 100)))
			}); err != nil {
				t.Error(err)
				return
			}
			newest.Store(i)
		}
	})
	r.Soon("there are rows", func() bool { return newest.Load() > 0 }, func() any { return "none" })
	for range 6 {
		time.Sleep(20 * time.Millisecond)
		before := newest.Load()
		seq := r.Store.Visible()
		r.Check(r.Compact(t.Context(), k, nil, nil))
		tables := r.Tables(k)
		for level := range lastLevel {
			for _, f := range tables[level] {
				if f.SmallestSeq <= seq {
					t.Errorf("level %d has a table with sequence %d; Compact began at %d, row %d", level, f.SmallestSeq, seq, before)
				}
			}
		}
		if runs := len(r.Store.Current().Version().Tree(0).Levels[lastLevel]); runs != 1 {
			t.Errorf("the last level has %d runs", runs)
		}
	}
	stop.Store(true)
	wg.Wait()
	r.Check(r.Compact(t.Context(), k, nil, nil))
	for i := max(newest.Load()-199, 1); i <= newest.Load(); i++ {
		if v, ok := r.Get(k, fmt.Sprintf("k%03d", i%200)); !ok || !strings.HasPrefix(v, fmt.Sprintf("%09d", i)) {
			t.Fatalf("row %d is %.9q, %v", i, v, ok)
		}
	}
	r.Soon("jobs end", func() bool { return !r.working() }, func() any { return r.busy })
	wantRest(r, "at the end")
}

// TestCompactOfARange leaves tables alone that hold nothing of it, and other keyspaces.
func TestCompactOfARange(t *testing.T) {
	r := newRig(t, memfs.New(), func(o *rigOptions) { o.env.ManualOnly = true })
	k, other := r.Keyspaces.Root(), r.Keyspace("other", keyspace.Choice{})
	for _, prefix := range []string{"a", "b", "c", "a", "b", "c"} {
		for i := range 20 {
			r.Put(k, fmt.Sprint(prefix, i), strings.Repeat("x", 50))
		}
		r.Put(other, prefix, "y")
		r.Check(r.Flush(t.Context()))
	}
	r.Check(r.Compact(t.Context(), k, []byte("b"), []byte("c")))
	tables := r.Tables(k)
	for _, f := range tables[0] {
		if f.Smallest[0] == 'b' {
			t.Errorf("a table of the range stays in level 0: %q to %q", f.Smallest, f.Largest)
		}
	}
	for _, f := range tables[lastLevel] {
		if f.Smallest[0] != 'b' || f.Largest[0] != 'b' {
			t.Errorf("a table of the last level has keys from %q to %q", f.Smallest, f.Largest)
		}
	}
	if len(tables[0]) != 4 || len(tables[lastLevel]) == 0 || len(r.Tables(other)[0]) != 6 {
		t.Errorf("level 0 has %d tables of 4, that of another keyspace %d of 6; the last level has %d", len(tables[0]), len(r.Tables(other)[0]), len(tables[lastLevel]))
	}
}

// TestCompactOnAFullDisk: three attempts without room are the end of it, with what is in the
// way; with room it goes on, and what it had begun stays whole.
func TestCompactOnAFullDisk(t *testing.T) {
	m := newModelRig(t, 17, func(o *rigOptions) { o.env.ManualOnly = true })
	m.runs(3, 30)
	fired := m.FS.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Err: syscall.ENOSPC})
	ended := make(chan error)
	go func() { ended <- m.Compact(context.Background(), m.spaces[0].k, nil, nil) }()
	for fired.Count() < 3 {
		m.compactionEnded(nil, m.began()) // as if others ended, which may have made room
		time.Sleep(time.Millisecond)
	}
	if err := <-ended; !errors.Is(err, base.ErrNoSpace) || fired.Count() != 3 {
		t.Errorf("after %d attempts: %v", fired.Count(), err)
	}
	m.wantRest("no room")
	other := m.FS.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "*.sst", Err: syscall.EIO, Count: 1})
	fired.Remove()
	if err := m.Compact(t.Context(), m.spaces[0].k, nil, nil); !errors.Is(err, syscall.EIO) || other.Count() != 1 {
		t.Errorf("an error that is no lack of room is not the end: %v", err)
	}
	m.Check(m.Compact(t.Context(), m.spaces[0].k, nil, nil))
	m.want("with room")
	m.wantRest("with room")
}

// began makes a compaction seem to run.
func (r *rig) began() bool {
	r.failures.mu.Lock()
	r.failures.compacting++
	r.failures.mu.Unlock()
	return true
}

// TestCompactsOneAtATime: a second call waits for the first, until its context or the database
// ends; and both are refused from a callback of a job, of a dropped keyspace and after Close.
func TestCompactsOneAtATime(t *testing.T) {
	m := newModelRig(t, 19, func(o *rigOptions) { o.env.ManualOnly = true })
	m.runs(2, 0)
	k := m.spaces[0].k
	hung := m.FS.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "*.sst", Delay: time.Hour})
	first, second, third := make(chan error), make(chan error), make(chan error)
	go func() { first <- m.Compact(context.Background(), k, nil, nil) }()
	m.Soon("the first is at work", func() bool { return hung.Count() == 1 }, func() any { return hung.Count() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { second <- m.Compact(ctx, m.spaces[1].k, nil, nil) }()
	go func() { third <- m.Compact(context.Background(), m.spaces[2].k, nil, nil) }()
	time.Sleep(20 * time.Millisecond)
	if n := hung.Count(); n != 1 {
		t.Errorf("%d calls are at work", n)
	}
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("a call whose context ended: %v", err)
	}
	m.Stop()
	if err := <-third; !errors.Is(err, base.ErrClosed) {
		t.Errorf("a call that waits in a database that closes: %v", err)
	}
	hung.Remove()
	if err := <-first; !errors.Is(err, base.ErrClosed) {
		t.Errorf("a call at work in a database that closes: %v", err)
	}
	if err := m.Compact(t.Context(), k, nil, nil); !errors.Is(err, base.ErrClosed) {
		t.Errorf("a call after that: %v", err)
	}
	leave := m.Report.Callers.Enter(callback.CallingJob)
	if err := m.Compact(t.Context(), k, nil, nil); !errors.Is(err, base.ErrInCallback) {
		t.Errorf("a call of Compact in a callback: %v", err)
	}
	if err := m.Flush(t.Context()); !errors.Is(err, base.ErrInCallback) {
		t.Errorf("a call of Flush in a callback: %v", err)
	}
	leave()
	m.Drop(k2(m))
	if err := m.Compact(t.Context(), k2(m), nil, nil); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("a call for a keyspace that was dropped: %v", err)
	}
	m.wantRest("at the end")
}

func k2(m *modelRig) *keyspace.Keyspace { return m.spaces[2].k }

// TestCompactIsCutShort: a call at work ends with its context, and leaves all as it was.
func TestCompactIsCutShort(t *testing.T) {
	m := newModelRig(t, 23, func(o *rigOptions) { o.env.ManualOnly = true })
	m.runs(3, 20)
	hung := m.FS.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.Compact(ctx, m.spaces[0].k, nil, nil) }()
	m.Soon("it is at work", func() bool { return hung.Count() == 1 }, func() any { return hung.Count() })
	cancel()
	hung.Remove()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a call whose context ended: %v", err)
	}
	m.want("cut short")
	m.wantRest("cut short")
	if m.mu.Lock(); m.byHand != nil {
		t.Error("it still has things to do")
	}
	m.mu.Unlock()
}

// TestCompactWaitsForWhatIsInItsWay: while another job has the tables, none begins anew in the
// keyspace, but others may elsewhere; when it ends Compact goes on with what that made.
func TestCompactWaitsForWhatIsInItsWay(t *testing.T) {
	m := newQuietRig(t, func(o *rigOptions) {
		o.env.Config.PackFrom, o.env.Config.PackedMax = 100, 0
	})
	m.quietRuns(5, 0)
	j, err := m.pickCompaction()
	m.Check(err)
	k := j.space
	m.Jobs.env.Work.Go(m.flusher) // for the flush of Compact
	ended := make(chan error)
	go func() { ended <- m.Compact(context.Background(), k, nil, nil) }()
	m.Soon("it waits", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.byHand.held()[k.ID()]
	}, func() any { return "no job is held back" })
	for range 6 {
		m.Put(k, "z", "apart from it")
		m.retire()
		m.Check(m.FlushAll(t.Context()))
	}
	m.spaces[slices.IndexFunc(m.spaces, func(s *model) bool { return s.k == k })].rows["z"] = modelRow{value: "apart from it"}
	w := m.workload()
	free := w
	free.Held = nil
	if v := m.Store.Current().Version(); !slices.ContainsFunc(compaction.Pick(v, m.busy, free, m.env.Config), func(p compaction.Job) bool { return p.Keyspace == k.ID() }) {
		t.Error("nothing is to be held back")
	}
	for _, p := range compaction.Pick(m.Store.Current().Version(), m.busy, w, m.env.Config) {
		if p.Keyspace == k.ID() {
			t.Errorf("%v may begin", &p)
		}
	}
	m.Check(m.compact(t.Context(), j))
	m.began()
	m.compactionEnded(nil, true)
	m.Check(<-ended)
	if tables := m.Tables(k); len(tables[0]) > 6 || len(tables[lastLevel]) == 0 {
		t.Errorf("level 0 has %d tables, of 6 that came later, and the last level %d", len(tables[0]), len(tables[lastLevel]))
	}
	m.want("after it")
	m.wantRest("after it")
}

// TestTidyJoinsSmallTables: what lies side by side in small tables of the last level is joined,
// and passes the filter no second time.
func TestTidyJoinsSmallTables(t *testing.T) {
	var verdict atomic.Int32
	var asked atomic.Int64
	r := filterRig(t, &verdict, &asked)
	k := r.Keyspaces.Root()
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		r.Put(k, key, "1")
		r.Check(r.Flush(t.Context()))
		hi := []byte(key + "z")
		r.Check(r.Flush(t.Context()))
		r.beginByHand(k, []byte(key), hi)
		r.Check(r.workByHand(t.Context()))
		r.endByHand()
	}
	if n := len(r.Tables(k)[lastLevel]); n != 5 {
		t.Fatalf("%d tables of 5 to begin with", n)
	}
	asked.Store(0)
	r.Check(r.tidyByHand(t.Context(), k, []byte("b"), []byte("e")))
	if n := asked.Load(); n != 0 {
		t.Errorf("the filter is asked %d times about what has passed it", n)
	}
	if n := len(r.Tables(k)[lastLevel]); n != 3 {
		t.Errorf("b, c and d are joined: %d tables of 3", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.tidyByHand(ctx, k, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
	fired := r.FS.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Err: syscall.EIO})
	if err := r.tidyByHand(t.Context(), k, nil, nil); !errors.Is(err, syscall.EIO) || fired.Count() != 1 {
		t.Errorf("when it fails: %v", err)
	}
	r.FS.Clear()
	r.Check(r.Compact(t.Context(), k, nil, nil))
	if n := len(r.Tables(k)[lastLevel]); n != 1 {
		t.Errorf("all are joined: %d tables", n)
	}
	r.WantRows("joined", k, map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "e": "1"})
	wantRest(r, "joined")
}

// filterRig counts what a filter is asked, and changes values as it says.
func filterRig(t testing.TB, verdict *atomic.Int32, asked *atomic.Int64) *rig {
	return newRig(t, memfs.New(), func(o *rigOptions) {
		o.env.ManualOnly = true
		o.Keyspace.Filter = func(key, value []byte) (compaction.FilterVerdict, []byte, error) {
			asked.Add(1)
			v := compaction.FilterVerdict(verdict.Load())
			return v, []byte("changed"), nil
		}
	})
}

// TestFilterSeesAllAndSnapshotsNothing: Compact asks the filter about each row, also of the
// last level; snapshots that are open go on seeing what was there; and joining what has passed
// asks no more.
func TestFilterSeesAllAndSnapshotsNothing(t *testing.T) {
	var verdict atomic.Int32
	var asked atomic.Int64
	r := filterRig(t, &verdict, &asked)
	k := r.Keyspaces.Root()
	want := map[string]string{}
	for range 2 {
		for i := range 50 {
			key := fmt.Sprintf("k%02d", i)
			r.Put(k, key, "value")
			want[key] = "value"
		}
		r.Check(r.Compact(t.Context(), k, nil, nil))
		if n := asked.Swap(0); n != 50 {
			t.Errorf("the filter was asked %d times about 50 rows", n)
		}
	}
	r.Check(r.Compact(t.Context(), k, nil, nil)) // there is nothing but the last level
	if n := asked.Swap(0); n != 50 {
		t.Errorf("the filter was asked %d times about 50 rows of the last level", n)
	}
	var hold readstate.Hold
	at := r.Store.Snapshots.Take(&hold)
	verdict.Store(int32(compaction.FilterChange))
	r.Check(r.Compact(t.Context(), k, nil, nil))
	if got := r.Rows(k, at); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("a snapshot sees %v", got)
	}
	for key := range want {
		want[key] = "changed"
	}
	r.WantRows("filtered", k, want)
	verdict.Store(int32(compaction.FilterRemove))
	r.Check(r.Compact(t.Context(), k, nil, nil))
	r.WantRows("filtered out", k, nil)
	r.Store.Snapshots.Drop(at)
	wantRest(r, "filtered out")
	if n := r.stats.versions.filtered.Load(); n != 100 {
		t.Errorf("%d rows of 100 are counted as filtered", n)
	}
}

// panicking is a merge operator whose code is at fault.
type panicking struct{ of *atomic.Bool }

func (panicking) Name() string { return "panicking" }

func (p panicking) Full(dst, _, _ []byte, _ bool, operands [][]byte) ([]byte, error) {
	if p.of.Load() {
		panic("full")
	}
	return append(dst, fmt.Sprint(len(operands))...), nil
}

func (p panicking) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	if p.of.Load() {
		panic("partial")
	}
	return dst, false, nil
}

// TestPanicsInJobs: a panic of a merge operator leaves its operands as they are, and one of a
// filter ends the job with an error; both are reported, and later jobs go on.
func TestPanicsInJobs(t *testing.T) {
	var wrong, wrongFilter atomic.Bool
	var asked atomic.Int64
	r := newRig(t, memfs.New(), func(o *rigOptions) {
		o.env.ManualOnly = true
		o.Keyspace.Merger = panicking{&wrong}
		o.Keyspace.Filter = func(_, _ []byte) (compaction.FilterVerdict, []byte, error) {
			if wrongFilter.Load() {
				panic("filter")
			}
			asked.Add(1)
			return compaction.FilterKeep, nil, nil
		}
	})
	k := r.Keyspaces.Root()
	wrong.Store(true)
	for range 2 {
		r.Check(r.Write(func(b *batch.Batch) error {
			return errors.Join(b.Merge(0, []byte("m"), []byte("x")), b.Merge(0, []byte("m"), []byte("x")), b.Put(0, []byte("p"), []byte("y")))
		}))
		r.Check(r.Flush(t.Context()))
	}
	if p := r.Report.Panicked(); p == nil || p.Code != "the merge operator of the database" || string(p.Key) != "m" {
		t.Fatalf("the panic that was reported: %v", p)
	}
	wrong.Store(false)
	wrongFilter.Store(true)
	var p *base.PanicError
	if err := r.Compact(t.Context(), k, nil, nil); !errors.As(err, &p) || p.Code != "the compaction filter of the database" {
		t.Errorf("a compaction whose filter panics: %v", err)
	}
	if p := r.Report.Panicked(); p == nil || p.Value != "filter" {
		t.Errorf("the panic that was reported: %v", p)
	}
	wantRest(r, "after panics")
	wrongFilter.Store(false)
	r.Check(r.Compact(t.Context(), k, nil, nil))
	r.WantRows("after panics", k, map[string]string{"m": "4", "p": "y"})
	if tables := r.Tables(k)[lastLevel]; len(tables) != 1 || tables[0].Entries != 2 {
		t.Errorf("operands are not merged once that works: %v", tables)
	}
	if asked.Load() == 0 {
		t.Error("the filter was not asked")
	}
	if err := r.Report.Callers.Refuse("a call", callback.CallingRows); err != nil {
		t.Errorf("a goroutine is still taken for one in a callback: %v", err)
	}
}

// TestCollapseLater: a key with many operands is compacted in the background, one such key
// in a while, and not behind Stop; a failure is reported.
func TestCollapseLater(t *testing.T) {
	var reported atomic.Int64
	m := newModelRig(t, 29, func(o *rigOptions) {
		o.Listener.BackgroundError = func(error) { reported.Add(1) }
		o.env.MaxCompactions = 0
	})
	s := m.spaces[0]
	inLast := func(key string) bool {
		for _, f := range m.Tables(s.k)[lastLevel] {
			if string(f.Smallest) <= key && key <= string(f.Largest) {
				return true
			}
		}
		return false
	}
	key := []byte("k1")
	for i, k := range []string{"k1", "k2", "k2"} {
		m.Check(m.Write(func(b *batch.Batch) error { return b.Merge(0, []byte(k), []byte("x")) }))
		s.rows[k] = modelRow{expiry: 1, operands: []string{"x", "x"}[:max(i, 1)]}
		m.Check(m.Flush(t.Context()))
	}
	m.CollapseLater(s.k, key)
	copy(key, "zz") // the caller's
	m.Soon("it is compacted", func() bool { return inLast("k1") }, func() any { return fmt.Sprint(m.Tables(s.k), reported.Load()) })
	m.CollapseLater(s.k, []byte("k2"))
	time.Sleep(20 * time.Millisecond)
	if inLast("k2") {
		t.Error("two keys were compacted in a short time")
	}
	m.collapsed.Add(-int64(collapseEvery))
	fired := m.FS.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Err: syscall.EIO})
	m.CollapseLater(s.k, []byte("k2"))
	m.Soon("a failure is reported", func() bool { return reported.Load() > 0 }, func() any { return fired.Count() })
	m.FS.Clear()
	m.want("after it")
	m.collapsed.Store(0)
	m.Stop()
	m.CollapseLater(s.k, []byte("k2"))
}

// TestFollow: tables that Compact wants and another job takes are replaced by what it made, but
// for those that come where they shall be.
func TestFollow(t *testing.T) {
	r := newRig(t, memfs.New(), func(o *rigOptions) { o.env.ManualOnly = true })
	k := r.Keyspaces.Root()
	file := func(n base.FileNum, deletes uint64) *manifest.FileMeta {
		return &manifest.FileMeta{Num: n, Deletes: deletes}
	}
	job := func(level int, move bool, files ...*manifest.FileMeta) *compaction.Job {
		return &compaction.Job{OutputLevel: level, Move: move, Inputs: []compaction.Input{{Files: files}}}
	}
	for name, c := range map[string]struct {
		j       *compaction.Job
		outputs []*manifest.FileMeta
		all     bool
		want    string
	}{
		"of others":               {job(2, false, file(9, 0)), []*manifest.FileMeta{file(20, 0)}, false, "map[1:true 2:true]"},
		"to an inner level":       {job(2, false, file(1, 0), file(9, 0)), []*manifest.FileMeta{file(20, 0), file(21, 0)}, false, "map[2:true 20:true 21:true]"},
		"to the last":             {job(lastLevel, false, file(1, 0), file(2, 0)), []*manifest.FileMeta{file(20, 0)}, false, "map[]"},
		"moved":                   {job(2, true, file(1, 0)), nil, false, "map[1:true 2:true]"},
		"moved to the last":       {job(lastLevel, true, file(1, 0), file(2, 1)), nil, false, "map[2:true]"},
		"moved, to pass a filter": {job(lastLevel, true, file(1, 0)), nil, true, "map[1:true 2:true]"},
	} {
		h := &byHand{k: k, all: c.all, tables: map[base.FileNum]bool{1: true, 2: true}}
		h.follow(c.j, c.outputs)
		if got := fmt.Sprint(h.tables); got != c.want {
			t.Errorf("%s: %s are left, expected %s", name, got, c.want)
		}
		h = &byHand{k: k, all: c.all, tables: map[base.FileNum]bool{1: true, 2: true}}
		c.j.Keyspace = 5
		if h.follow(c.j, c.outputs); len(h.tables) != 2 {
			t.Errorf("%s in another keyspace: %v are left", name, h.tables)
		}
	}
	var none *byHand
	none.follow(job(2, false), nil)
	if none.held() != nil {
		t.Error("nothing holds keyspaces")
	}
}
