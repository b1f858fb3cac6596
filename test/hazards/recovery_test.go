package hazards

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// Open emptied the log when what it held was only in memory.
func TestH03CrashRightAfterOpenLosesNothing(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	all := dbtest.Rows("k", 30, strings.Repeat("v", 250))
	r.Put(all...)
	crashed := r.Disk(0)
	for k := int64(1); ; k++ {
		again := crashed.Disk(0)
		again.Mem.FreezeAt(again.Mem.Ops() + k)
		err := again.TryOpen()
		frozen := again.Mem.Frozen()
		for _, keep := range []float64{0, 0.5, 1} {
			after := again.Crash(keep).Want(all...)
			dbtest.Must(t, after.DB.Close())
		}
		if err == nil {
			_ = again.DB.Close()
		}
		if !frozen {
			dbtest.Must(t, err)
			break
		}
	}
}

// Damage in the middle of the log ended the replay in silence, and what
// followed was then overwritten.
func TestH03DamageIsRefusedAndLeftAlone(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put(dbtest.Rows("k", 30, "some value")...)
	log := r.Files(".wal")[0]
	dbtest.Must(t, r.DB.Close())
	for at := range 20 {
		d := &dbtest.Rig{TB: t, Mem: r.Mem.CrashClone(memfs.CrashOptions{}), Options: r.Options, Test: r.Test}
		d.Rewrite(log, func(b []byte) []byte {
			b[len(b)*(at+1)/22] ^= 0x10
			return b
		})
		before := dbtest.SnapshotOfDir(d)
		var c *seerdb.CorruptionError
		if err := d.TryOpen(); !errors.As(err, &c) || c.File != log {
			t.Fatalf("open with a damaged log: %v", err)
		}
		if after := dbtest.SnapshotOfDir(d); cmp.Diff(before, after) != "" {
			t.Fatalf("the refused open changed the directory:\n%s", cmp.Diff(before, after))
		}
	}
}

// Sequences began at 1 with each open, so that old versions hid new ones.
func TestH04NumbersGoOnAfterReopening(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	seq := uint64(0)
	for round := range 6 {
		for i := range 50 {
			r.Put(fmt.Sprintf("k=%d.%d", round, i))
		}
		if now := r.DB.VisibleSeq(); now < seq+50 {
			t.Fatalf("after round %d the visible sequence is %d; it was %d", round, now, seq)
		}
		seq = r.DB.VisibleSeq()
		if round%3 > 0 {
			dbtest.Must(t, r.Flush())
		}
		if round%2 > 0 {
			r = r.Crash(0)
		} else {
			r = r.Reopen()
		}
		want := fmt.Sprintf("k=%d.49", round)
		r.Want(want)
		s := r.DB.NewSnapshot()
		if v, err := s.Get([]byte("k")); err != nil || "k="+string(v) != want {
			t.Fatalf("a snapshot after reopening reads %q, %v; want %s", v, err, want)
		}
		dbtest.Must(t, s.Close())
	}
	for _, d := range r.Ops.Since(0) {
		if d == "create 000001.wal" {
			t.Fatal("a file number was used again")
		}
	}
}

// Taking a snapshot replaced the immutable memtable, and with the next one it
// was lost.
func TestH05SnapshotsMoveNoData(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	held := r.Hold(faultfs.OpCreate, "*.sst") // whatever becomes immutable stays so
	var all []string
	for i := range 3 {
		row := fmt.Sprintf("k%d=v", i)
		r.Put(row)
		all = append(all, row)
		s := r.DB.NewSnapshot()
		defer s.Close()
		r.Want(all...)
	}
	r.Crash(0).Want(all...)
	held.Release()
	dbtest.Must(t, r.Flush())
	r.Want(all...)
	r.Crash(0).Want(all...)
}

