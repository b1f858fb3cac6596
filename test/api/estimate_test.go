package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

// estimator is what a database and a keyspace have in common here.
type estimator interface {
	Put(key, value []byte) error
	EstimateRange(lo, hi []byte) (observe.RangeEstimate, error)
}

// estimateRig is a database, the keys that were put into it, in order, and how many
// of them may be missed or too many at each end of a range.
type estimateRig struct {
	t    testing.TB
	mem  *memfs.FS
	o    *seerdb.Options
	db   *seerdb.DB
	keys []string
	page int
}

const estimateValue = 60

func newEstimateRig(t testing.TB, changes ...dbtest.Change) *estimateRig {
	r := &estimateRig{t: t, mem: memfs.New()}
	o := seerdb.Options{Durability: seerdb.Relaxed, PageSize: 2048, TableSize: 256 << 10, MemtableSize: 1 << 20, MemoryBudget: 32 << 20}
	to := dbtest.TestOptions{FS: r.mem}
	for _, c := range changes {
		c(&o, &to)
	}
	r.o, r.page = dbtest.With(o, to), 2*o.PageSize/estimateValue // a page can be twice as large as asked for
	r.db = dbtest.Open(t, "db", r.o)
	return r
}

// bigMemtable keeps what is put in memory.
func bigMemtable(o *seerdb.Options, to *dbtest.TestOptions) {
	o.MemtableSize, o.MemoryBudget, to.ManualOnly = 32<<20, 256<<20, true
}

// put puts n random keys, each once.
func (r *estimateRig) put(s estimator, n int) {
	r.t.Helper()
	rnd := rand.New(rand.NewPCG(uint64(len(r.keys)), 1))
	for range n {
		k := fmt.Appendf(nil, "%016x", rnd.Uint64())
		v := binary.BigEndian.AppendUint64(bytes.Repeat([]byte("v"), estimateValue-8), rnd.Uint64())
		dbtest.Must(r.t, s.Put(k, v))
		r.keys = append(r.keys, string(k))
	}
	slices.Sort(r.keys)
}

func (r *estimateRig) flush() {
	r.t.Helper()
	dbtest.Must(r.t, r.db.Flush(context.Background()))
}

func (r *estimateRig) compact() {
	r.t.Helper()
	r.flush()
	dbtest.Must(r.t, r.db.Compact(context.Background(), nil, nil))
}

// before is how many keys there are before one.
func (r *estimateRig) before(key []byte) int { return sort.SearchStrings(r.keys, string(key)) }

// ranges are random ones that hold many keys, few, and none, and those without an end.
func (r *estimateRig) ranges(n int) (out [][2][]byte) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range n {
		lo := rnd.Uint64()
		hi := max(lo, lo+rnd.Uint64()>>rnd.IntN(64))
		x := [2][]byte{fmt.Appendf(nil, "%016x", lo), fmt.Appendf(nil, "%016x", hi)}
		x[rnd.IntN(2)][15-rnd.IntN(3)] = 'g' // behind a key, not one
		if bytes.Compare(x[0], x[1]) > 0 {
			x[0], x[1] = x[1], x[0]
		}
		if i := rnd.IntN(8); i < 2 {
			x[i] = nil
		}
		out = append(out, x)
	}
	return out
}

// estimate is what is said of a range.
func (r *estimateRig) estimate(s estimator, lo, hi []byte) observe.RangeEstimate {
	r.t.Helper()
	got, err := s.EstimateRange(lo, hi)
	dbtest.Must(r.t, err)
	return got
}

// check compares estimates of random ranges with the keys there are: ends of a range in
// tables may be as many pages off as there are runs, what is in memory by a part.
func (r *estimateRig) check(s estimator, runs int, part float64) {
	r.t.Helper()
	for _, x := range r.ranges(400) {
		want := len(r.keys) - r.before(x[0])
		if x[1] != nil {
			want = r.before(x[1]) - r.before(x[0])
		}
		got := r.estimate(s, x[0], x[1])
		d := float64(got.Entries) - float64(want)
		if max(d, -d) > float64(2*runs*r.page)+part*float64(want) {
			r.t.Fatalf("%q to %q: %+v, there are %d of %d keys", x[0], x[1], got, want, len(r.keys))
		}
	}
}

// estimateRows is how many rows the large tests put.
func estimateRows() int {
	if dbtest.RaceEnabled || testing.Short() {
		return 20_000
	}
	return 200_000
}

