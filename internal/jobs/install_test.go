package jobs

import (
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

// TestWithoutMissing: tables of keyspaces that are missing leave an edit with what only they
// name; packs and value files of which others have something stay.
func TestWithoutMissing(t *testing.T) {
	add := func(id uint32, num, pack base.FileNum, values ...base.FileNum) manifest.NewFile {
		m := &manifest.FileMeta{Keyspace: id, Num: num, Pack: pack}
		for _, v := range values {
			m.ValueRefs = append(m.ValueRefs, manifest.ValueRef{File: v})
		}
		return manifest.NewFile{Meta: m}
	}
	all := []manifest.NewFile{
		add(1, 10, 0, 50), add(9, 11, 0, 50, 51), add(9, 12, 20), add(1, 13, 20), add(9, 14, 21), add(9, 15, 21, 52), add(1, 16, 22),
	}
	values := []manifest.ValueMeta{{Num: 50}, {Num: 51}, {Num: 52}}
	edit := &manifest.Edit{Add: slices.Clone(all), AddValues: values}
	if dead := withoutMissing(edit, func(uint32) bool { return false }); dead != nil || len(edit.Add) != 7 || len(edit.AddValues) != 3 {
		t.Errorf("none is missing, and %v go", dead)
	}
	dead := withoutMissing(edit, func(id uint32) bool { return id == 9 })
	want := []manifest.Dropped{
		{Type: base.FileTypeTable, Num: 11}, {Type: base.FileTypePack, Num: 21},
		{Type: base.FileTypeValues, Num: 51}, {Type: base.FileTypeValues, Num: 52},
	}
	if !slices.Equal(dead, want) {
		t.Errorf("%v go, expected %v", dead, want)
	}
	var left []base.FileNum
	for _, n := range edit.Add {
		left = append(left, n.Meta.Num)
	}
	if fmt.Sprint(left) != "[10 13 16]" || len(edit.AddValues) != 1 || edit.AddValues[0].Num != 50 || values[1].Num != 51 {
		t.Errorf("tables %v and value files %v are left; the job's are %v", left, edit.AddValues, values)
	}
}

// TestMakeCurrentInOrder: what changes with an edit does so when that is durable, and before
// readers see it; a failed edit changes nothing.
func TestMakeCurrentInOrder(t *testing.T) {
	r := newRig(t, memfs.New(), func(o *rigOptions) { o.idle = true })
	res := r.tables("a", "b")
	edit := FlushEdit(res, uint64(r.Versions.NewFileNum()))
	make := func() (called bool, err error) {
		r.Versions.Lock()
		defer r.Versions.Unlock()
		err = r.MakeCurrent(edit, r.Keyspaces.Missing, func() {
			called = true
			st, err := manifest.Recover(r.Disk.CrashClone(memfs.CrashOptions{}), "db")
			if err != nil || st.Version.Tables() != 1 {
				t.Errorf("a power cut leaves %v of the edit, %v", st, err)
			}
			if n := r.Store.Current().Version().Tables(); n != 0 {
				t.Errorf("readers see %d tables", n)
			}
		}, nil, false)
		return called, err
	}
	r.FS.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "MANIFEST*", Err: syscall.ENOSPC, Count: 1})
	if called, err := make(); err == nil || called || r.Store.Current().Version().Tables() != 0 {
		t.Errorf("an edit that was not written: %v, and what goes with it was done: %v", err, called)
	}
	if called, err := make(); err != nil || !called || r.Store.Current().Version().Tables() != 1 {
		t.Errorf("%v; what goes with it was done: %v", err, called)
	}
}

