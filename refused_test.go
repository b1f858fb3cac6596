package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/merger"
)

// oneLog is a database after a kill, with tables, values apart, a keyspace, and
// a log of several memtables' length: replaying it with tiny makes tables.
func oneLog(t testing.TB) *rig {
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.MemtableSize = 1 << 20 })
	r.put(rows("a", 50, strings.Repeat("v", 300))...)
	must(t, r.flush())
	k, err := r.db.Keyspace("users", nil)
	must(t, err)
	for i := range 200 {
		must(t, k.Put(fmt.Appendf(nil, "u%05d", i), []byte("user")))
	}
	r.put(rows("b", 600, strings.Repeat("v", 100))...)
	d := r.disk(1)
	must(t, r.db.Close())
	d.o.MemtableSize = 16 << 10
	return d
}

// newestFile is the last file with a suffix or prefix.
func newestFile(r *rig, part string) string {
	r.Helper()
	names, err := r.mem.List("db")
	must(r, err)
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, part) })
	if len(names) == 0 {
		r.Fatalf("there is no %s", part)
	}
	return names[len(names)-1]
}

// flipAt flips a bit at a distance from the end of a file.
func flipAt(r *rig, name string, fromEnd int) {
	r.rewrite(name, func(b []byte) []byte {
		b[len(b)-fromEnd] ^= 4
		return b
	})
}

// TestRefusedOpenLeavesEveryByte refuses a database for every reason that there
// is, and compares each file with what it was.
func TestRefusedOpenLeavesEveryByte(t *testing.T) {
	base := oneLog(t)
	var older []byte
	{
		r := base.disk(1).reopenAs(t)
		r.put("x=1")
		must(t, r.flush())
		older = r.read("db/" + newestFile(r, "MANIFEST"))
		must(t, r.db.Close())
	}
	for name, c := range map[string]struct {
		change func(r *rig)
		want   error
	}{
		"damage at the end of the log":   {func(r *rig) { flipAt(r, newestFile(r, ".wal"), 500) }, seerdb.ErrCorruption},
		"no log":                         {func(r *rig) { must(t, r.mem.Remove("db/"+newestFile(r, ".wal"))) }, seerdb.ErrCorruption},
		"no table":                       {func(r *rig) { must(t, r.mem.Remove("db/"+newestFile(r, ".sst"))) }, seerdb.ErrCorruption},
		"a value file cut":               {func(r *rig) { r.rewrite(newestFile(r, ".val"), func(b []byte) []byte { return b[:len(b)-1] }) }, seerdb.ErrCorruption},
		"no manifest":                    {func(r *rig) { must(t, r.mem.Remove("db/"+newestFile(r, "MANIFEST"))) }, seerdb.ErrCorruption},
		"damage in the manifest":         {func(r *rig) { flipAt(r, newestFile(r, "MANIFEST"), 100) }, seerdb.ErrCorruption},
		"the manifest of another moment": {func(r *rig) { r.rewrite(newestFile(r, "MANIFEST"), func([]byte) []byte { return older }) }, seerdb.ErrCorruption},
		"no CURRENT":                     {func(r *rig) { must(t, r.mem.Remove("db/CURRENT")) }, seerdb.ErrCorruption},
		"CURRENT is empty":               {func(r *rig) { r.rewrite("CURRENT", func([]byte) []byte { return nil }) }, seerdb.ErrCorruption},
		"a merge operator":               {func(r *rig) { r.withMerger(); r.o.Merger = nil }, seerdb.ErrInvalidOptions},
		"it exists":                      {func(r *rig) { r.o.ErrorIfExists = true }, seerdb.ErrExists},
		"an option":                      {func(r *rig) { r.o.PageSize = 1 }, seerdb.ErrInvalidOptions},
	} {
		t.Run(name, func(t *testing.T) {
			r := base.disk(1)
			r.TB = t
			c.change(r)
			before := snapshotOfDir(r)
			if err := r.tryOpen(); !errors.Is(err, c.want) {
				t.Fatalf("Open: %v; expected %v", err, c.want)
			}
			if d := cmp.Diff(before, snapshotOfDir(r)); d != "" {
				t.Fatalf("the refused Open changed the directory:\n%.2000s", d)
			}
		})
	}
	t.Run("locked", func(t *testing.T) {
		r := base.disk(1).reopenAs(t)
		before := snapshotOfDir(r)
		to := r.to
		to.FS = r.mem
		if _, err := seerdb.Open("db", r.o.With(to)); !errors.Is(err, seerdb.ErrLocked) {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, snapshotOfDir(r)); d != "" {
			t.Fatal(d)
		}
		must(t, r.db.Close())
	})
}

// reopenAs opens the database of a rig for another test.
func (r *rig) reopenAs(t testing.TB) *rig {
	r.TB = t
	must(t, r.tryOpen())
	return r
}

// withMerger gives the database a merge operator.
func (r *rig) withMerger() {
	r.o.Merger = merger.Counter{}
	must(r, r.tryOpen())
	must(r, errors.Join(r.db.Merge([]byte("counter"), make([]byte, 8)), r.db.Close()))
}

// TestFailedOpenLeavesEveryByte lets each operation of an Open fail in turn.
// Unless CURRENT was replaced everything is as it was.
func TestFailedOpenLeavesEveryByte(t *testing.T) {
	base := oneLog(t)
	renamed := 0
	for k := 0; ; k++ {
		r := base.disk(1)
		fault := faultfs.New(r.mem)
		before := snapshotOfDir(r)
		op := faultfs.OpAll &^ (faultfs.OpRemove | faultfs.OpClose | faultfs.OpLock)
		hit := fault.Inject(faultfs.Rule{Op: op, Skip: k, Count: 1})
		r.to.FS = fault
		db, err := seerdb.Open("db", r.o.With(r.to))
		fired := hit.Count() > 0
		fault.Clear()
		if !fired {
			must(t, errors.Join(err, db.Close()))
			break
		}
		if err == nil {
			must(t, db.Close())
			continue
		}
		after := snapshotOfDir(r)
		if after["CURRENT"] != before["CURRENT"] {
			renamed++
			continue
		}
		if d := cmp.Diff(before, after); d != "" {
			t.Fatalf("operation %d failed, Open said %v, and the directory changed:\n%.2000s", k, err, d)
		}
	}
	if renamed == 0 || renamed > 3 {
		t.Fatalf("%d operations fail an Open after CURRENT was replaced", renamed)
	}
}

// TestRightManifestPutBack: an older manifest is refused, and the right one, put
// back, opens with everything.
func TestRightManifestPutBack(t *testing.T) {
	r := newRig(t, quiet)
	r.put("a=1")
	must(t, r.flush())
	name := newestFile(r, "MANIFEST")
	older := r.read("db/" + name)
	all := rows("k", 100, "acknowledged, flushed, durable")
	r.put(all...)
	must(t, r.flush())
	must(t, r.db.Close())
	right := r.read("db/" + name)
	r.rewrite(name, func([]byte) []byte { return older })
	var c *seerdb.CorruptionError
	if err := r.tryOpen(); !errors.As(err, &c) {
		t.Fatalf("opened with an older manifest: %v", err)
	}
	r.rewrite(name, func([]byte) []byte { return right })
	must(t, r.tryOpen())
	r.want(append(all, "a=1")...)
	report, err := r.db.Verify(context.Background())
	if must(t, err); !report.Clean() {
		t.Fatal(report.Damage)
	}
	must(t, r.db.Close())
}
