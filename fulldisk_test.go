package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
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
	db, err := seerdb.Open(d.dir, d.o.With(seerdb.TestOptions{FS: d.fs}))
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
	must(t, db.Delete([]byte("k000000")))
	must(t, db.Close())

	db = d.open(t)
	read(db, 1)
	if ok, err := db.Has([]byte("k000000")); ok || err != nil {
		t.Errorf("the deleted key is there: %v", err)
	}
	must(t, db.DeleteRange(nil, fmt.Appendf(nil, "k%06d", acked-acked/20)))
	ctx := context.Background()
	// A job in the background may have the last of the room for a moment.
	eventually(t, 5*time.Second, "a flush and a compaction work", func() bool {
		err := db.Flush(ctx)
		if err == nil {
			err = db.Compact(ctx, nil, nil)
		}
		if err != nil && !errors.Is(err, seerdb.ErrNoSpace) {
			t.Fatal(err)
		}
		return err == nil
	})
	eventually(t, 5*time.Second, "commits go on", func() bool { return db.Put([]byte("again"), make([]byte, d.size)) == nil })
	eventually(t, 5*time.Second, "the database is well", func() bool { return db.Health().Status == observe.OK })
	read(db, acked-acked/20)
	must(t, db.Close())
	db = d.open(t)
	read(db, acked-acked/20)
	_, err := db.Verify(ctx)
	must(t, err)
	must(t, db.Close())
}

// until commits until no commit has worked for a while, and returns how many did.
func (d *fullDisk) until(t *testing.T, db *seerdb.DB) (acked int) {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{1})
	value := make([]byte, d.size)
	for last := time.Now(); ; {
		if d.health = db.Health(); d.health.Status != observe.OK && time.Since(last) > 300*time.Millisecond {
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
		mem := vfs.NewMem()
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
	mem := vfs.NewMem()
	d := fullDisk{fs: mem, dir: "db"}
	for range 3 {
		db := d.open(t)
		must(t, db.Put([]byte("k"), make([]byte, 10_000)))
		must(t, db.Close())
	}
	if _, err := mem.Stat("db/RESERVE"); err == nil || mem.Used() > 64<<10 {
		t.Errorf("three values of 10 kB take %d bytes; a reserve: %v", mem.Used(), err == nil)
	}
}

// TestForeignReserveStays: a file with bytes that has the reserve's name is left
// alone, and the database works without.
func TestForeignReserveStays(t *testing.T) {
	mem := vfs.NewMem()
	d := fullDisk{fs: mem, dir: "db"}
	must(t, d.open(t).Close())
	f, err := mem.Create("db/RESERVE")
	must(t, err)
	_, err = f.Write([]byte("mine"))
	must(t, err)
	must(t, f.Close())
	db := d.open(t)
	for i := range 40 {
		must(t, db.Put([]byte{byte(i)}, make([]byte, 20_000)))
	}
	must(t, db.Close())
	if info, err := mem.Stat("db/RESERVE"); err != nil || info.Size() != 4 {
		t.Errorf("a file that is not of the database: %v, %v", info, err)
	}
}