// TestFlushOfDroppedKeyspaces: what a flush has written of a keyspace that is dropped before its
// edit does not stay, and neither does what is in memory of one.
func TestFlushOfDroppedKeyspaces(t *testing.T) {
	for _, from := range []int{0, 100} {
		m := newQuietRig(t, func(o *rigOptions) { o.env.Config.PackFrom = from })
		m.some(40)
		m.every()
		m.retire()
		m.Drop(m.spaces[1].k) // in memory
		s, shard := m.Store.Keep()
		gens := slices.Clone(s.Imm)
		res, err := m.WriteGenerations(t.Context(), s.Version(), gens, m.NewJob())
		m.Check(err)
		s.LetGo(shard)
		m.Drop(m.spaces[2].k) // in tables
		m.Check(m.installFlush(gens, res))
		for _, n := range res.Tables {
			if n.Keyspace == m.spaces[1].k.ID() {
				t.Error("a keyspace is written that was dropped before")
			}
		}
		m.Store.Current().Version().All(func(_ int, f *manifest.FileMeta) bool {
			if m.Keyspaces.Missing(f.Keyspace) {
				t.Errorf("a table of keyspace %d is current, which was dropped", f.Keyspace)
			}
			return true
		})
		m.spaces = []*model{m.spaces[0], m.spaces[3]}
		m.want("after drops")
		m.wantRest("after drops")
	}
}

// TestWriteMemtable writes what is in the keyspaces that its caller names.
func TestWriteMemtable(t *testing.T) {
	m := newQuietRig(t, func(o *rigOptions) { o.env.Config.PackFrom = 100 })
	m.every()
	g := m.Store.Current().Active
	id := m.spaces[2].k.ID()
	get := func(i uint32) *keyspace.Keyspace {
		if i != id {
			return nil
		}
		return m.spaces[2].k
	}
	v := m.Store.Current().Version()
	res, err := m.WriteMemtable(t.Context(), v, g, get, true)
	if err != nil || len(res.Tables) != 1 || res.Tables[0].Keyspace != id || res.Tables[0].Entries != 1 {
		t.Errorf("%v, tables %v", err, res.Tables)
	}
	m.Discard(res)
	m.wantRest("discarded")
	fired := m.FS.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "*.sst", Err: syscall.EIO})
	if res, err := m.WriteMemtable(t.Context(), v, g, m.Keyspaces.Get, false); err == nil || len(res.Tables) > 0 || fired.Count() != 1 {
		t.Errorf("when a write fails: %v, %v", res.Tables, err)
	}
	m.wantRest("failed")
}

