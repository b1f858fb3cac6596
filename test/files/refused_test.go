package files

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// oneLog is a database after a kill, with tables, values apart, a keyspace, and
// a log of several memtables' length: replaying it with dbtest.Tiny makes tables.
func oneLog(t testing.TB) *dbtest.Rig {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.MemtableSize = 1 << 20 })
	r.Put(dbtest.Rows("a", 50, strings.Repeat("v", 300))...)
	dbtest.Must(t, r.Flush())
	k, err := r.DB.Keyspace("users", nil)
	dbtest.Must(t, err)
	for i := range 200 {
		dbtest.Must(t, k.Put(fmt.Appendf(nil, "u%05d", i), []byte("user")))
	}
	r.Put(dbtest.Rows("b", 600, strings.Repeat("v", 100))...)
	d := r.Disk(1)
	dbtest.Must(t, r.DB.Close())
	d.Options.MemtableSize = 16 << 10
	return d
}

// TestRefusedOpenLeavesEveryByte refuses a database for every reason that there
// is, and compares each file with what it was.
func TestRefusedOpenLeavesEveryByte(t *testing.T) {
	base := oneLog(t)
	var older []byte
	{
		r := base.Disk(1).ReopenAs(t)
		r.Put("x=1")
		dbtest.Must(t, r.Flush())
		older = r.Read("db/" + dbtest.NewestFile(r, "MANIFEST"))
		dbtest.Must(t, r.DB.Close())
	}
	for name, c := range map[string]struct {
		change func(r *dbtest.Rig)
		want   error
	}{
		"damage at the end of the log": {func(r *dbtest.Rig) { dbtest.FlipAt(r, dbtest.NewestFile(r, ".wal"), 500) }, seerdb.ErrCorruption},
		"no log":                       {func(r *dbtest.Rig) { dbtest.Must(t, r.Mem.Remove("db/"+dbtest.NewestFile(r, ".wal"))) }, seerdb.ErrCorruption},
		"no table":                     {func(r *dbtest.Rig) { dbtest.Must(t, r.Mem.Remove("db/"+dbtest.NewestFile(r, ".sst"))) }, seerdb.ErrCorruption},
		"a value file cut": {func(r *dbtest.Rig) {
			r.Rewrite(dbtest.NewestFile(r, ".val"), func(b []byte) []byte { return b[:len(b)-1] })
		}, seerdb.ErrCorruption},
		"no manifest":                    {func(r *dbtest.Rig) { dbtest.Must(t, r.Mem.Remove("db/"+dbtest.NewestFile(r, "MANIFEST"))) }, seerdb.ErrCorruption},
		"damage in the manifest":         {func(r *dbtest.Rig) { dbtest.FlipAt(r, dbtest.NewestFile(r, "MANIFEST"), 100) }, seerdb.ErrCorruption},
		"the manifest of another moment": {func(r *dbtest.Rig) { r.Rewrite(dbtest.NewestFile(r, "MANIFEST"), func([]byte) []byte { return older }) }, seerdb.ErrCorruption},
		"no CURRENT":                     {func(r *dbtest.Rig) { dbtest.Must(t, r.Mem.Remove("db/CURRENT")) }, seerdb.ErrCorruption},
		"CURRENT is empty":               {func(r *dbtest.Rig) { r.Rewrite("CURRENT", func([]byte) []byte { return nil }) }, seerdb.ErrCorruption},
		"a merge operator":               {func(r *dbtest.Rig) { r.WithMerger(); r.Options.Merger = nil }, seerdb.ErrInvalidOptions},
		"it exists":                      {func(r *dbtest.Rig) { r.Options.ErrorIfExists = true }, seerdb.ErrExists},
		"an option":                      {func(r *dbtest.Rig) { r.Options.PageSize = 1 }, seerdb.ErrInvalidOptions},
	} {
		t.Run(name, func(t *testing.T) {
			r := base.Disk(1)
			r.TB = t
			c.change(r)
			before := dbtest.SnapshotOfDir(r)
			if err := r.TryOpen(); !errors.Is(err, c.want) {
				t.Fatalf("Open: %v; expected %v", err, c.want)
			}
			if d := cmp.Diff(before, dbtest.SnapshotOfDir(r)); d != "" {
				t.Fatalf("the refused Open changed the directory:\n%.2000s", d)
			}
		})
	}
	t.Run("locked", func(t *testing.T) {
		r := base.Disk(1).ReopenAs(t)
		before := dbtest.SnapshotOfDir(r)
		to := r.Test
		to.FS = r.Mem
		if _, err := seerdb.Open("db", dbtest.With(r.Options, to)); !errors.Is(err, seerdb.ErrLocked) {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, dbtest.SnapshotOfDir(r)); d != "" {
			t.Fatal(d)
		}
		dbtest.Must(t, r.DB.Close())
	})
}

// TestFailedOpenLeavesEveryByte lets each operation of an Open fail in turn.
// Unless CURRENT was replaced everything is as it was.
func TestFailedOpenLeavesEveryByte(t *testing.T) {
	base := oneLog(t)
	renamed := 0
	for k := 0; ; k++ {
		r := base.Disk(1)
		fault := faultfs.New(r.Mem)
		before := dbtest.SnapshotOfDir(r)
		op := faultfs.OpAll &^ (faultfs.OpRemove | faultfs.OpClose | faultfs.OpLock)
		hit := fault.Inject(faultfs.Rule{Op: op, Skip: k, Count: 1})
		r.Test.FS = fault
		db, err := seerdb.Open("db", dbtest.With(r.Options, r.Test))
		fired := hit.Count() > 0
		fault.Clear()
		if !fired {
			dbtest.Must(t, errors.Join(err, db.Close()))
			break
		}
		if err == nil {
			dbtest.Must(t, db.Close())
			continue
		}
		after := dbtest.SnapshotOfDir(r)
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
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("a=1")
	dbtest.Must(t, r.Flush())
	name := dbtest.NewestFile(r, "MANIFEST")
	older := r.Read("db/" + name)
	all := dbtest.Rows("k", 100, "acknowledged, flushed, durable")
	r.Put(all...)
	dbtest.Must(t, r.Flush())
	dbtest.Must(t, r.DB.Close())
	right := r.Read("db/" + name)
	r.Rewrite(name, func([]byte) []byte { return older })
	var c *seerdb.CorruptionError
	if err := r.TryOpen(); !errors.As(err, &c) {
		t.Fatalf("opened with an older manifest: %v", err)
	}
	r.Rewrite(name, func([]byte) []byte { return right })
	dbtest.Must(t, r.TryOpen())
	r.Want(append(all, "a=1")...)
	report, err := r.DB.Verify(context.Background())
	if dbtest.Must(t, err); !report.Clean() {
		t.Fatal(report.Damage)
	}
	dbtest.Must(t, r.DB.Close())
}
