package outputs_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestOrderOfDurability: numbers are reserved before they are given, files are synced
// when they are complete, values before the tables that point to them, the directory
// after all; and what Finish returned survives any crash.
func TestOrderOfDurability(t *testing.T) {
	r := newRig(t)
	in := &rows{prefix: "k", n: 40, size: 1000}
	o := outputs.New(&r.Env, 12, false)
	res, err := r.job(o, 100, 1<<20, in)
	r.check(err)
	if len(res.Tables) != 1 || len(res.Values) != 1 {
		t.Fatalf("%d tables, %d value files", len(res.Tables), len(res.Values))
	}
	table, values := base.FileName(base.FileTypeTable, res.Tables[0].Num), base.FileName(base.FileTypeValues, res.Values[0].Num)
	r.order("write "+values, "sync "+values, "close "+values, "created "+values+" in job 12",
		"sync "+table, "close "+table, "created "+table+" in job 12", "sync the directory", "built")
	for _, name := range []string{table, values} {
		r.order("number "+name, "create "+name, "made "+name, "write "+name, "sync "+name)
		if at := r.at("number " + name); r.steps[at-1] != "reserve" {
			t.Errorf("before %s its number is %q", name, r.steps[at-1])
		}
	}
	if r.at("built") != len(r.steps)-1 || len(r.stats) != 1 || r.stats[0].EntriesOut != 40 {
		t.Errorf("after the job %q; it has done %+v", r.steps[r.at("built"):], r.stats)
	}
	r.holds(r.mem.CrashClone(memfs.CrashOptions{}), res.Tables, in)

	r = newRig(t)
	o = outputs.New(&r.Env, 12, false)
	o.ForKeyspaces(2)
	in = &rows{prefix: "k", n: 40, size: 100}
	res, err = r.job(o, 0, 1<<20, in)
	r.check(err)
	name := base.FileName(base.FileTypePack, res.Tables[0].Pack)
	r.order("number "+name, "create "+name, "made "+name, "write "+name, "sync "+name, "close "+name,
		"created "+name+" in job 12", "sync the directory", "built")
	r.holds(r.mem.CrashClone(memfs.CrashOptions{}), res.Tables, in)
}

// TestJobWithoutFiles: a job that makes nothing, or only fails, syncs nothing.
func TestJobWithoutFiles(t *testing.T) {
	r := newRig(t)
	_, err := outputs.New(&r.Env, 1, false).Finish(compaction.Result{}, nil)
	r.check(err)
	if want := []string{"built"}; !slices.Equal(r.steps, want) {
		t.Errorf("it did %q", r.steps)
	}
}

// TestFilesThatMayTakeTheReserve: those of jobs that free space are made where they may,
// others are not.
func TestFilesThatMayTakeTheReserve(t *testing.T) {
	for _, frees := range []bool{false, true} {
		r := newRig(t)
		o := outputs.New(&r.Env, 1, frees)
		o.ForKeyspaces(2)
		_, err := r.job(o, 1<<16, 1<<20, &rows{prefix: "a", n: 10, size: 10}, &rows{prefix: "b", n: 1000, size: 100}, &rows{prefix: "c", n: 1, size: 1 << 17})
		r.check(err)
		n := 0
		for _, s := range r.steps {
			if strings.HasPrefix(s, "create ") {
				if n++; strings.HasPrefix(s, "create with the reserve ") != frees {
					t.Errorf("of a job that frees (%v): %q", frees, s)
				}
			}
		}
		if n != 3 { // a pack, a table, a value file
			t.Errorf("%d files: %q", n, r.files())
		}
	}
}

// TestNumbersThatCannotBeReserved: no number is given, and no file made.
func TestNumbersThatCannotBeReserved(t *testing.T) {
	r := newRig(t)
	r.reserved = errors.New("no numbers")
	o := outputs.New(&r.Env, 1, false)
	packed := outputs.New(&r.Env, 1, false)
	packed.ForKeyspaces(2)
	for _, o := range []*outputs.Outputs{o, packed} {
		if _, err := o.NewTable(); !errors.Is(err, r.reserved) {
			t.Errorf("NewTable: %v", err)
		}
		if _, err := o.NewValues(); !errors.Is(err, r.reserved) {
			t.Errorf("NewValues: %v", err)
		}
	}
	// The number of the pack itself is reserved too.
	r.reserved = nil
	out, err := packed.NewTable()
	r.check(err)
	r.reserved = errors.New("no numbers")
	if err := out.Close(); !errors.Is(err, r.reserved) || !packed.Broken() {
		t.Errorf("the pack: %v, broken: %v", err, packed.Broken())
	}
	if r.next != 2 || len(r.files()) != 0 {
		t.Errorf("%d numbers were given, for %q", r.next-1, r.files())
	}
}

