package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

// fullDisk is a disk that is filled, and by what.
type fullDisk struct {
	fs   vfs.FS
	dir  string
	fill func() // by something else, once some is in; nil: by the database alone
	o    seerdb.Options
	size int // of values

	health observe.Health // once it was full
}

func (d *fullDisk) open(t *testing.T) *seerdb.DB {
	t.Helper()
	db, err := seerdb.Open(d.dir, dbtest.With(d.o, dbtest.TestOptions{FS: d.fs}))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return db
}

// run is what a user does whose disk is full: read on, delete, close, open again,
// make room, and write on.
func (d *fullDisk) run(t *testing.T) {
	db := d.open(t)
	acked := d.until(t, db)
	t.Logf("%d commits", acked)
	read := func(db *seerdb.DB, from int) {
		t.Helper()
		for i := from; i < acked; i += 1 + acked/200 {
			if _, err := db.Get(fmt.Appendf(nil, "k%06d", i)); err != nil {
				t.Fatalf("acknowledged commit %d of %d: %v", i, acked, err)
			}
		}
	}
	read(db, 0)
	if h := d.health; !errors.Is(h.Err, seerdb.ErrNoSpace) {
		t.Errorf("health: %+v", h)
	}
	dbtest.Must(t, db.Delete([]byte("k000000")))
	dbtest.Must(t, db.Close())

	db = d.open(t)
	read(db, 1)
	if ok, err := db.Has([]byte("k000000")); ok || err != nil {
		t.Errorf("the deleted key is there: %v", err)
	}
	dbtest.Must(t, db.DeleteRange(nil, fmt.Appendf(nil, "k%06d", acked-acked/20)))
	ctx := context.Background()
	// A job in the background may have the last of the room for a moment.
	dbtest.Eventually(t, 5*time.Second, "a flush and a compaction work", func() bool {
		err := db.Flush(ctx)
		if err == nil {
			err = db.Compact(ctx, nil, nil)
		}
		if err != nil && !errors.Is(err, seerdb.ErrNoSpace) {
			t.Fatal(err)
		}
		return err == nil
	})
	dbtest.Eventually(t, 5*time.Second, "commits go on", func() bool { return db.Put([]byte("again"), make([]byte, d.size)) == nil })
	dbtest.Eventually(t, 5*time.Second, "the database is well", func() bool { return db.Health().Status == observe.OK })
	read(db, acked-acked/20)
	dbtest.Must(t, db.Close())
	db = d.open(t)
	read(db, acked-acked/20)
	_, err := db.Verify(ctx)
	dbtest.Must(t, err)
	dbtest.Must(t, db.Close())
}

// until commits until no commit has worked for a while, and returns how many did. A
// flush may end, and commits go on, just when Health is asked: then it goes on too,
// but not for ever.
func (d *fullDisk) until(t *testing.T, db *seerdb.DB) (acked int) {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{1})
	value := make([]byte, d.size)
	for last := time.Now(); ; {
		d.health = db.Health()
		refused, full := time.Since(last), errors.Is(d.health.Err, seerdb.ErrNoSpace)
		if d.health.Status != observe.OK && (full && refused > 300*time.Millisecond || refused > 10*time.Second) {
			return acked
		}
		if d.fill != nil && acked == 500 {
			d.fill()
			d.fill = nil
		}
		_, _ = rng.Read(value)
		switch err := db.Put(fmt.Appendf(nil, "k%06d", acked), value); {
		case err == nil:
			acked++
			last = time.Now()
		case errors.Is(err, seerdb.ErrNoSpace) && !errors.Is(err, seerdb.ErrReadOnly) && !errors.Is(err, seerdb.ErrCommitUnknown):
			time.Sleep(5 * time.Millisecond)
		default:
			t.Fatalf("commit %d: %v", acked, err)
		}
	}
}

// fullDisks calls fn for each durability and each way to fill a disk of so many
// bytes.
func fullDisks(t *testing.T, bytes int, fn func(t *testing.T, d *fullDisk)) {
	for _, mode := range []seerdb.Durability{seerdb.Sync, seerdb.Buffered, seerdb.Relaxed, seerdb.NoWAL} {
		for what, d := range map[string]fullDisk{
			"log":     {o: seerdb.Options{MemtableSize: 2 * bytes}, size: 1000},
			"flushes": {o: seerdb.Options{MemtableSize: bytes / 32}, size: 400},
			"values":  {o: seerdb.Options{MemtableSize: bytes / 16, ValueThreshold: 1000}, size: 4000},
			"others":  {o: seerdb.Options{MemtableSize: bytes}, size: 1000},
		} {
			t.Run(fmt.Sprint(mode, ", by ", what), func(t *testing.T) {
				d.o.Durability, d.o.MemoryBudget = mode, 256<<20
				fn(t, &d)
			})
		}
	}
}

// TestFullDisk fills disks in memory.
func TestFullDisk(t *testing.T) {
	bytes := 4 << 20
	fullDisks(t, bytes, func(t *testing.T, d *fullDisk) {
		t.Parallel()
		mem := memfs.New()
		mem.SetCapacity(int64(bytes))
		filling := d.o.MemtableSize == bytes
		if filling {
			d.fill = func() { mem.SetCapacity(mem.Used()) }
		}
		d.fs, d.dir = mem, "db"
		d.run(t)
	})
}

// TestTinyDatabaseHasNoReserve: what holds little takes little, also after Close.
func TestTinyDatabaseHasNoReserve(t *testing.T) {
	mem := memfs.New()
	d := fullDisk{fs: mem, dir: "db"}
	for range 3 {
		db := d.open(t)
		dbtest.Must(t, db.Put([]byte("k"), make([]byte, 10_000)))
		dbtest.Must(t, db.Close())
	}
	if _, err := mem.Stat("db/RESERVE"); err == nil || mem.Used() > 64<<10 {
		t.Errorf("three values of 10 kB take %d bytes; a reserve: %v", mem.Used(), err == nil)
	}
}

