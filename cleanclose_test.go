package seerdb_test

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
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

var closedOpenings = flag.Int("closed.openings", 0, "openings of TestSmallOpeningsLeaveFewFiles; 0: a few")

var closedRuns = flag.Int("closed.runs", 0, "databases in TestClosedDatabaseLosesNothingUnnoticed; 0: a few")

// closedDatabase makes a database with a bit of everything and closes it.
func closedDatabase(t testing.TB, seed uint64) *rig {
	rng := rand.New(rand.NewPCG(seed, 5))
	r := newRig(t, func(o *seerdb.Options, to *seerdb.TestOptions) {
		o.MemtableSize = []int{4 << 10, 16 << 10, 1 << 20}[rng.IntN(3)]
		o.ValueThreshold = []int{-1, 1, 200}[rng.IntN(3)]
		if rng.IntN(2) == 0 {
			to.ManualOnly, to.L0Trigger = true, 1000 // nothing would end a stop of writers
		}
	})
	users, err := r.db.Keyspace("users", nil)
	must(t, err)
	// After tables could not be made, writers are refused until a flush works.
	put := func(k interface{ Put(key, value []byte) error }, key, value []byte) {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if err := k.Put(key, value); err == nil || time.Now().After(deadline) {
				must(t, err)
				return
			}
		}
	}
	for round := range 2 + rng.IntN(3) {
		for i := range 20 + rng.IntN(150) {
			put(r.db, fmt.Appendf(nil, "k%d/%05d", round, i), make([]byte, rng.IntN(400)))
			if i%7 == 0 {
				put(users, fmt.Appendf(nil, "u%d/%05d", round, i), []byte("user"))
			}
		}
		switch rng.IntN(5) {
		case 0:
			must(t, r.flush())
		case 1:
			_, err := r.db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
				for i := range 50 {
					if !yield(fmt.Appendf(nil, "load%d/%05d", round, i), []byte("loaded")) {
						return
					}
				}
			}, nil)
			must(t, err)
		case 2:
			_, err := r.db.Keyspace(fmt.Sprintf("more%d", round), nil)
			must(t, err)
		case 3: // the logs are many, since no table can be made
			hit := r.fail(faultfs.OpCreate, "*.sst", errors.New("no tables today"))
			r.put("x=1")
			_ = r.flush()
			r.put("y=2")
			hit.Remove()
		}
	}
	must(t, r.db.Close())
	return r
}

