package model

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

var (
	modelOps  = flag.Int("model.ops", 0, "operations of each model run (0: a short run)")
	modelSeed = flag.Uint64("model.seed", 0, "seed of the model runs (0: from the clock, printed)")
)

// config is one set of options under which the whole engine must behave like
// the model.
type config struct {
	name string
	o    seerdb.Options
	t    dbtest.TestOptions
}

// configs are the option sets. Each differs from dbtest.Tiny in the ways its name
// says.
func configs() []config {
	type change = func(*seerdb.Options, *dbtest.TestOptions)
	list := []struct {
		name string
		f    change
	}{
		{"tiny", func(*seerdb.Options, *dbtest.TestOptions) {}},
		{"defaults", func(o *seerdb.Options, t *dbtest.TestOptions) { *o, *t = seerdb.Options{}, dbtest.TestOptions{} }},
		{"memtable-1k", func(o *seerdb.Options, t *dbtest.TestOptions) { o.MemtableSize = 1 << 10 }},
		{"pages-80", func(o *seerdb.Options, t *dbtest.TestOptions) { o.PageSize = 80 }},
		{"pages-80-fences", func(o *seerdb.Options, t *dbtest.TestOptions) { o.PageSize, t.Index = 80, sstable.IndexFences }},
		{"pages-80-learned", func(o *seerdb.Options, t *dbtest.TestOptions) { o.PageSize, t.Index = 80, sstable.IndexLearned }},
		{"tables-2k", func(o *seerdb.Options, t *dbtest.TestOptions) { o.TableSize = 2 << 10 }},
		{"tables-1m", func(o *seerdb.Options, t *dbtest.TestOptions) { o.TableSize = 1 << 20 }},
		{"one-l0-run", func(o *seerdb.Options, t *dbtest.TestOptions) { t.L0Trigger = 1 }},
		{"many-l0-runs", func(o *seerdb.Options, t *dbtest.TestOptions) { t.L0Trigger = 12 }},
		{"separate-all", func(o *seerdb.Options, t *dbtest.TestOptions) { o.ValueThreshold = 1 }},
		{"separate-none", func(o *seerdb.Options, t *dbtest.TestOptions) { o.ValueThreshold = -1 }},
		{"no-cache", func(o *seerdb.Options, t *dbtest.TestOptions) { t.NoCache = true }},
		{"small-cache", func(o *seerdb.Options, t *dbtest.TestOptions) { o.MemoryBudget = 64 << 10 }},
		{"partitions-16", func(o *seerdb.Options, t *dbtest.TestOptions) { t.Partitions = 16 }},
		{"partitions-2", func(o *seerdb.Options, t *dbtest.TestOptions) { t.Partitions = 2 }},
		{"leveled", func(o *seerdb.Options, t *dbtest.TestOptions) { o.CompactionStyle = seerdb.Leveled }},
		{"leveled-tiny-tables", func(o *seerdb.Options, t *dbtest.TestOptions) {
			o.CompactionStyle, o.TableSize, o.MemtableSize, t.PackFrom = seerdb.Leveled, 2<<10, 4<<10, -1
		}},
		{"lazy-tiny-tables", func(o *seerdb.Options, t *dbtest.TestOptions) { o.TableSize, o.MemtableSize = 2<<10, 4<<10 }},
		{"packs", func(o *seerdb.Options, t *dbtest.TestOptions) { t.PackFrom, t.PackedMax = -1, 2<<10 }},
		{"no-filters", func(o *seerdb.Options, t *dbtest.TestOptions) { o.FilterBits = -1 }},
		{"raw", func(o *seerdb.Options, t *dbtest.TestOptions) { o.Compression = seerdb.NoCompression }},
		{"lz4", func(o *seerdb.Options, t *dbtest.TestOptions) { o.Compression = seerdb.LZ4 }},
		{"zstd", func(o *seerdb.Options, t *dbtest.TestOptions) { o.Compression = seerdb.Zstd }},
		{"fences", func(o *seerdb.Options, t *dbtest.TestOptions) { t.Index = sstable.IndexFences }},
		{"buffered", func(o *seerdb.Options, t *dbtest.TestOptions) { o.Durability = seerdb.Buffered }},
		{"buffered-interval", func(o *seerdb.Options, t *dbtest.TestOptions) {
			o.Durability, o.SyncInterval = seerdb.Buffered, time.Millisecond
		}},
		{"relaxed", func(o *seerdb.Options, t *dbtest.TestOptions) { o.Durability = seerdb.Relaxed }},
		{"no-wal", func(o *seerdb.Options, t *dbtest.TestOptions) { o.Durability = seerdb.NoWAL }},
		{"everything-small", func(o *seerdb.Options, t *dbtest.TestOptions) {
			o.MemtableSize, o.PageSize, o.TableSize, o.ValueThreshold, o.MemoryBudget = 1<<10, 80, 2<<10, 1, 16<<10
			t.L0Trigger, t.NoCache, t.Partitions, t.BaseLevel, t.PackFrom = 1, true, 16, 4<<10, -1
		}},
	}
	out := make([]config, len(list))
	for i, l := range list {
		c := config{name: l.name}
		c.o, c.t = dbtest.Tiny()
		l.f(&c.o, &c.t)
		out[i] = c
	}
	return out
}