// TestForeignReserveStays: a file with bytes that has the reserve's name is left
// alone, and the database works without.
func TestForeignReserveStays(t *testing.T) {
	mem := memfs.New()
	d := fullDisk{fs: mem, dir: "db"}
	dbtest.Must(t, d.open(t).Close())
	f, err := mem.Create("db/RESERVE")
	dbtest.Must(t, err)
	_, err = f.Write([]byte("mine"))
	dbtest.Must(t, err)
	dbtest.Must(t, f.Close())
	db := d.open(t)
	for i := range 40 {
		dbtest.Must(t, db.Put([]byte{byte(i)}, make([]byte, 20_000)))
	}
	dbtest.Must(t, db.Close())
	if info, err := mem.Stat("db/RESERVE"); err != nil || info.Size() != 4 {
		t.Errorf("a file that is not of the database: %v, %v", info, err)
	}
}

// TestReserveComesBack: what keeps the reserve from being made, and may pass, costs
// commits nothing, and the reserve is there once it has passed. A descriptor is
// taken from the open tables.
func TestReserveComesBack(t *testing.T) {
	for _, rule := range []faultfs.Rule{
		{Op: faultfs.OpCreate, Err: syscall.EMFILE}, {Op: faultfs.OpCreate, Err: syscall.ENFILE},
		{Op: faultfs.OpCreate, Err: syscall.EIO}, {Op: faultfs.OpPreallocate, Err: syscall.EIO},
	} {
		t.Run(fmt.Sprint(rule.Op, " ", rule.Err), func(t *testing.T) {
			t.Parallel()
			mem := memfs.New()
			fault := faultfs.New(mem)
			rule.Path = "RESERVE"
			fired := fault.Inject(rule)
			d := fullDisk{fs: fault, dir: "db"}
			db := d.open(t)
			defer db.Close()
			for i := range 40 {
				dbtest.Must(t, db.Put([]byte{byte(i)}, make([]byte, 20_000)))
			}
			if h := db.Health(); h.Err != nil || fired.Count() == 0 {
				t.Errorf("health: %+v; %d failures", h, fired.Count())
			}
			fault.Clear()
			room := func() bool { _, err := mem.Stat("db/RESERVE"); return err == nil }
			dbtest.Eventually(t, 5*time.Second, "the reserve is there", room)
		})
	}
}

// TestReserveGetsTheDescriptorOfATable: where open tables have all descriptors, one
// is closed for the reserve, which is made at once.
func TestReserveGetsTheDescriptorOfATable(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.MemtableSize = 4 << 20 })
	r.Put("a=1")
	dbtest.Must(t, r.Flush())
	r.Want("a=1") // opens the table
	fired := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "RESERVE", Err: syscall.EMFILE, Count: 1})
	for i := range 40 {
		dbtest.Must(t, r.DB.Put([]byte{byte(i)}, make([]byte, 20_000)))
	}
	dbtest.Eventually(t, 5*time.Second, "the reserve is made", func() bool { _, err := r.Mem.Stat("db/RESERVE"); return err == nil })
	if m := r.DB.Metrics().Files; fired.Count() != 1 || m.Refusals != 1 {
		t.Errorf("%d refusals, %d of them known to the cache of open files", fired.Count(), m.Refusals)
	}
}

// TestCloseMakesRoomForTheReserve: Close leaves little of the log to the next opening,
// but nothing while the reserve is given up. Room that is too small for the log and
// for a reserve that allows for the log is enough for the reserve alone once the log
// is in tables; so the database can be opened, and deleted from, whatever then takes
// all the room that is left.
func TestCloseMakesRoomForTheReserve(t *testing.T) {
	mem := memfs.New()
	fault := faultfs.New(mem)
	d := fullDisk{fs: fault, dir: "db", o: seerdb.Options{MemtableSize: 8 << 20}}
	db := d.open(t)
	value := make([]byte, 1000)
	rng := rand.NewChaCha8([32]byte{1}) // so that it does not compress
	for i := range 600 {
		_, _ = rng.Read(value)
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "k%06d", i), value))
	}
	dbtest.Must(t, db.Flush(context.Background()))
	dbtest.Eventually(t, 5*time.Second, "there is a reserve", func() bool { _, err := mem.Stat("db/RESERVE"); return err == nil })
	taken := fault.Inject(faultfs.Rule{Op: faultfs.OpPreallocate, Path: "RESERVE", Err: syscall.ENOSPC})
	mem.SetCapacity(mem.Used())
	dbtest.Must(t, db.Delete([]byte("k000000"))) // gives the reserve up
	dbtest.Eventually(t, 5*time.Second, "the log of that went to a table", func() bool { return taken.Count() > 1 && db.Metrics().Flushes.Count == 2 })
	for i := range 400 {
		dbtest.Must(t, db.Delete(fmt.Appendf(nil, "k%06d%0100d", i, 0)))
	}
	const reserve = 256 << 10 // of a small database without a log
	mem.SetCapacity(mem.Used() + reserve + 20<<10)
	fault.Clear()
	if h := db.Health(); !errors.Is(h.Err, seerdb.ErrNoSpace) {
		t.Fatalf("health: %+v", h)
	}
	dbtest.Must(t, db.Close())
	mem.SetCapacity(mem.Used())
	db = d.open(t)
	dbtest.Must(t, db.Delete([]byte("k000001")))
	dbtest.Must(t, db.Close())
}
