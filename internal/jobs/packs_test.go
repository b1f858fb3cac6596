package jobs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

// packing is a rig with packs for every job, in which only the test compacts.
func packing(t testing.TB, fs *memfs.FS) *rig {
	return newRig(t, fs, func(o *rigOptions) {
		o.env.Config.PackedMax, o.env.Config.PackSlack, o.env.ManualOnly = 64<<10, 8<<20, true
	})
}

// TestPackOfFailedJobsAlone: the pack into which only jobs put tables that failed
// afterwards, while others of the batch made none, does not stay.
func TestPackOfFailedJobsAlone(t *testing.T) {
	fs := memfs.New()
	e := packing(t, fs)
	out := outputs.New(e.outputs, 1, false)
	out.ForKeyspaces(e.outputs.PackFrom + 1)
	table, err := out.NewTable()
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Writer.Add([]byte("k"), base.MakeTrailer(1, base.KindPut), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Writer.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	table.Abort()
	if _, err := out.Finish(compaction.Result{}, nil); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".pack") {
			t.Errorf("%s stays", name)
		}
	}
}

// someJob is a job with one table of a size.
func someJob(e *rig, change func(j *compaction.Job), size uint64) *job {
	j := &job{space: e.env.Keyspaces.Root()}
	f := &manifest.FileMeta{Num: e.env.Versions.NewFileNum(), Size: size}
	j.Inputs = []compaction.Input{{Level: 0, Run: 1, Files: []*manifest.FileMeta{f}}}
	change(&j.Job)
	return j
}

func moves(j *compaction.Job)    { j.Move = true }
func drops(j *compaction.Job)    { j.Drop = true }
func rewrites(j *compaction.Job) {}

// TestFullDiskLetsDropsGo: what frees space and needs none is not kept from it by
// what was picked together with it and does not fit, and neither is a small job.
func TestFullDiskLetsDropsGo(t *testing.T) {
	fs := memfs.New()
	e := packing(t, fs)
	fs.SetCapacity(1 << 30)
	_, total, err := fs.Usage("")
	if err != nil {
		t.Fatal(err)
	}
	free, _, _ := fs.Usage("")
	fs.SetCapacity(int64(total - free + reserve.Min + 10_000))
	defer fs.SetCapacity(0)
	for _, test := range []struct {
		first func(*compaction.Job)
		size  uint64
		also  int
		fits  bool
	}{
		{drops, 1 << 20, 2, true}, {moves, 1 << 20, 2, true}, {rewrites, 5000, 2, true}, {rewrites, 20_000, 0, false},
	} {
		j := someJob(e, test.first, test.size)
		for range 4 {
			j.also = append(j.also, someJob(e, rewrites, 8000))
		}
		j.also = append(j.also, someJob(e, drops, 1<<20), someJob(e, moves, 1<<20))
		e.mu.Lock()
		for _, j := range j.all() {
			e.markInputs(&j.Job)
		}
		e.mu.Unlock()
		err := e.fits(j)
		if (err == nil) != test.fits {
			t.Errorf("%v, job of %d bytes: %v", &j.Job, test.size, err)
		}
		if err == nil && len(j.also) != test.also {
			t.Errorf("%v: %d others, expected %d", &j.Job, len(j.also), test.also)
		}
		e.mu.Lock()
		e.unmark(j)
		if n := len(e.busy); n != 0 && err == nil {
			t.Errorf("%d tables stay busy", n)
		}
		clear(e.busy)
		e.mu.Unlock()
	}
}

// TestMovesAreNotWork: what a job moves to another level is in no count of bytes
// compacted, nor in how fast compaction is thought to be, whatever was done with it.
func TestMovesAreNotWork(t *testing.T) {
	e := packing(t, memfs.New())
	move, work := someJob(e, moves, 1<<40), someJob(e, rewrites, 2<<20)
	move.also = []*job{work}
	fillSpaces(t, e, 1)
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Pace.SetDebt(nil, 1<<40)
	rate := func() int64 {
		e.Pace.Update()
		return e.Pace.Rate()
	}
	before := rate()
	begin := time.Now().Add(-time.Second)
	ev := move.event()
	ev.Duration = time.Second
	e.noteCompaction([]done{{job: move}, {job: work}}, ev, begin)
	if in := e.stats.compact.in.Load(); in != 2<<20 {
		t.Errorf("%d bytes compacted of %d", in, 2<<20)
	}
	if after := rate(); before == 0 || after > before {
		t.Errorf("writers may bring %d bytes a second, before %d", after, before)
	}
}

// TestPackEvents: packs are told of as the files of tables that they are.
func TestPackEvents(t *testing.T) {
	var created, values []string
	e := newRig(t, memfs.New(), func(o *rigOptions) {
		o.env.Config.PackFrom, o.env.Config.PackedMax = 1, 64<<10
		o.Listener = observe.EventListener{
			TableCreated:     func(ev observe.FileEvent) { created = append(created, ev.Name) },
			ValueFileCreated: func(ev observe.FileEvent) { values = append(values, ev.Name) },
		}
	})
	fillSpaces(t, e, 3)
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if len(created) != 1 || !strings.HasSuffix(created[0], ".pack") || len(values) != 0 {
		t.Errorf("tables %v, value files %v", created, values)
	}
}

// fillSpaces writes a row to each of n keyspaces.
func fillSpaces(t testing.TB, e *rig, n int) {
	t.Helper()
	for i := range n {
		e.Put(e.Keyspace(fmt.Sprint("space", i), keyspace.Choice{}), "k", "v")
	}
}