// TestEstimateRangeOfTables: of tables the estimate is right to a page for each end,
// whatever their indexes and however compressed; of all it is exact, and parts add up.
func TestEstimateRangeOfTables(t *testing.T) {
	for name, c := range map[string]dbtest.Change{
		"auto":    func(*seerdb.Options, *dbtest.TestOptions) {},
		"fences":  func(_ *seerdb.Options, to *dbtest.TestOptions) { to.Index = sstable.IndexFences },
		"learned": func(_ *seerdb.Options, to *dbtest.TestOptions) { to.Index = sstable.IndexLearned },
		"raw":     func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Compression = seerdb.NoCompression },
	} {
		t.Run(name, func(t *testing.T) {
			r := newEstimateRig(t, c)
			r.put(r.db, estimateRows())
			r.compact()
			r.check(r.db, 1, 0)
			all := r.estimate(r.db, nil, nil)
			var entries, size uint64
			for _, l := range r.db.Metrics().Levels {
				entries, size = entries+uint64(l.Entries), size+uint64(l.Bytes)
			}
			if all != (observe.RangeEstimate{Entries: entries, TableBytes: size}) || entries != uint64(len(r.keys)) {
				t.Errorf("%+v of %d keys; the tables have %d entries, %d bytes", all, len(r.keys), entries, size)
			}
			for _, x := range r.ranges(100) {
				low, high := r.estimate(r.db, nil, x[0]), r.estimate(r.db, x[0], nil)
				if x[0] != nil && (low.Entries+high.Entries != entries || low.TableBytes+high.TableBytes != size) {
					t.Fatalf("%q: %+v before and %+v behind it, of %+v", x[0], low, high, all)
				}
				part := float64(high.TableBytes)/float64(size) - float64(high.Entries)/float64(entries)
				if max(part, -part) > 0.01 {
					t.Fatalf("%q: %+v of %+v", x[0], high, all)
				}
			}
		})
	}
}

// TestEstimateRangeOfMemtables: of what is in memory the estimate is right to some
// percent, and of what is half in memory and half in tables too.
func TestEstimateRangeOfMemtables(t *testing.T) {
	r := newEstimateRig(t, bigMemtable)
	r.put(r.db, 300)
	r.check(r.db, 0, 0)
	r.put(r.db, estimateRows()/2)
	r.check(r.db, 1, 0.15)
	if all := r.estimate(r.db, nil, nil); all.TableBytes != 0 || float64(all.MemtableBytes) < 0.85*float64(r.db.Metrics().Memtable.Active) ||
		float64(all.MemtableBytes) > 1.15*float64(r.db.Metrics().Memtable.Active) {
		t.Errorf("%+v; in use are %d bytes", all, r.db.Metrics().Memtable.Active)
	}
	r.compact()
	r.check(r.db, 1, 0)
	r.put(r.db, estimateRows()/2)
	r.check(r.db, 2, 0.1)
}

// TestEstimateRangeOfVersions: what was overwritten and deleted counts until it is
// compacted away.
func TestEstimateRangeOfVersions(t *testing.T) {
	r := newEstimateRig(t, bigMemtable)
	r.put(r.db, 200)
	there := uint64(200)
	for _, when := range []string{"in memory", "over tables"} {
		for _, k := range r.keys[:100] {
			dbtest.Must(t, r.db.Put([]byte(k), nil))
		}
		dbtest.Must(t, r.db.Delete([]byte(r.keys[0])))
		dbtest.Must(t, r.db.DeleteRange([]byte(r.keys[150]), nil))
		if got := r.estimate(r.db, nil, nil); got.Entries != there+101 {
			t.Errorf("%s: %+v, want %d entries", when, got, there+101)
		}
		r.flush()
		there = r.estimate(r.db, nil, nil).Entries
	}
	if there < 250 {
		t.Errorf("%d entries after flushes: nothing is left to compact", there)
	}
	r.compact()
	if got := r.estimate(r.db, nil, nil); got.Entries != 149 {
		t.Errorf("%+v after a compaction", got)
	}
}

// TestEstimateRangeOfKeyspaces: each has its own figures, in the memtable that they
// share, in tables, and in tables that share a file; a dropped one has none.
func TestEstimateRangeOfKeyspaces(t *testing.T) {
	r := newEstimateRig(t, bigMemtable, func(o *seerdb.Options, to *dbtest.TestOptions) { to.PackFrom, to.PackedMax = 1, 64<<10 })
	names := []string{"a", "b", "empty", "c"}
	check := func(when string) {
		t.Helper()
		var sum observe.RangeEstimate
		for i, name := range names {
			got := r.estimate(dbtest.Keyspace(t, r.db, name), nil, nil)
			if want := uint64(100 * i); name != "empty" && got.Entries != want || name == "empty" && got != (observe.RangeEstimate{}) {
				t.Errorf("%s: %q: %+v, want %d", when, name, got, want)
			}
			if half := r.estimate(dbtest.Keyspace(t, r.db, name), []byte("k0050"), []byte("k0060")); got.Entries > 0 && half.Entries > 60 {
				t.Errorf("%s: %q: %+v of ten rows", when, name, half)
			}
			sum.TableBytes += got.TableBytes
		}
		size := int64(0)
		for _, l := range r.db.Metrics().Levels {
			size += l.Bytes
		}
		if int64(sum.TableBytes) != size {
			t.Errorf("%s: %d bytes of tables, the levels have %d", when, sum.TableBytes, size)
		}
	}
	for i, name := range names {
		k := dbtest.Keyspace(t, r.db, name)
		for n := range 100 * i {
			if name != "empty" {
				dbtest.Must(t, k.Put(fmt.Appendf(nil, "k%04d", n), bytes.Repeat([]byte{byte(i)}, 50)))
			}
		}
	}
	check("in memory")
	r.flush()
	check("in tables")
	if packs := dbtest.NewestFile(&dbtest.Rig{TB: t, Mem: r.mem}, ".pack"); packs == "" {
		t.Error("no tables share a file")
	}
	if got := r.estimate(r.db, nil, nil); got != (observe.RangeEstimate{}) {
		t.Errorf("%+v of nothing in the default keyspace", got)
	}
	k := dbtest.Keyspace(t, r.db, "b")
	dbtest.Must(t, r.db.DropKeyspace("b"))
	if _, err := k.EstimateRange(nil, nil); !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Errorf("of a dropped keyspace: %v", err)
	}
}

