package files

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

var closedOpenings = flag.Int("closed.openings", 0, "openings of TestSmallOpeningsLeaveFewFiles; 0: a few")

var closedRuns = flag.Int("closed.runs", 0, "databases in TestClosedDatabaseLosesNothingUnnoticed; 0: a few")

// closedDatabase makes a database with a bit of everything and closes it.
func closedDatabase(t testing.TB, seed uint64) *dbtest.Rig {
	rng := rand.New(rand.NewPCG(seed, 5))
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemtableSize = []int{4 << 10, 16 << 10, 1 << 20}[rng.IntN(3)]
		o.ValueThreshold = []int{-1, 1, 200}[rng.IntN(3)]
		if rng.IntN(2) == 0 {
			to.ManualOnly, to.L0Trigger = true, 1000 // nothing would end a stop of writers
		}
	})
	users, err := r.DB.Keyspace("users", nil)
	dbtest.Must(t, err)
	// After tables could not be made, writers are refused until a flush works.
	put := func(k interface{ Put(key, value []byte) error }, key, value []byte) {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if err := k.Put(key, value); err == nil || time.Now().After(deadline) {
				dbtest.Must(t, err)
				return
			}
		}
	}
	for round := range 2 + rng.IntN(3) {
		for i := range 20 + rng.IntN(150) {
			put(r.DB, fmt.Appendf(nil, "k%d/%05d", round, i), make([]byte, rng.IntN(400)))
			if i%7 == 0 {
				put(users, fmt.Appendf(nil, "u%d/%05d", round, i), []byte("user"))
			}
		}
		switch rng.IntN(5) {
		case 0:
			dbtest.Must(t, r.Flush())
		case 1:
			_, err := r.DB.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
				for i := range 50 {
					if !yield(fmt.Appendf(nil, "load%d/%05d", round, i), []byte("loaded")) {
						return
					}
				}
			}, nil)
			dbtest.Must(t, err)
		case 2:
			_, err := r.DB.Keyspace(fmt.Sprintf("more%d", round), nil)
			dbtest.Must(t, err)
		case 3: // the logs are many, since no table can be made
			hit := r.Inject(faultfs.OpCreate, "*.sst", errors.New("no tables today"))
			r.Put("x=1")
			_ = r.Flush()
			r.Put("y=2")
			hit.Remove()
		}
	}
	dbtest.Must(t, r.DB.Close())
	return r
}

// everything is all rows of all keyspaces.
func everything(t testing.TB, db *seerdb.DB) (out []string) {
	names, err := db.Keyspaces()
	dbtest.Must(t, err)
	for _, name := range names {
		k, err := db.Keyspace(name, nil)
		dbtest.Must(t, err)
		rows := k.Range(nil, nil)
		for key, v := range rows.All() {
			out = append(out, fmt.Sprintf("%s/%s=%s", name, key, v))
		}
		dbtest.Must(t, rows.Err())
	}
	return append(append(out, names...), dbtest.Contents(t, db)...)
}

// recordsOf are where the data records of a log or manifest begin.
func recordsOf(b []byte) (offs []int) {
	for o := 0; o+16 <= len(b); o += 16 + int(binary.LittleEndian.Uint32(b[o+4:])) {
		if b[o+8] == 2 {
			offs = append(offs, o)
		}
	}
	return offs
}

