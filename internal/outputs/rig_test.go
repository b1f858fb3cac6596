package outputs_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/pack"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// rig is an Env over a directory in memory, and a record of what is done.
type rig struct {
	testing.TB
	outputs.Env
	mem   *memfs.FS
	disk  *faultfs.FS // over mem
	steps []string    // what was done, in order

	next     base.FileNum
	reserved error // of Reserve
	poison   error
	stats    []compaction.Stats
	logged   bytes.Buffer
}

func newRig(t testing.TB) *rig {
	r := &rig{TB: t, mem: memfs.New(), next: 1}
	r.disk = faultfs.New(r.mem)
	counting := vfs.NewCounting(r.disk) // which says what is for lack of room
	dir, err := counting.OpenDir("")
	r.check(err)
	r.Env = outputs.Env{
		FS: recordFS{counting, r, "create"}, Room: recordFS{counting, r, "create with the reserve"}, Dir: recordDir{dir, r},
		Reserve: func() error { r.note("reserve"); return r.reserved },
		NewIdentity: func(t base.FileType) base.Identity {
			r.next++
			id := r.identity(t, r.next-1)
			r.note("number " + id.Name())
			return id
		},
		Made: func(id base.Identity) { r.note("made " + id.Name()) },
		Created: func(t base.FileType, n base.FileNum, size int64, job int) {
			r.note(fmt.Sprintf("created %s in job %d", base.FileName(t, n), job))
			name := base.FileName(t, n)
			if info, err := r.mem.Stat(name); err != nil || info.Size() != size {
				r.Errorf("%s is said to have %d bytes: %v", name, size, err)
			}
		},
		Remove: func(t base.FileType, n base.FileNum, size int64) {
			r.note("remove " + base.FileName(t, n))
			if err := r.mem.Remove(base.FileName(t, n)); err != nil {
				r.Errorf("Remove: %v", err)
			}
		},
		Poison:   func(err error) { r.note("poison"); r.poison = err },
		Poisoned: func() bool { return r.poison != nil },
		Built:    func(job int, s *compaction.Stats) { r.note("built"); r.stats = append(r.stats, *s) },
		PageSize: 4096, FilterBits: 10, ValueFileSize: 1 << 20, PackFrom: 1, PackedMax: 64 << 10,
	}
	r.Logger = slog.New(slog.NewTextHandler(&r.logged, nil))
	return r
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) identity(t base.FileType, n base.FileNum) base.Identity {
	return base.Identity{DB: 7, Type: t, Num: n, Incarnation: 3}
}

func (r *rig) note(step string) { r.steps = append(r.steps, step) }

// at is when a step was done the last time, -1 if it never was.
func (r *rig) at(step string) int {
	for i, s := range slices.Backward(r.steps) {
		if s == step {
			return i
		}
	}
	return -1
}

// order fails the test unless the steps were done, in that order.
func (r *rig) order(steps ...string) {
	r.Helper()
	last := -1
	for _, s := range steps {
		at := r.at(s)
		if at < 0 || at <= last {
			r.Fatalf("%q is step %d, after step %d of\n%s", s, at, last, strings.Join(r.steps, "\n"))
		}
		last = at
	}
}

// files are the names in the directory.
func (r *rig) files() []string {
	r.Helper()
	names, err := r.mem.List("")
	r.check(err)
	return names
}

// recordFS notes what is done with files.
type recordFS struct {
	vfs.FS
	r      *rig
	create string
}

func (f recordFS) Create(name string) (vfs.File, error) {
	f.r.note(f.create + " " + name)
	file, err := f.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return recordFile{file, f.r, name}, nil
}

type recordFile struct {
	vfs.File
	r    *rig
	name string
}

func (f recordFile) Write(p []byte) (int, error) {
	f.r.note("write " + f.name)
	return f.File.Write(p)
}

func (f recordFile) Sync() error {
	f.r.note("sync " + f.name)
	return f.File.Sync()
}

func (f recordFile) Close() error {
	f.r.note("close " + f.name)
	return f.File.Close()
}

type recordDir struct {
	vfs.Dir
	r *rig
}