// TestEstimateRangeOfValues: what is apart in value files is counted there.
func TestEstimateRangeOfValues(t *testing.T) {
	r := newEstimateRig(t, bigMemtable, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Compression = seerdb.NoCompression })
	const n, size = 1000, 3000
	for i := range n {
		dbtest.Must(t, r.db.Put(fmt.Appendf(nil, "k%04d", i), make([]byte, size)))
	}
	if got := r.estimate(r.db, nil, nil); got.ValueBytes != 0 || got.MemtableBytes < n*size {
		t.Errorf("%+v in memory", got)
	}
	r.compact()
	v := r.db.Metrics().Values
	if got := r.estimate(r.db, nil, nil); int64(got.ValueBytes) != v.Bytes-v.Garbage || got.MemtableBytes != 0 {
		t.Errorf("%+v, value files have %+v", got, v)
	}
	got := r.estimate(r.db, []byte("k0250"), []byte("k0750"))
	if d := int(got.ValueBytes) - n/2*size; d > n/10*size || -d > n/10*size {
		t.Errorf("%+v in the half", got)
	}
}

// TestEstimateRangeEnds: what is empty, what is read, and what is refused.
func TestEstimateRangeEnds(t *testing.T) {
	r := newEstimateRig(t)
	zero := observe.RangeEstimate{}
	if got := r.estimate(r.db, nil, nil); got != zero {
		t.Errorf("%+v of an empty database", got)
	}
	r.put(r.db, 20_000)
	r.compact()
	for _, x := range [][2]string{{"5", "4"}, {"5", "5"}, {"", ""}, {"x", "z"}, {"", " "}} {
		if got := r.estimate(r.db, []byte(x[0]), []byte(x[1])); got != zero {
			t.Errorf("%q to %q: %+v", x[0], x[1], got)
		}
	}
	dbtest.Must(t, r.db.Close())
	if _, err := r.db.EstimateRange(nil, nil); !errors.Is(err, seerdb.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	r.db = dbtest.Open(t, "db", r.o)
	files := 0
	for _, l := range r.db.Metrics().Levels {
		files += l.Files
	}
	for _, x := range []struct {
		lo, hi []byte
		reads  int64
	}{{nil, nil, 0}, {[]byte("3"), nil, 1}, {[]byte("4"), []byte("b"), 3}} {
		r.estimate(r.db, x.lo, x.hi)
		if got := r.db.Metrics().Index.Tables; got > x.reads {
			t.Errorf("%q to %q: %d of %d tables were read, want %d at most", x.lo, x.hi, got, files, x.reads)
		}
	}
	if io := r.db.Metrics().Cache; io.Misses != 0 {
		t.Errorf("%d pages were read", io.Misses)
	}
	dbtest.Must(t, r.db.Close())
	h := &dbtest.Rig{TB: t, Mem: r.mem}
	dbtest.FlipAt(h, dbtest.NewestFile(h, ".sst"), 200)
	db := dbtest.Open(t, "db", r.o)
	var damage *seerdb.CorruptionError
	var err error
	for i := 0; i < 256 && err == nil; i++ {
		_, err = db.EstimateRange([]byte{"0123456789abcdef"[i>>4], "0123456789abcdef"[i&15]}, nil)
	}
	if !errors.As(err, &damage) {
		t.Errorf("of a damaged table: %v", err)
	}
}

// TestEstimateRangeBesideWriters: while rows are put, flushed and compacted, the
// estimate of all is near what there is.
func TestEstimateRangeBesideWriters(t *testing.T) {
	r := newEstimateRig(t, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.MemtableSize = 64 << 10 })
	r.put(r.db, 2000)
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 9))
			for range 4000 {
				if err := r.db.Put(fmt.Appendf(nil, "%016x", rnd.Uint64()), make([]byte, estimateValue)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			if err := errors.Join(r.db.Flush(context.Background()), r.db.Compact(context.Background(), nil, nil)); err != nil {
				t.Error(err)
			}
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		for _, lo := range [][]byte{nil, []byte("0")} {
			if got, err := r.db.EstimateRange(lo, nil); err != nil || got.Entries < 1700 || got.Entries > 11_500 {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	}
}

func BenchmarkEstimateRange(b *testing.B) {
	for name, part := range map[string]bool{"tables": false, "half in memory": true} {
		r := newEstimateRig(b, bigMemtable)
		r.put(r.db, 100_000)
		r.compact()
		if part {
			r.put(r.db, 100_000)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.estimate(r.db, []byte("3"), []byte("c"))
			}
		})
	}
}