// cuts are lengths to which a file is cut.
func cuts(name string, b []byte, n int) []int {
	out := []int{0}
	for i := range n {
		out = append(out, len(b)*i/n)
	}
	if strings.HasPrefix(name, "MANIFEST") || strings.HasSuffix(name, ".wal") {
		offs := recordsOf(b)
		out = append(out, offs[max(0, len(offs)-5):]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestClosedDatabaseLosesNothingUnnoticed removes, empties and cuts every file of
// databases that were closed. Each is refused, with the file's name and every
// byte left alone, or holds everything.
func TestClosedDatabaseLosesNothingUnnoticed(t *testing.T) {
	runs, places := 4, dbtest.Some(20)
	if *closedRuns > 0 {
		runs, places = *closedRuns, 20
	}
	refused, opened := 0, 0
	for seed := range runs {
		base := closedDatabase(t, uint64(seed))
		want := func() []string {
			r := base.Disk(1)
			dbtest.Must(t, r.TryOpen())
			rows := everything(t, r.DB)
			dbtest.Must(t, r.DB.Close())
			return rows
		}()
		for name, b := range dbtest.SnapshotOfDir(base) {
			for _, n := range append(cuts(name, []byte(b), places), -1) {
				r := base.Disk(1)
				if n < 0 {
					dbtest.Must(t, r.Mem.Remove("db/"+name))
				} else {
					r.Rewrite(name, func(b []byte) []byte { return b[:n] })
				}
				if opensWhole(r, fmt.Sprintf("database %d, %s cut to %d of %d bytes", seed, name, n, len(b)), name, want) {
					opened++
				} else {
					refused++
				}
			}
		}
	}
	t.Logf("%d refused, %d opened", refused, opened)
	if refused == 0 || opened == 0 {
		t.Fatal("the test has no teeth")
	}
}

// opensWhole opens a database, which either has the rows or is refused with the
// name of a file, and then unchanged. It tells which.
func opensWhole(r *dbtest.Rig, what, file string, want []string) bool {
	r.Helper()
	before := dbtest.SnapshotOfDir(r)
	err := r.TryOpen()
	if err == nil {
		if d := cmp.Diff(want, everything(r, r.DB)); d != "" {
			r.Fatalf("%s: opened, and (-want +got):\n%.2000s", what, d)
		}
		dbtest.Must(r, r.DB.Close())
		return true
	}
	if !errors.Is(err, seerdb.ErrCorruption) || !strings.Contains(err.Error(), file) {
		r.Fatalf("%s: %v", what, err)
	}
	if d := cmp.Diff(before, dbtest.SnapshotOfDir(r)); d != "" {
		r.Fatalf("%s: refused, and the directory changed:\n%.2000s", what, d)
	}
	return false
}

// TestKilledDatabaseIsStillAPrefix cuts the newest log of a database that was
// closed, opened again and then killed, at each record: it opens with the commits
// before that.
func TestKilledDatabaseIsStillAPrefix(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Durability = seerdb.Relaxed })
	dbtest.Must(t, r.DB.Close()) // how long the files are now is not known any more after the next Open
	dbtest.Must(t, r.TryOpen())
	all := dbtest.Rows("k", 40, "value")
	r.Put(all...)
	dbtest.Must(t, r.DB.Sync())
	killed := r.Disk(1)
	log := dbtest.NewestFile(killed, ".wal")
	offs := recordsOf(killed.Read("db/" + log))
	if len(offs) != len(all) {
		t.Fatalf("%d records", len(offs))
	}
	for i, off := range offs {
		d := killed.Disk(1)
		d.Rewrite(log, func(b []byte) []byte { return b[:off] })
		dbtest.Must(t, d.TryOpen())
		d.Want(all[:i]...)
		dbtest.Must(t, d.DB.Close())
	}
}

// TestCloseOnFullDiskIsAKill: where CURRENT cannot be written anew Close succeeds,
// and the directory opens as after a kill.
func TestCloseOnFullDiskIsAKill(t *testing.T) {
	for _, op := range []faultfs.OpKind{faultfs.OpCreate, faultfs.OpWrite, faultfs.OpSync, faultfs.OpRename} {
		r := dbtest.NewRig(t, dbtest.Quiet)
		r.Put("a=1", "b=2")
		pattern := "*.tmp"
		hit := r.Inject(op, pattern, errors.New("no room"))
		dbtest.Must(t, r.DB.Close())
		if hit.Count() == 0 {
			t.Fatalf("%v: Close wrote nothing", op)
		}
		if names := r.Files(".tmp"); len(names) > 0 {
			t.Fatalf("%v: left %q", op, names)
		}
		if strings.Contains(string(r.Read("db/CURRENT")), "closed") {
			t.Fatal("CURRENT says that the database was closed")
		}
		again := &dbtest.Rig{TB: t, Mem: r.Mem, Options: r.Options, Test: r.Test}
		again.Open().Want("a=1", "b=2")
	}
}

// TestClosedLinesGoAtOpen: while a database is open CURRENT does not say that it is
// closed, so that a kill is taken for one.
func TestClosedLinesGoAtOpen(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("a=1")
	dbtest.Must(t, r.DB.Close())
	if c := string(r.Read("db/CURRENT")); !strings.Contains(c, "\nclosed 000001.wal ") {
		t.Fatalf("CURRENT after Close: %q", c)
	}
	r = (&dbtest.Rig{TB: t, Mem: r.Mem, Options: r.Options, Test: r.Test}).Open()
	if c := string(r.Read("db/CURRENT")); strings.Contains(c, "closed") {
		t.Fatalf("CURRENT of an open database: %q", c)
	}
}

// TestUnknownKeyspaceIsDamage: a manifest that lost its end does not make writes
// to a keyspace vanish.
func TestUnknownKeyspaceIsDamage(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	k, err := r.DB.Keyspace("users", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, k.Put([]byte("u"), []byte("1")))
	d := r.Disk(1)
	name := dbtest.NewestFile(d, "MANIFEST")
	offs := recordsOf(d.Read("db/" + name))
	d.Rewrite(name, func(b []byte) []byte { return b[:offs[len(offs)-1]] })
	var c *seerdb.CorruptionError
	if err := d.TryOpen(); !errors.As(err, &c) || c.File != name {
		t.Fatalf("opened with a manifest that never had the keyspace: %v", err)
	}
}

// TestSmallOpeningsLeaveFewFiles opens a database again and again for one row.
func TestSmallOpeningsLeaveFewFiles(t *testing.T) {
	n := 300
	switch {
	case *closedOpenings > 0:
		n = *closedOpenings
	case testing.Short():
		n = 60
	}
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) { *o, *to = seerdb.Options{}, dbtest.TestOptions{} })
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("k%05d=v%d", i, i))
		r.Put(all[i])
		dbtest.Must(t, r.DB.Close())
		dbtest.Must(t, r.TryOpen())
	}
	r.Want(all...)
	names, err := r.Mem.List("db")
	dbtest.Must(t, err)
	if len(names) > 8 {
		t.Fatalf("%d openings leave %d files: %q", n, len(names), names)
	}
	d := r.Disk(0) // what was written anew is durable
	dbtest.Must(t, d.TryOpen())
	d.Want(all...)
	dbtest.Must(t, d.DB.Close())
}

// TestLargerLogsGoToTables: what is more than a little goes to a table.
func TestLargerLogsGoToTables(t *testing.T) {
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) { *o, *to = seerdb.Options{}, dbtest.TestOptions{} })
	all := dbtest.Rows("k", 300, strings.Repeat("v", 1<<10))
	r.Put(all...)
	r = r.Reopen()
	if n := len(r.Files(".sst")); n == 0 {
		t.Fatal("300 KiB of log were not written to a table")
	}
	r.Want(all...)
}
