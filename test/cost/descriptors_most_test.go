package cost

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// The tests here count what a database has open while it has the most open that it
// can. The promise of docs/GUARANTEES.md is the sum of these.

// countedRig is a database whose descriptors are counted.
func countedRig(t *testing.T, changes ...dbtest.Change) (*dbtest.Rig, *dbtest.DescriptorFS) {
	t.Helper()
	r := &dbtest.Rig{TB: t, Mem: memfs.New()}
	r.Options, r.Test = dbtest.Tiny()
	dbtest.Quiet(&r.Options, &r.Test)
	r.Options.OpenFiles, r.Options.MaxCompactions = 1, 1
	for _, c := range changes {
		c(&r.Options, &r.Test)
	}
	r.Fault = faultfs.New(r.Mem)
	d := dbtest.NewDescriptorFS(r.Fault, 1<<20)
	r.Test.FS = d
	r.DB = dbtest.Open(t, "db", dbtest.With(r.Options, r.Test))
	t.Cleanup(r.Fault.Clear)
	return r, d
}

// TestLogsOpenAtMost: logs of memtables that were just flushed are closed while others
// fill, wait, and are made ahead.
func TestLogsOpenAtMost(t *testing.T) {
	r, d := countedRig(t, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Durability = seerdb.Buffered })
	// fill fills memtables until writers are stopped.
	fill := func() <-chan error {
		return dbtest.Async(func() error {
			for i := range 2000 {
				if err := r.DB.Put(fmt.Appendf(nil, "%04d", i%100), make([]byte, 100)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	flushes := r.Inject(faultfs.OpCreate, "*.sst", nil)
	closes := r.Hold(faultfs.OpClose, "*.wal")
	if err := r.Finish(fill()); !errors.Is(err, syscall.EIO) {
		t.Fatalf("writers that are stopped: %v", err)
	}
	flushes.Remove()
	dbtest.Eventually(t, 10*time.Second, "the first three are flushed", func() bool { return r.DB.Metrics().Memtable.Queue == 0 })
	_ = r.Finish(fill()) // the flush has not ended, and writers get the error of the one before
	most := mostDescriptors["log"]
	dbtest.Eventually(t, 10*time.Second, "a log is made ahead", func() bool {
		d.Mu.Lock()
		defer d.Mu.Unlock()
		return d.Uses["log"] == most
	})
	closes.Release()
	dbtest.Must(t, r.Flush())
	d.Has(t, "log", most)
}

// TestOutputsOpenAtMost: tables that refer to a value file stay open until it is full,
// so many and no more.
func TestOutputsOpenAtMost(t *testing.T) {
	r, d := countedRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemtableSize, o.TableSize, o.ValueThreshold, o.MemoryBudget = 1<<20, 2<<10, 58, 8<<20
		to.PackFrom, to.PackedMax = 1, 1<<10
	})
	dbtest.Must(t, r.DB.Put([]byte("small"), nil)) // its table goes into a pack, which stays open
	k := dbtest.Keyspace(t, r.DB, "large")
	for i := range 2000 {
		dbtest.Must(t, k.Put(randomKey(i, 100), make([]byte, 40+i%20))) // one in ten apart
	}
	dbtest.Must(t, r.Flush())
	d.Has(t, "output", dbtest.OutputsOfJob)
	dbtest.Must(t, k.Compact(context.Background(), nil, nil))
	d.Has(t, "output", dbtest.OutputsOfJob)
}

// randomKey is a key that does not compress; it grows with i.
func randomKey(i, size int) []byte {
	key := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(key)
	copy(key, fmt.Appendf(nil, "%06d", i))
	return key
}

// TestManifestOpensAtMost: what is open while the manifest is rewritten.
func TestManifestOpensAtMost(t *testing.T) {
	r, d := countedRig(t, func(_ *seerdb.Options, to *dbtest.TestOptions) { to.BaseLevel = 64 << 20 })
	for i := 0; ; i++ {
		if _, err := r.Mem.Stat("db/MANIFEST-000001"); err != nil {
			break
		}
		if i > 100 {
			t.Fatal("the manifest is never rewritten")
		}
		dbtest.Must(t, r.DB.Put(randomKey(i, 60<<10), nil))
		dbtest.Must(t, r.Flush())
	}
	for _, use := range []string{"root", "directory", "lock", "manifest", "temporary"} {
		d.Has(t, use, mostDescriptors[use])
	}
}

// TestDescriptorsOfTheSystem: what is counted here is what the system counts.
func TestDescriptorsOfTheSystem(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts in /proc")
	}
	first, err := seerdb.Open(t.TempDir(), nil)
	dbtest.Must(t, err)
	dbtest.Must(t, first.Close()) // it may have made what stays, such as the poller's
	d := dbtest.NewDescriptorFS(vfs.OS, 1<<20)
	before := dbtest.OpenDescriptors(t)
	dbtest.Open(t, t.TempDir(), dbtest.With(seerdb.Options{}, dbtest.TestOptions{FS: d}))
	counted, _ := d.Counts()
	if n := dbtest.OpenDescriptors(t) - before; n != counted || n != 6 {
		t.Errorf("%d more are open, counted are %d; want 6: the directory twice, two locks, manifest and log", n, counted)
	}
}

// TestEverythingWithFewDescriptors does all that takes descriptors at once, with as
// many as are promised to suffice.
func TestEverythingWithFewDescriptors(t *testing.T) {
	few := dbtest.NewDescriptorFS(memfs.New(), dbtest.FewestDescriptors+dbtest.OutputsOfJob) // with a load
	sum := 0
	for _, n := range mostDescriptors {
		sum += n
	}
	if want := sum + 3*dbtest.OutputsOfJob + 2; dbtest.FewestDescriptors != want {
		t.Fatalf("what is promised is %d; the sum of the parts is %d", dbtest.FewestDescriptors, want)
	}
	o, to := dbtest.Tiny()
	o.MemtableSize, o.MemoryBudget, o.TableSize, o.ValueThreshold, o.Durability = 64<<10, 8<<20, 4<<10, 50, seerdb.Buffered
	o.OpenFiles, o.MaxCompactions, to.FS = 100, 1, few
	db := dbtest.Open(t, "db", dbtest.With(o, to))
	for i := range 400 { // so that there is a reserve
		dbtest.Must(t, db.Put(randomKey(i, 1000), make([]byte, 100)))
	}
	d := time.Second
	if testing.Short() {
		d = 300 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var wg sync.WaitGroup
	for name, work := range map[string]func(i int) error{
		"put":     func(i int) error { return db.Put(randomKey(i%3000, 400), make([]byte, 60)) },
		"flush":   func(int) error { return db.Flush(ctx) },
		"compact": func(int) error { return db.Compact(ctx, nil, nil) },
		"verify":  func(int) error { _, err := db.Verify(ctx); return err },
		"get": func(i int) error {
			_, err := db.Get(randomKey(i%400, 1000))
			return err
		},
		"load": func(i int) error {
			_, err := db.BulkLoad(ctx, func(yield func(k, v []byte) bool) {
				for j := range 1000 {
					if !yield(randomKey((i+j*7919)%9973, 400), make([]byte, 60)) {
						return
					}
				}
			}, &seerdb.BulkOptions{Unsorted: true})
			return err
		},
	} {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := work(i); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	wg.Wait()
	few.Mu.Lock() // flushes go on
	defer few.Mu.Unlock()
	for use, n := range few.Most {
		if most, ok := mostDescriptors[use]; ok && n > most {
			t.Errorf("%d descriptors at most for %s; counted on %d", n, use, most)
		}
	}
	t.Logf("%d at once of %d; %v", few.Peak, few.Limit, few.Most)
	if few.Most["output"] > 4*dbtest.OutputsOfJob {
		t.Errorf("%d outputs at once", few.Most["output"])
	}
}

// TestLoadOfManySpills: a load that is sorted on disk spills more files than there
// are descriptors.
func TestLoadOfManySpills(t *testing.T) {
	o, to := dbtest.Tiny()
	d := dbtest.NewDescriptorFS(memfs.New(), dbtest.OneAtATime)
	o.MemoryBudget, o.MaxCompactions, to.FS = 512<<10, 1, d // an eighth of it is sorted at once
	db := dbtest.Open(t, "db", dbtest.With(o, to))
	n := 4000
	stats, err := db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
		for i := range n {
			if !yield(randomKey(i*7919%n, 500), make([]byte, 100)) {
				return
			}
		}
	}, &seerdb.BulkOptions{Unsorted: true})
	if dbtest.Must(t, err); stats.Rows != uint64(n) || stats.SpilledBytes < 2<<20 {
		t.Fatalf("%+v", stats)
	}
	for i := range n {
		if _, err := db.Get(randomKey(i, 500)); err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
	}
}