func (d recordDir) Sync() error {
	d.r.note("sync the directory")
	return d.Dir.Sync()
}

// rows are what a run of a job is given.
type rows struct {
	base.Iterator // what compaction.Run does not need
	prefix        string
	n, size, i    int
	kv            base.KV
	end           error // how it ends
}

func (it *rows) First() *base.KV { it.i = -1; return it.Next() }
func (it *rows) Err() error      { return it.end }
func (it *rows) Next() *base.KV {
	if it.i++; it.i >= it.n {
		return nil
	}
	it.kv = base.KV{Key: it.key(it.i), Trailer: base.MakeTrailer(1, base.KindPut), Value: it.value(it.i)}
	return &it.kv
}

func (it *rows) key(i int) []byte { return fmt.Appendf(nil, "%s%06d", it.prefix, i) }

// value does not compress.
func (it *rows) value(i int) []byte {
	b := make([]byte, it.size)
	x := uint32(i)*2654435761 + 1
	for k := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[k] = byte(x)
	}
	return b
}

// run writes rows to tables of at most tableSize bytes.
func (r *rig) run(o *outputs.Outputs, it base.Iterator, tableSize uint64) (compaction.Result, error) {
	return compaction.Run(context.Background(), compaction.RunOptions{
		Input: it, Snapshots: []base.SeqNum{9}, MaxTableSize: tableSize,
		Values: o.ValueOptions(nil, nil), NewTable: o.NewTable, NewValues: o.NewValues,
	})
}

// job runs each of its inputs in one job, which goes on after runs that fail, as
// compactions do.
func (r *rig) job(o *outputs.Outputs, threshold int, tableSize uint64, inputs ...*rows) (compaction.Result, error) {
	var all compaction.Result
	var last error
	for _, it := range inputs {
		o.Next(0, compress.None, threshold)
		res, err := r.run(o, it, tableSize)
		if err != nil {
			if last = err; o.Broken() || it.end == nil {
				return o.Finish(all, err)
			}
			continue
		}
		all.Append(res)
	}
	if len(all.Tables) == 0 {
		return o.Finish(all, last)
	}
	return o.Finish(all, nil)
}

// table opens a table on a disk.
func (r *rig) table(disk vfs.FS, m *manifest.FileMeta) *sstable.Reader {
	r.Helper()
	id := r.identity(base.FileTypeTable, m.Num)
	name := id.Name()
	if m.Pack != 0 {
		name = base.FileName(base.FileTypePack, m.Pack)
	}
	f, err := disk.Open(name)
	r.check(err)
	var file sstable.File = f
	if m.Pack != 0 {
		file = pack.NewSection(f, m.Offset, m.Size)
	}
	t, err := sstable.Open(file, int64(m.Size), sstable.ReaderOptions{ID: id})
	r.check(err)
	return t
}

// holds fails the test unless tables on a disk have the rows, in order.
func (r *rig) holds(disk vfs.FS, tables []*manifest.FileMeta, inputs ...*rows) {
	r.Helper()
	var got, want []string
	for _, m := range tables {
		t := r.table(disk, m)
		it := t.NewIter(sstable.IterOptions{})
		for kv := it.First(); kv != nil; kv = it.Next() {
			got = append(got, string(kv.Key))
		}
		r.check(it.Err())
		r.check(it.Close())
		r.check(t.Verify(context.Background(), func(int64) {}))
		r.check(t.Close())
	}
	for _, in := range inputs {
		for i := range in.n {
			want = append(want, string(in.key(i)))
		}
	}
	if !slices.Equal(got, want) {
		r.Fatalf("%d tables hold %d rows, want %d, or others", len(tables), len(got), len(want))
	}
}

// pack reads the directory of a pack on a disk.
func (r *rig) pack(disk vfs.FS, num base.FileNum) (tables []pack.Table, size int64) {
	r.Helper()
	id := r.identity(base.FileTypePack, num)
	f, err := disk.Open(id.Name())
	r.check(err)
	size, err = f.Size()
	r.check(err)
	tables, err = pack.Read(f, size, id)
	r.check(err)
	r.check(f.Close())
	return tables, size
}