// Without a manifest a restart brought the inputs of a compaction back, and
// with them what had been deleted.
func TestH13CompactionIsAllOrNothing(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put(dbtest.Rows("k", 40, strings.Repeat("v", 250))...)
	dbtest.Must(t, r.Flush())
	for i := range 20 {
		r.Delete(fmt.Sprintf("k%05d", 2*i))
	}
	dbtest.Must(t, r.Flush())
	want := dbtest.Contents(t, r.DB)
	r.Inject(faultfs.OpRemove, "*", syscall.EACCES) // what was replaced stays behind
	for _, s := range flushSteps {
		if s.pattern == "*.wal" || s.pattern == "*.val" {
			continue // not part of every compaction
		}
		r.Put("k00001=" + s.pattern)
		want[0] = "k00001=" + s.pattern
		dbtest.Must(t, r.Flush())
		held := r.Hold(s.op, s.pattern)
		done := dbtest.Async(func() error { return r.DB.Compact(context.Background(), nil, nil) })
		held.Wait()
		for _, keep := range []float64{0, 1} {
			after := r.Crash(keep).Want(want...).Clean()
			after.TidyDir()
			after.Compact()
			after.Want(want...)
			dbtest.Must(t, after.DB.Close())
		}
		held.Release()
		dbtest.Must(t, r.Finish(done))
		after := r.Crash(0).Want(want...).Clean()
		after.TidyDir()
		dbtest.Must(t, after.DB.Close())
	}
}

// A compaction of the last level removed its inputs and installed nothing;
// tombstones stayed for ever.
func TestH13LastLevelKeepsDataAndDropsTombstones(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	all := dbtest.Rows("k", 100, "value")
	r.Put(all...)
	for range 3 {
		r.Compact()
		r.Want(all...)
	}
	if n := r.Entries(); n != 100 {
		t.Fatalf("%d entries of 100", n)
	}
	for i := range 100 {
		r.Delete(fmt.Sprintf("k%05d", i))
	}
	r.Compact()
	r.Want()
	if n := r.Entries(); n != 0 {
		t.Fatalf("%d entries are left of what was deleted", n)
	}
	r.TidyDir()
	if n := r.Files(".sst"); len(n) != 0 {
		t.Fatalf("tables of nothing: %v", n)
	}
}

// Two processes in one directory destroyed each other's files.
func TestH26OneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	db := dbtest.Open(t, dir, nil)
	dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
	out, err := dbtest.Child(t, "open", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), seerdb.ErrLocked.Error()) {
		t.Fatalf("another process opened the directory: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), fmt.Sprint(os.Getpid())) {
		t.Errorf("the error does not name the holder: %s", out)
	}
	if runtime.GOOS != "windows" {
		alias := filepath.Join(t.TempDir(), "alias")
		dbtest.Must(t, os.Symlink(dir, alias))
		if _, err := seerdb.Open(alias, nil); !errors.Is(err, seerdb.ErrLocked) {
			t.Fatalf("through a link: %v", err)
		}
	}
	dbtest.Must(t, db.Put([]byte("b"), []byte("2")))
	dbtest.Must(t, db.Close())
	if out, err := dbtest.Child(t, "open", dir).CombinedOutput(); err != nil {
		t.Fatalf("after Close: %v\n%s", err, out)
	}
}

// Files were sorted by name, and six digits end at 999999.
func TestH28NumbersOfSevenDigits(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.MemtableSize = 1 << 10 })
	r.Put("a=0")
	dbtest.Must(t, r.DB.Close())
	f, err := r.Mem.Create("db/999990.sst") // left over, and so not to be used again
	dbtest.Must(t, err)
	dbtest.Must(t, f.Close())
	r = r.Reopen()
	held := r.Hold(faultfs.OpCreate, "*.sst") // the logs stay
	for i := range 30 {
		if wrote := dbtest.Async(func() error { return r.DB.Put([]byte("a"), fmt.Appendf(nil, "%d%s", i, strings.Repeat(".", 100))) }); i < 25 {
			dbtest.Must(t, r.Finish(wrote))
		}
		if logs := r.Files(".wal"); slices.ContainsFunc(logs, func(n string) bool { return len(n) > len("999999.wal") }) {
			break
		}
		if i == 29 {
			t.Fatalf("no log got a number of seven digits: %v", r.Files(".wal"))
		}
		if m := r.DB.Metrics(); m.Memtable.Queue == 3 {
			held.Release()
			dbtest.Must(t, r.Flush())
			held = r.Hold(faultfs.OpCreate, "*.sst")
		}
	}
	newest, err := r.DB.Get([]byte("a"))
	dbtest.Must(t, err)
	after := r.Crash(0).Want("a=" + string(newest))
	held.Release()
	dbtest.Must(t, r.Flush())
	r.Put("a=last")
	dbtest.Must(t, r.Flush())
	for _, db := range []*dbtest.Rig{r, r.Crash(0), after} {
		row := "a=last"
		if db == after {
			row = "a=" + string(newest)
		}
		db.Want(row)
		db.Compact()
		db.Want(row).Clean()
	}
}

