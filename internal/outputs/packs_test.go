package outputs_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/pack"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// packing is the outputs of a job that makes packs.
func (r *rig) packing() *outputs.Outputs {
	o := outputs.New(&r.Env, 1, false)
	o.ForKeyspaces(r.PackFrom + 1)
	return o
}

// placed fails the test unless the packs have tables where their descriptions say.
// Tables of others may lie in them too.
func (r *rig) placed(tables []*manifest.FileMeta) {
	r.Helper()
	for _, m := range tables {
		if m.Pack == 0 {
			if m.Offset != 0 || m.PackSize != 0 {
				r.Errorf("table %d has a file of its own, and place %d of %d", m.Num, m.Offset, m.PackSize)
			}
			continue
		}
		in, size := r.pack(r.disk, m.Pack)
		if m.PackSize != uint64(size) || !slices.Contains(in, pack.Table{Num: m.Num, Offset: m.Offset, Size: m.Size}) {
			r.Errorf("table %d of %d bytes is said to be at %d of %d bytes; pack %d has %v in %d bytes", m.Num, m.Size, m.Offset, m.PackSize, m.Pack, in, size)
		}
	}
}

// tinyRows returns inputs of n keyspaces.
func tinyRows(n, size int) (in []*rows) {
	for i := range n {
		in = append(in, &rows{prefix: fmt.Sprintf("%04d/", i), n: 1 + i%3, size: size})
	}
	return in
}

// TestSmallTablesShareFiles: the tables of many keyspaces lie in one file, each where its
// description says, as if it had a file of its own.
func TestSmallTablesShareFiles(t *testing.T) {
	r := newRig(t)
	in := tinyRows(100, 50)
	res, err := r.job(r.packing(), 0, 1<<20, in...)
	r.check(err)
	if files := r.files(); len(files) != 1 || len(res.Tables) != 100 {
		t.Fatalf("%d tables in %q", len(res.Tables), files)
	}
	r.placed(res.Tables)
	r.holds(r.disk, res.Tables, in...)
	numbers := map[base.FileNum]bool{res.Tables[0].Pack: true}
	for _, m := range res.Tables {
		if numbers[m.Num] {
			t.Errorf("number %d is there twice", m.Num)
		}
		numbers[m.Num] = true
	}
}

// TestFewKeyspacesMakeNoPacks: the tables of few keyspaces get files of their own.
func TestFewKeyspacesMakeNoPacks(t *testing.T) {
	for _, c := range []struct{ keyspaces, files int }{{3, 3}, {4, 1}} {
		r := newRig(t)
		r.PackFrom = 3
		o := outputs.New(&r.Env, 1, false)
		o.ForKeyspaces(c.keyspaces)
		res, err := r.job(o, 0, 1<<20, tinyRows(3, 50)...)
		r.check(err)
		if files := r.files(); len(files) != c.files || len(res.Tables) != 3 {
			t.Errorf("%d keyspaces: %q", c.keyspaces, files)
		}
		r.placed(res.Tables)
	}
}

// TestTableThatGrowsLeaves: a table of more bytes than may lie in a pack gets a file of its
// own, with all that was written to it before.
func TestTableThatGrowsLeaves(t *testing.T) {
	for _, n := range []int{500, 20_000} {
		input := func() *rows { return &rows{prefix: "k", n: n, size: 100} }
		r := newRig(t)
		r.PackedMax = 0
		res, err := r.job(r.packing(), 0, 1<<30, input())
		r.check(err)
		size := int(res.Tables[0].Size)
		writes := 0
		for _, s := range r.steps {
			if strings.HasPrefix(s, "write ") {
				writes++
			}
		}
		if n > 500 && writes < 2 {
			t.Fatalf("a table of %d bytes is one write", size)
		}
		for _, c := range []struct {
			most int
			own  bool
		}{{size, false}, {size - 1, true}, {size / 2, true}, {0, true}} {
			r := newRig(t)
			r.PackedMax = c.most
			small := &rows{prefix: "a", n: 1}
			res, err := r.job(r.packing(), 0, 1<<30, small, input())
			r.check(err)
			if m := res.Tables[1]; (m.Pack == 0) != c.own || int(m.Size) != size {
				t.Errorf("of %d bytes where %d may be in a pack: pack %d, %d bytes", size, c.most, m.Pack, m.Size)
			}
			r.placed(res.Tables)
			r.holds(r.disk, res.Tables, small, input())
		}
	}
}