// TestModel drives the engine with random operations, crashes included, and
// compares every answer with the model.
func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	ops := *modelOps
	if ops == 0 {
		ops = 3000
		if testing.Short() {
			ops = 600
		}
	}
	for i, c := range configs() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := &modelRun{t: t, config: c, g: testkit.NewGen(seed+uint64(i), 200, 120), m: testkit.NewModel(), fs: memfs.New()}
			defer func() {
				if t.Failed() {
					t.Logf("reproduce with: go test ./test/model -run 'TestModel/%s$' -model.seed %d -model.ops %d", c.name, seed, ops)
				}
			}()
			r.run(ops)
		})
	}
}

// modelRun is one run under one set of options.
type modelRun struct {
	t       *testing.T
	config  config
	g       *testkit.Gen
	m       *testkit.Model
	fs      *memfs.FS
	limit   int // of descriptors; 0 = none
	db      *seerdb.DB
	snaps   []modelSnapshot
	durable int // every commit up to here must survive a power cut
	step    int
}

type modelSnapshot struct {
	s  *seerdb.Snapshot
	at int
}

func (r *modelRun) run(ops int) {
	r.openDB()
	for r.step = range ops {
		r.once()
		if r.t.Failed() {
			break
		}
	}
	r.checkAll("at the end")
	r.closeSnapshots()
	dbtest.Must(r.t, r.db.Close())
}

func (r *modelRun) openDB() {
	o := r.config.o
	t := r.config.t
	t.FS = r.fs
	if r.limit > 0 {
		t.FS = dbtest.NewDescriptorFS(r.fs, r.limit)
	}
	db, err := seerdb.Open("db", dbtest.With(o, t))
	if err != nil {
		r.t.Fatalf("step %d: open: %v", r.step, err)
	}
	r.db = db
}

// once performs one random operation.
func (r *modelRun) once() {
	ctx := context.Background()
	switch n := r.g.IntN(1000); {
	case n < 550:
		r.commit()
	case n < 750:
		r.get()
	case n < 850:
		r.walk()
	case n < 870:
		r.takeSnapshot()
	case n < 890:
		r.dropSnapshot()
	case n < 910:
		dbtest.Must(r.t, r.db.Flush(ctx))
		r.durable = r.m.Commits()
	case n < 915:
		lo, hi := r.g.Bounds()
		dbtest.Must(r.t, r.db.Compact(ctx, lo, hi))
		r.durable = r.m.Commits()
	case n < 925:
		if r.config.o.Durability != seerdb.NoWAL {
			dbtest.Must(r.t, r.db.Sync())
			r.durable = r.m.Commits()
		}
	case n < 930:
		r.reopen()
	case n < 940:
		r.crash()
	case n < 945:
		r.checkAll("on the way")
	case n < 950:
		r.verify()
	}
}