// Every wait ended by going on when half a minute had passed. Here an hour
// passes, in a process with a clock of its own.
func TestH31NoWaitGoesOnByItself(t *testing.T) {
	exe, err := os.Executable()
	dbtest.Must(t, err)
	cmd := exec.Command(exe, "-test.run=^TestHourInTheStop$", "-test.v")
	cmd.Env = append(os.Environ(), bubbleEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestHourInTheStop")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Levels were forgotten with each open: every table was of level 0.
func TestLevelsSurviveReopening(t *testing.T) {
	r := dbtest.NewRig(t)
	for i := range 10 {
		r.Put(dbtest.Rows(fmt.Sprintf("%d/", i), 60, strings.Repeat("v", 100))...)
		dbtest.Must(t, r.Flush())
	}
	r.Compact()
	r.Put("x=y")
	dbtest.Must(t, r.Flush())
	shape := func() (out []string) {
		for _, l := range r.DB.Metrics().Levels {
			out = append(out, fmt.Sprintf("L%d: %d runs, %d files, %d entries", l.Level, l.Runs, l.Files, l.Entries))
		}
		return out
	}
	dbtest.Eventually(t, 10*time.Second, "compactions are done", func() bool { return r.DB.Metrics().Compactions.Running == 0 })
	before := shape()
	r = r.Reopen().Reopen() // the first open writes what the second reads
	if d := cmp.Diff(before, shape()); d != "" {
		t.Fatalf("levels:\n%s", d)
	}
	if !strings.Contains(before[len(before)-1], "files") || strings.Contains(before[len(before)-1], " 0 files") {
		t.Fatalf("nothing is in the last level: %q", before)
	}
}

// With the value log turned off, what was in it could not be read any more.
func TestValueFilesAreReadWhateverTheOptionsSay(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.ValueThreshold = 1 })
	all := dbtest.Rows("k", 50, "value")
	r.Put(all...)
	dbtest.Must(t, r.Flush())
	for _, threshold := range []int{-1, 1, 1 << 20, 3} {
		r.Options.ValueThreshold = threshold
		r = r.Reopen()
		r.Want(all...)
		r.Put(dbtest.Rows("k", 25, "value")...)
		r.Places(func(string) { r.Want(all...) })
		r.Clean()
	}
}

// A foreign or broken file in the place of a table was believed.
func TestBrokenTablesAreRefused(t *testing.T) {
	base := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Compression = seerdb.NoCompression })
	for _, prefix := range []string{"k", "j"} {
		base.Put(dbtest.Rows(prefix, 50, "value")...)
		dbtest.Must(t, base.Flush())
	}
	dbtest.Must(t, base.DB.Close())
	tables := base.Files(".sst")
	other := base.Read("db/" + tables[1])
	if n := len(base.Read("db/" + tables[0])); n != len(other) {
		t.Fatalf("the test needs two tables of one size, not of %d and %d", n, len(other))
	}
	for name, edit := range map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"cut":       func(b []byte) []byte { return b[:len(b)-1] },
		"longer":    func(b []byte) []byte { return append(b, 0) },
		"zeros":     func(b []byte) []byte { return make([]byte, len(b)) },
		"another's": func([]byte) []byte { return other },
	} {
		t.Run(name, func(t *testing.T) {
			r := &dbtest.Rig{TB: t, Mem: base.Mem.CrashClone(memfs.CrashOptions{}), Options: base.Options, Test: base.Test}
			r.Rewrite(tables[0], edit)
			err := r.TryOpen()
			if err == nil {
				_, err = r.DB.Get([]byte("k00007"))
				_ = r.DB.Close()
			}
			var c *seerdb.CorruptionError
			if !errors.As(err, &c) || c.File != tables[0] {
				t.Fatalf("a broken table gave %v", err)
			}
		})
	}
}