// TestNumbersAreNotUsedAgain: what is written after a failure has another number.
func TestNumbersAreNotUsedAgain(t *testing.T) {
	r := newRig(t)
	fired := r.disk.Inject(faultfs.Rule{Op: faultfs.OpCreate, Err: syscall.ENOSPC, Count: 1})
	o := outputs.New(&r.Env, 1, false)
	if _, err := o.NewTable(); !errors.Is(err, base.ErrNoSpace) || !strings.Contains(err.Error(), "cannot create 000001.sst") {
		t.Errorf("the first: %v", err)
	}
	out, err := o.NewTable()
	r.check(err)
	if fired.Count() != 1 || out.ID != r.identity(base.FileTypeTable, 2) {
		t.Errorf("the second is %v", out.ID)
	}
	if r.at("made 000001.sst") >= 0 || r.at("made 000002.sst") < 0 {
		t.Errorf("it did %q", r.steps)
	}
}

// TestFilterBitsByLevel: filters of upper levels, which every read asks, have more bits.
func TestFilterBitsByLevel(t *testing.T) {
	const n = 20_000
	for level, extra := range []float64{6, 6, 6, 6, 4, 2, 0} {
		for _, bits := range []float64{0, 8} {
			r := newRig(t)
			r.FilterBits = bits
			o := outputs.New(&r.Env, 1, false)
			o.Next(level, compress.None, 0)
			res, err := r.run(o, &rows{prefix: "k", n: n, size: 1}, 1<<30)
			r.check(err)
			table := r.table(r.disk, res.Tables[0])
			got, want := float64(table.FilterBytes()*8)/n, bits+extra
			if bits == 0 {
				want = 0
			}
			if got < want || got >= want+2 {
				t.Errorf("level %d: %.2f bits for a key, want %v", level, got, want)
			}
			r.check(table.Close())
		}
	}
}

// TestOptionsOfAKeyspace: each run is written with what Next said last.
func TestOptionsOfAKeyspace(t *testing.T) {
	r := newRig(t)
	o := outputs.New(&r.Env, 1, false)
	var sizes []uint64
	for _, s := range []struct {
		codec     compress.Codec
		threshold int
		values    int
	}{{compress.None, 0, 0}, {compress.S2, 0, 0}, {compress.None, 1001, 0}, {compress.None, 1000, 1}, {compress.None, 0, 0}} {
		o.Next(0, s.codec, s.threshold)
		res, err := r.run(o, &constant{rows{prefix: "k", n: 50, size: 1000}}, 1<<30)
		r.check(err)
		if len(res.Values) != s.values {
			t.Errorf("threshold %d: %d value files", s.threshold, len(res.Values))
		}
		sizes = append(sizes, res.Tables[0].Size)
	}
	o.Next(0, compress.S2, 1000)
	res, err := r.run(o, &constant{rows{prefix: "k", n: 50, size: 1000}}, 1<<30)
	r.check(err)
	if v := res.Values[0]; v.Size > 50*1000/2 {
		t.Errorf("the value file has %d bytes", v.Size)
	}
	if sizes[0] != sizes[4] || sizes[1] > sizes[0]/2 || sizes[3] > sizes[0]/2 {
		t.Errorf("the tables have %d bytes", sizes)
	}
}

// constant are rows whose values are all alike.
type constant struct{ rows }

func (c *constant) First() *base.KV { return c.alike(c.rows.First()) }
func (c *constant) Next() *base.KV  { return c.alike(c.rows.Next()) }
func (c *constant) alike(kv *base.KV) *base.KV {
	if kv != nil {
		clear(kv.Value)
	}
	return kv
}

// TestValueFilesEnd: value files end at the size that is set.
func TestValueFilesEnd(t *testing.T) {
	r := newRig(t)
	r.ValueFileSize = 10_000
	res, err := r.job(outputs.New(&r.Env, 1, false), 100, 1<<20, &rows{prefix: "k", n: 40, size: 1000})
	r.check(err)
	if len(res.Values) < 4 {
		t.Errorf("%d value files", len(res.Values))
	}
	for _, v := range res.Values {
		if v.Bytes > 10_000 {
			t.Errorf("value file %d has %d bytes of values", v.Num, v.Bytes)
		}
	}
}

// TestValuesThatAreRewritten: those of the files that a job rewrites are asked for, and
// read by the state that it was picked from.
func TestValuesThatAreRewritten(t *testing.T) {
	s := readstatetest.New(t, readstatetest.Options{ValuesFrom: 10})
	value := strings.Repeat("value ", 100)
	s.Put("k", value)
	s.Rotate()
	s.Flush()
	state, shard := s.Store.Keep()
	defer state.LetGo(shard)
	r := newRig(t)
	v := outputs.New(&r.Env, 1, false).ValueOptions(state, map[base.FileNum]bool{4: true})
	if v.Rewrite(3) || !v.Rewrite(4) {
		t.Error("other files are rewritten than those of the job")
	}
	f, err := s.FS.Open(base.FileName(base.FileTypeTable, state.Levels(0)[0][0].Tables[0].Meta.Num))
	r.check(err)
	size, err := f.Size()
	r.check(err)
	id, _ := sstable.Identify(f, size)
	table, err := sstable.Open(f, size, sstable.ReaderOptions{ID: id})
	r.check(err)
	defer table.Close()
	it := table.NewIter(sstable.IterOptions{})
	defer it.Close()
	p, err := valuelog.DecodePointer(it.First().Value)
	r.check(err)
	got, err := v.Fetch([]byte("before "), p)
	if err != nil || string(got) != "before "+value {
		t.Errorf("fetched %q, %v", got, err)
	}
}