func (r *modelRun) commit() {
	ops := r.g.Ops()
	c := r.m.Commits() + 1
	counter := binary.BigEndian.AppendUint64(nil, uint64(c))
	ops = append(ops, testkit.Op{Key: dbtest.CounterKey, Value: string(counter)})
	b := r.db.NewBatch()
	for _, op := range ops {
		if op.Delete {
			dbtest.Must(r.t, b.Delete([]byte(op.Key)))
		} else {
			dbtest.Must(r.t, b.Put([]byte(op.Key), []byte(op.Value)))
		}
	}
	d := seerdb.DefaultDurability
	if r.config.o.Durability != seerdb.NoWAL && r.g.IntN(20) == 0 {
		d = seerdb.Sync
	}
	if err := r.db.Apply(b, d); err != nil {
		r.t.Fatalf("step %d: commit: %v", r.step, err)
	}
	r.m.Commit(ops)
	if d == seerdb.Sync || r.config.o.Durability == seerdb.DefaultDurability {
		r.durable = c
	}
}

// reader draws the database or a snapshot, and the commit at which it reads.
func (r *modelRun) reader() (dbtest.Reader, int) {
	if len(r.snaps) > 0 && r.g.IntN(3) == 0 {
		s := r.snaps[r.g.IntN(len(r.snaps))]
		return s.s, s.at
	}
	return r.db, r.m.Commits()
}

func (r *modelRun) get() {
	src, at := r.reader()
	key := r.g.Key()
	want, exists := r.m.Get(key, at)
	got, err := src.AppendGet([]byte("x"), []byte(key))
	switch {
	case exists && (err != nil || string(got) != "x"+want):
		r.t.Fatalf("step %d: get %q at commit %d: got %q, %v; want %q", r.step, key, at, got, err, want)
	case !exists && !errors.Is(err, seerdb.ErrNotFound):
		r.t.Fatalf("step %d: get %q at commit %d: got %q, %v; want not found", r.step, key, at, got, err)
	}
	if has, err := src.Has([]byte(key)); err != nil || has != exists {
		r.t.Fatalf("step %d: has %q: %v, %v; want %v", r.step, key, has, err, exists)
	}
}

// walk moves an iterator at random, beside a cursor over the model's rows.
func (r *modelRun) walk() {
	src, at := r.reader()
	lo, hi := r.g.Bounds()
	o := &seerdb.IterOptions{LowerBound: lo, UpperBound: hi, KeysOnly: r.g.IntN(4) == 0, Bulk: r.g.IntN(2) == 0}
	it, err := src.NewIter(o)
	dbtest.Must(r.t, err)
	rows := r.m.Rows(lo, hi, at)
	if lo != nil && hi != nil && bytes.Compare(lo, hi) > 0 {
		rows = nil
	}
	c := testkit.NewCursor(rows)
	var path []string
	for range 1 + r.g.IntN(30) {
		move, key := r.g.IntN(12), r.g.Key()
		var got, want bool
		switch {
		case move == 0:
			got, want = it.First(), c.First()
			path = append(path, "First")
		case move == 1:
			got, want = it.Last(), c.Last()
			path = append(path, "Last")
		case move == 2:
			got, want = it.SeekGE([]byte(key)), c.SeekGE(key)
			path = append(path, fmt.Sprintf("SeekGE(%q)", key))
		case move == 3:
			got, want = it.SeekLT([]byte(key)), c.SeekLT(key)
			path = append(path, fmt.Sprintf("SeekLT(%q)", key))
		case move < 8:
			got, want = it.Next(), c.Next()
			path = append(path, "Next")
		default:
			got, want = it.Prev(), c.Prev()
			path = append(path, "Prev")
		}
		row, _ := c.Row()
		if o.KeysOnly {
			row.Value = ""
		}
		if got != want || string(it.Key()) != row.Key || string(it.Value()) != row.Value {
			r.t.Fatalf("step %d: iterator at commit %d over [%q, %q) keys only %v after %s: %v %q=%q, want %v %q=%q (%v)",
				r.step, at, lo, hi, o.KeysOnly, strings.Join(path, " "), got, it.Key(), it.Value(), want, row.Key, row.Value, it.Err())
		}
	}
	dbtest.Must(r.t, it.Close())
}