// TestPacksEnd: a pack that is full is made durable, and the next one begins.
func TestPacksEnd(t *testing.T) {
	r := newRig(t)
	var in []*rows
	for i := range 80 {
		in = append(in, &rows{prefix: fmt.Sprintf("%02d/", i), n: 1, size: 60_000})
	}
	res, err := r.job(r.packing(), 0, 1<<20, in...)
	r.check(err)
	files := r.files()
	if len(files) != 3 {
		t.Fatalf("%d bytes of tables are in %q", 80*60_000, files)
	}
	for _, name := range files[:2] {
		info, err := r.mem.Stat(name)
		r.check(err)
		if info.Size() < compaction.PackSize || info.Size() > compaction.PackSize+int64(r.PackedMax)+4096 {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
	}
	r.order("sync "+files[0], "create "+files[1])
	r.placed(res.Tables)
	r.holds(r.disk, res.Tables, in...)
}

// failing is an input that fails after it has given rows to several tables.
func failing(n int) *rows {
	return &rows{prefix: "failing", n: n, size: 60_000, end: errors.New("no more")}
}

// TestPacksOfFailedRuns: a pack that has only tables of runs that failed goes, once the
// others are whole; one that has others too stays, and describes none of the failed.
func TestPacksOfFailedRuns(t *testing.T) {
	r := newRig(t)
	o := r.packing()
	before, after := &rows{prefix: "a", n: 1, size: 100}, &rows{prefix: "z", n: 1, size: 100}
	// Each row makes a table. The failed run ends the pack of the first, fills a second
	// and begins a third.
	res, err := r.job(o, 0, 1<<10, before, failing(80), after)
	r.check(err)
	if o.Broken() {
		t.Error("the runs are said to be lost")
	}
	if len(res.Tables) != 2 || res.Tables[0].Pack == res.Tables[1].Pack || len(r.files()) != 2 {
		t.Fatalf("%d tables, in %q", len(res.Tables), r.files())
	}
	r.placed(res.Tables)
	r.holds(r.disk, res.Tables, before, after)
	var packs []string
	for _, s := range r.steps {
		if name, ok := strings.CutPrefix(s, "made "); ok {
			packs = append(packs, name)
		}
	}
	r.order("made "+packs[1], "remove "+packs[1], "sync the directory")
	if first, _ := r.pack(r.disk, res.Tables[0].Pack); len(first) < 30 {
		t.Errorf("the first pack has %d tables", len(first))
	}

	// Nothing is left of a job all of whose runs failed, whether it says so or not.
	for _, err := range []error{nil, errors.New("all failed")} {
		r := newRig(t)
		o := r.packing()
		for range 2 {
			if _, err := r.run(o, failing(50), 1<<10); err == nil {
				t.Fatal("the run did not fail")
			}
		}
		if len(r.files()) != 3 {
			t.Fatalf("they made %q", r.files())
		}
		if _, got := o.Finish(compaction.Result{}, err); got != err || len(r.files()) > 0 {
			t.Errorf("%v; %q are left", got, r.files())
		}
	}
}

// TestBroken: a pack that cannot be written fails all runs and the job; a table with a file
// of its own fails only its run.
func TestBroken(t *testing.T) {
	for _, op := range []faultfs.OpKind{faultfs.OpCreate, faultfs.OpWrite, faultfs.OpSync, faultfs.OpStat} {
		r := newRig(t)
		o := r.packing()
		fired := r.disk.Inject(faultfs.Rule{Op: op, Path: "*.pack", Err: syscall.EIO, Count: 1})
		var err error
		for i := 0; i < 80 && err == nil; i++ {
			if o.Broken() {
				t.Fatal("broken before anything failed")
			}
			_, err = r.run(o, &rows{prefix: "k", n: 1, size: 60_000}, 1<<20)
		}
		if !errors.Is(err, syscall.EIO) || fired.Count() != 1 || !o.Broken() {
			t.Errorf("operation %d: %v, broken: %v", op, err, o.Broken())
		}
		if _, err := o.Finish(compaction.Result{}, err); !errors.Is(err, syscall.EIO) || len(r.files()) > 0 {
			t.Errorf("operation %d: %v; %q are left", op, err, r.files())
		}

		for _, packing := range []bool{false, true} {
			r := newRig(t)
			r.PackedMax = 100
			o := outputs.New(&r.Env, 1, false)
			if packing {
				o = r.packing()
			}
			r.disk.Inject(faultfs.Rule{Op: op, Err: syscall.EIO, Count: 1})
			if _, err := r.run(o, &rows{prefix: "k", n: 10, size: 1000}, 1<<20); !errors.Is(err, syscall.EIO) || o.Broken() {
				t.Errorf("operation %d on a table of its own: %v, broken: %v", op, err, o.Broken())
			}
			_, err := r.job(o, 0, 1<<20, &rows{prefix: "k", n: 10, size: 1000})
			r.check(err)
		}
	}
}