// TestWorthFlushing: a memtable is flushed at rest if what it hides in tables is more than it
// has, and is weighed again when something changed.
func TestWorthFlushing(t *testing.T) {
	m := newQuietRig(t, nil)
	k, id := m.spaces[1].k, m.spaces[1].k.ID()
	big := make([]byte, 300)
	weigh := func(what string, want bool, add func(b *batch.Batch) error) {
		t.Helper()
		for i := range 20 {
			m.Check(m.Write(func(b *batch.Batch) error { return b.Put(id, fmt.Appendf(nil, "k%02d", i), big) }))
		}
		m.retire()
		m.Check(m.FlushAll(t.Context()))
		if m.worthFlushing() {
			t.Errorf("%s: an empty memtable is worth a flush", what)
		}
		m.Check(m.Write(add))
		if got := m.worthFlushing(); got != want {
			t.Errorf("%s: worth a flush: %v", what, got)
		}
		if m.worthFlushing() {
			t.Errorf("%s: it is weighed twice", what)
		}
		m.idling.weighed = weighing{}
		m.flushDeletes()
		if want {
			m.Soon(what, func() bool { return m.Store.Current().Active.Mem.Empty() }, func() any { return "no flush is asked for" })
		} else if m.Store.Current().Active.Mem.Empty() {
			t.Errorf("%s: a flush is asked for", what)
		}
		m.retire()
		m.Check(m.FlushAll(t.Context()))
	}
	weigh("a row more", false, func(b *batch.Batch) error { return b.Put(id, []byte("new"), big) })
	weigh("a range that covers tables", true, func(b *batch.Batch) error { return b.DeleteRange(id, []byte("k"), []byte("l")) })
	weigh("a range that covers little", false, func(b *batch.Batch) error { return b.DeleteRange(id, []byte("x"), []byte("y")) })
	weigh("a row replaced, beside new ones", false, func(b *batch.Batch) error {
		for i := 19; i < 40; i++ {
			if err := b.Put(id, fmt.Appendf(nil, "k%02d", i), big); err != nil {
				return err
			}
		}
		return nil
	})
	weigh("deletes", true, func(b *batch.Batch) error {
		for i := range 20 {
			if err := b.Delete(id, fmt.Appendf(nil, "k%02d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	m.Check(m.Write(func(b *batch.Batch) error { return b.DeleteRange(id, []byte("k"), []byte("l")) }))
	m.Drop(k)
	if m.worthFlushing() {
		t.Error("a keyspace that was dropped is worth a flush")
	}
}

// TestAtRest: a database without writes flushes what frees more than it writes, and drops
// tables of which everything expired, also where writes go on.
func TestAtRest(t *testing.T) {
	t.Parallel()
	var now ticking
	r := newRig(t, memfs.New(), func(o *rigOptions) { o.Now = now.now })
	k := r.Keyspaces.Root()
	for i := range 30 {
		r.Put(k, fmt.Sprintf("k%02d", i), fmt.Sprint(make([]byte, 100)))
	}
	r.Check(r.Flush(t.Context()))
	r.Check(r.Write(func(b *batch.Batch) error { return b.DeleteRange(0, []byte("k"), []byte("l")) }))
	r.Soon("the deletes are flushed, and all goes", func() bool {
		s := r.Store.Current()
		return s.Active.Mem.Empty() && len(s.Imm) == 0 && s.Version().Tables() == 0
	}, func() any { return r.Tables(k) })
	r.Check(r.Write(func(b *batch.Batch) error {
		return b.PutTTL(0, []byte("t"), []byte("x"), uint64(now.now().UnixMilli())+100)
	}))
	r.Check(r.Flush(t.Context()))
	time.Sleep(50 * time.Millisecond) // what the flush set going has looked at the clock
	now.ms.Add(200)
	var n atomic.Int64
	r.Soon("what expired goes", func() bool {
		r.Put(k, "w", fmt.Sprint(n.Add(1)))
		time.Sleep(20 * time.Millisecond)
		return r.Store.Current().Version().Tables() == 0
	}, func() any { return r.Tables(k) })
	r.Close()
	var m observe.Metrics
	r.Metrics(&m)
	if why := m.CompactionsByReason; m.RangeCovered < 30 || m.Expired != 1 || why["ranges"] == 0 || why["expired"] == 0 {
		t.Errorf("%d entries of 30 are counted as covered, %d of 1 as expired; compactions were for %v", m.RangeCovered, m.Expired, why)
	}
}

// TestTablesThatNeedNotBeRead: what a range tombstone of a job deletes wholly is left out, is
// counted as covered, and is in no count of bytes read.
func TestTablesThatNeedNotBeRead(t *testing.T) {
	var ends []observe.CompactionEvent
	r := newRig(t, memfs.New(), func(o *rigOptions) {
		o.env.ManualOnly = true
		o.Listener.CompactionEnd = func(ev observe.CompactionEvent) { ends = append(ends, ev) }
	})
	k := r.Keyspaces.Root()
	for i := range 200 {
		r.Put(k, fmt.Sprintf("k%03d", i), fmt.Sprint(make([]byte, 60)))
	}
	r.Check(r.Flush(t.Context()))
	r.Check(r.Write(func(b *batch.Batch) error { return b.DeleteRange(0, []byte("k020"), []byte("l")) }))
	r.Check(r.Flush(t.Context()))
	fired := r.FS.Inject(faultfs.Rule{Op: faultfs.OpOpen, Path: "*.sst", Err: syscall.EIO})
	if err := r.Compact(t.Context(), k, nil, nil); err == nil || fired.Count() == 0 {
		t.Errorf("tombstones that cannot be read: %v", err)
	}
	wantRest(r, "tombstones that cannot be read")
	r.FS.Clear()
	r.Check(r.Compact(t.Context(), k, nil, nil))
	if got := r.Rows(k, readstate.Newest); len(got) != 20 {
		t.Errorf("%d rows of 20 are left", len(got))
	}
	var m observe.Metrics
	m.Levels = make([]observe.LevelMetrics, base.NumLevels)
	r.Metrics(&m)
	r.Close()
	if m.RangeCovered != 180 {
		t.Errorf("%d entries of 180 are counted as covered", m.RangeCovered)
	}
	var in int64
	for _, ev := range ends {
		if ev.Err == nil {
			in += ev.InputBytes
		}
	}
	if in == 0 || in > 10_000 || m.Compactions.BytesIn != in || m.Levels[lastLevel].BytesIn != in {
		t.Errorf("%d bytes were read; %d are counted, %d of them for the last level", in, m.Compactions.BytesIn, m.Levels[lastLevel].BytesIn)
	}
}

// TestFiguresAddUp: what Metrics counts is what events said.
func TestFiguresAddUp(t *testing.T) {
	var flushes, compactions observe.JobMetrics
	reasons := map[string]int64{}
	m := newModelRig(t, 31, func(o *rigOptions) {
		o.Listener.FlushEnd = func(ev observe.FlushEvent) {
			flushes.Count++
			flushes.BytesIn, flushes.BytesOut = flushes.BytesIn+ev.InputBytes, flushes.BytesOut+ev.OutputBytes
		}
		o.Listener.CompactionEnd = func(ev observe.CompactionEvent) {
			reasons[ev.Reason]++
			if ev.OutputBytes > 0 {
				compactions.Count++
				compactions.BytesOut += ev.OutputBytes
			}
		}
	})
	for range 30 {
		m.some(30)
		m.Check(m.Flush(t.Context()))
	}
	m.Check(m.Write(func(b *batch.Batch) error {
		id := m.spaces[1].k.ID()
		for range 2 {
			if err := b.Put(id, []byte("single"), nil); err != nil {
				return err
			}
		}
		return b.SingleDelete(id, []byte("single"))
	}))
	delete(m.spaces[1].rows, "single")
	for _, s := range m.spaces {
		m.Check(m.Compact(t.Context(), s.k, nil, nil))
	}
	m.want("at the end")
	m.Close()
	var got observe.Metrics
	got.Levels = make([]observe.LevelMetrics, base.NumLevels)
	m.Metrics(&got)
	if f := got.Flushes; f.Count != flushes.Count || f.BytesIn != flushes.BytesIn || f.BytesOut != flushes.BytesOut || f.Failures+int64(f.Running) > 0 || f.Count < 30 {
		t.Errorf("flushes are %+v, and were %+v", f, flushes)
	}
	var jobs, out int64
	for _, l := range got.Levels {
		jobs, out = jobs+l.Compactions, out+l.BytesOut
	}
	if c := got.Compactions; c.BytesOut != compactions.BytesOut || out != c.BytesOut || jobs < c.Count || c.Count < compactions.Count || c.Running > 0 {
		t.Errorf("compactions are %+v, and were %+v; %d jobs of the levels wrote %d bytes", c, compactions, jobs, out)
	}
	if fmt.Sprint(got.CompactionsByReason) != fmt.Sprint(reasons) {
		t.Errorf("reasons are %v, and were %v", got.CompactionsByReason, reasons)
	}
	if got.SingleDeleteMisuse != 1 || got.Merged == 0 || got.Expired == 0 && got.RangeCovered == 0 {
		t.Errorf("misused %d, merged %d, covered %d", got.SingleDeleteMisuse, got.Merged, got.RangeCovered)
	}
}

// TestPauseEnds: a flusher that failed looks again when a caller asks for a flush, and when the
// database closes.
func TestPauseEnds(t *testing.T) {
	r := newRig(t, memfs.New(), func(o *rigOptions) { o.idle = true })
	for _, c := range []struct {
		name string
		d    time.Duration
		end  func()
	}{{"a request", time.Hour, func() { r.flushes.add(nil) }}, {"time", time.Millisecond, func() {}}, {"Close", time.Hour, r.Stop}} {
		ended := make(chan struct{})
		go func() { r.pause(c.d); close(ended) }()
		c.end()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s does not end the pause", c.name)
		}
	}
}

// TestFailedFlushRequest is asked for its error while its caller waits for a place.
func TestFailedFlushRequest(t *testing.T) {
	q := newFlushRequests()
	g := new(generation.Generation)
	r := q.add([]*generation.Generation{g})
	if err := r.failed(); err != nil {
		t.Errorf("before an answer: %v", err)
	}
	q.settle(q.take(func() {}), []*generation.Generation{g}, syscall.EIO, func(*generation.Generation) bool { return true })
	if err := r.failed(); err != syscall.EIO {
		t.Errorf("after it: %v", err)
	}
}