// everything is all rows of all keyspaces.
func everything(t testing.TB, db *seerdb.DB) (out []string) {
	names, err := db.Keyspaces()
	must(t, err)
	for _, name := range names {
		k, err := db.Keyspace(name, nil)
		must(t, err)
		rows := k.Range(nil, nil)
		for key, v := range rows.All() {
			out = append(out, fmt.Sprintf("%s/%s=%s", name, key, v))
		}
		must(t, rows.Err())
	}
	return append(append(out, names...), contents(t, db)...)
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
	runs, places := 4, some(20)
	if *closedRuns > 0 {
		runs, places = *closedRuns, 20
	}
	refused, opened := 0, 0
	for seed := range runs {
		base := closedDatabase(t, uint64(seed))
		want := func() []string {
			r := base.disk(1)
			must(t, r.tryOpen())
			rows := everything(t, r.db)
			must(t, r.db.Close())
			return rows
		}()
		for name, b := range snapshotOfDir(base) {
			for _, n := range append(cuts(name, []byte(b), places), -1) {
				r := base.disk(1)
				if n < 0 {
					must(t, r.mem.Remove("db/"+name))
				} else {
					r.rewrite(name, func(b []byte) []byte { return b[:n] })
				}
				if r.opensWhole(fmt.Sprintf("database %d, %s cut to %d of %d bytes", seed, name, n, len(b)), name, want) {
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
func (r *rig) opensWhole(what, file string, want []string) bool {
	r.Helper()
	before := snapshotOfDir(r)
	err := r.tryOpen()
	if err == nil {
		if d := cmp.Diff(want, everything(r, r.db)); d != "" {
			r.Fatalf("%s: opened, and (-want +got):\n%.2000s", what, d)
		}
		must(r, r.db.Close())
		return true
	}
	if !errors.Is(err, seerdb.ErrCorruption) || !strings.Contains(err.Error(), file) {
		r.Fatalf("%s: %v", what, err)
	}
	if d := cmp.Diff(before, snapshotOfDir(r)); d != "" {
		r.Fatalf("%s: refused, and the directory changed:\n%.2000s", what, d)
	}
	return false
}

// TestKilledDatabaseIsStillAPrefix cuts the newest log of a database that was
// closed, opened again and then killed, at each record: it opens with the commits
// before that.
func TestKilledDatabaseIsStillAPrefix(t *testing.T) {
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Durability = seerdb.Relaxed })
	must(t, r.db.Close()) // how long the files are now is not known any more after the next Open
	must(t, r.tryOpen())
	all := rows("k", 40, "value")
	r.put(all...)
	must(t, r.db.Sync())
	killed := r.disk(1)
	log := newestFile(killed, ".wal")
	offs := recordsOf(killed.read("db/" + log))
	if len(offs) != len(all) {
		t.Fatalf("%d records", len(offs))
	}
	for i, off := range offs {
		d := killed.disk(1)
		d.rewrite(log, func(b []byte) []byte { return b[:off] })
		must(t, d.tryOpen())
		d.want(all[:i]...)
		must(t, d.db.Close())
	}
}

// TestCloseOnFullDiskIsAKill: where CURRENT cannot be written anew Close succeeds,
// and the directory opens as after a kill.
func TestCloseOnFullDiskIsAKill(t *testing.T) {
	for _, op := range []faultfs.OpKind{faultfs.OpCreate, faultfs.OpWrite, faultfs.OpSync, faultfs.OpRename} {
		r := newRig(t, quiet)
		r.put("a=1", "b=2")
		pattern := "*.tmp"
		hit := r.fail(op, pattern, errors.New("no room"))
		must(t, r.db.Close())
		if hit.Count() == 0 {
			t.Fatalf("%v: Close wrote nothing", op)
		}
		if names := r.files(".tmp"); len(names) > 0 {
			t.Fatalf("%v: left %q", op, names)
		}
		if strings.Contains(string(r.read("db/CURRENT")), "closed") {
			t.Fatal("CURRENT says that the database was closed")
		}
		again := &rig{TB: t, mem: r.mem, o: r.o, to: r.to}
		again.open().want("a=1", "b=2")
	}
}

// TestClosedLinesGoAtOpen: while a database is open CURRENT does not say that it is
// closed, so that a kill is taken for one.
func TestClosedLinesGoAtOpen(t *testing.T) {
	r := newRig(t, quiet)
	r.put("a=1")
	must(t, r.db.Close())
	if c := string(r.read("db/CURRENT")); !strings.Contains(c, "\nclosed 000001.wal ") {
		t.Fatalf("CURRENT after Close: %q", c)
	}
	r = (&rig{TB: t, mem: r.mem, o: r.o, to: r.to}).open()
	if c := string(r.read("db/CURRENT")); strings.Contains(c, "closed") {
		t.Fatalf("CURRENT of an open database: %q", c)
	}
}

// TestUnknownKeyspaceIsDamage: a manifest that lost its end does not make writes
// to a keyspace vanish.
func TestUnknownKeyspaceIsDamage(t *testing.T) {
	r := newRig(t, quiet)
	k, err := r.db.Keyspace("users", nil)
	must(t, err)
	must(t, k.Put([]byte("u"), []byte("1")))
	d := r.disk(1)
	name := newestFile(d, "MANIFEST")
	offs := recordsOf(d.read("db/" + name))
	d.rewrite(name, func(b []byte) []byte { return b[:offs[len(offs)-1]] })
	var c *seerdb.CorruptionError
	if err := d.tryOpen(); !errors.As(err, &c) || c.File != name {
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
	r := newRig(t, func(o *seerdb.Options, to *seerdb.TestOptions) { *o, *to = seerdb.Options{}, seerdb.TestOptions{} })
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("k%05d=v%d", i, i))
		r.put(all[i])
		must(t, r.db.Close())
		must(t, r.tryOpen())
	}
	r.want(all...)
	names, err := r.mem.List("db")
	must(t, err)
	if len(names) > 8 {
		t.Fatalf("%d openings leave %d files: %q", n, len(names), names)
	}
	d := r.disk(0) // what was written anew is durable
	must(t, d.tryOpen())
	d.want(all...)
	must(t, d.db.Close())
}

// TestLargerLogsGoToTables: what is more than a little goes to a table.
func TestLargerLogsGoToTables(t *testing.T) {
	r := newRig(t, func(o *seerdb.Options, to *seerdb.TestOptions) { *o, *to = seerdb.Options{}, seerdb.TestOptions{} })
	all := rows("k", 300, strings.Repeat("v", 1<<10))
	r.put(all...)
	r = r.reopen()
	if n := len(r.files(".sst")); n == 0 {
		t.Fatal("300 KiB of log were not written to a table")
	}
	r.want(all...)
}