func (r *modelRun) takeSnapshot() {
	if len(r.snaps) < 6 {
		r.snaps = append(r.snaps, modelSnapshot{r.db.NewSnapshot(), r.m.Commits()})
	}
}

func (r *modelRun) dropSnapshot() {
	if n := len(r.snaps); n > 0 {
		i := r.g.IntN(n)
		dbtest.Must(r.t, r.snaps[i].s.Close())
		r.snaps[i] = r.snaps[n-1]
		r.snaps = r.snaps[:n-1]
	}
}

func (r *modelRun) closeSnapshots() {
	for _, s := range r.snaps {
		dbtest.Must(r.t, s.s.Close())
	}
	r.snaps = nil
}

func (r *modelRun) reopen() {
	r.closeSnapshots()
	dbtest.Must(r.t, r.db.Close())
	r.durable = r.m.Commits()
	r.openDB()
	r.checkAll("after reopening")
}

// crash cuts the power: what was not synced survives by chance.
func (r *modelRun) crash() {
	keep := []float64{0, 1, 0.5, 0.9}[r.g.IntN(4)]
	disk := r.fs.CrashClone(memfs.CrashOptions{Keep: keep, Rand: rand.New(rand.NewPCG(r.g.Uint64(), 1))})
	r.closeSnapshots()
	_ = r.db.Close() // the old machine goes on beside, on its own disk
	r.fs = disk
	r.openDB()
	got := 0
	v, err := r.db.Get([]byte(dbtest.CounterKey))
	if err == nil {
		got = int(binary.BigEndian.Uint64(v))
	} else if !errors.Is(err, seerdb.ErrNotFound) {
		r.t.Fatal(err)
	}
	if got < r.durable || got > r.m.Commits() {
		r.t.Fatalf("step %d: after a crash (keep %v) commit %d is the newest; %d was durable, %d issued", r.step, keep, got, r.durable, r.m.Commits())
	}
	r.m.Truncate(got)
	r.durable = got
	r.checkAll("after a crash")
}

func (r *modelRun) verify() {
	report, err := r.db.Verify(context.Background())
	dbtest.Must(r.t, err)
	if !report.Clean() {
		r.t.Fatalf("step %d: verify: %v", r.step, report.Damage)
	}
}

// checkAll compares everything, both ways, for the database and all snapshots.
func (r *modelRun) checkAll(when string) {
	r.check(r.db, r.m.Commits(), when)
	for _, s := range r.snaps {
		r.check(s.s, s.at, when+", at a snapshot")
	}
}

func (r *modelRun) check(src dbtest.Reader, at int, when string) {
	rows := r.m.Rows(nil, nil, at)
	it, err := src.NewIter(nil)
	dbtest.Must(r.t, err)
	i := 0
	for ok := it.First(); ok; ok = it.Next() {
		if i >= len(rows) || string(it.Key()) != rows[i].Key || string(it.Value()) != rows[i].Value {
			r.t.Fatalf("step %d %s: row %d is %q=%q; want %v", r.step, when, i, it.Key(), it.Value(), rows[min(i, len(rows)-1)])
		}
		i++
	}
	if i != len(rows) || it.Err() != nil {
		r.t.Fatalf("step %d %s: %d rows, want %d (%v)", r.step, when, i, len(rows), it.Err())
	}
	for ok := it.Last(); ok; ok = it.Prev() {
		if i--; i < 0 || string(it.Key()) != rows[i].Key || string(it.Value()) != rows[i].Value {
			r.t.Fatalf("step %d %s, backward: row %d is %q=%q", r.step, when, i, it.Key(), it.Value())
		}
	}
	if i != 0 {
		r.t.Fatalf("step %d %s, backward: %d rows are missing (%v)", r.step, when, i, it.Err())
	}
	dbtest.Must(r.t, it.Close())
}
