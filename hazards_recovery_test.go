package seerdb_test

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
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// Open emptied the log when what it held was only in memory.
func TestH03CrashRightAfterOpenLosesNothing(t *testing.T) {
	r := newRig(t, quiet)
	all := rows("k", 30, strings.Repeat("v", 250))
	r.put(all...)
	crashed := r.disk(0)
	for k := int64(1); ; k++ {
		again := crashed.disk(0)
		again.mem.FreezeAt(again.mem.Ops() + k)
		err := again.tryOpen()
		frozen := again.mem.Frozen()
		for _, keep := range []float64{0, 0.5, 1} {
			after := again.crash(keep).want(all...)
			must(t, after.db.Close())
		}
		if err == nil {
			_ = again.db.Close()
		}
		if !frozen {
			must(t, err)
			break
		}
	}
}

// Damage in the middle of the log ended the replay in silence, and what
// followed was then overwritten.
func TestH03DamageIsRefusedAndLeftAlone(t *testing.T) {
	r := newRig(t, quiet)
	r.put(rows("k", 30, "some value")...)
	log := r.files(".wal")[0]
	must(t, r.db.Close())
	for at := range 20 {
		d := &rig{TB: t, mem: r.mem.CrashClone(memfs.CrashOptions{}), o: r.o, to: r.to}
		d.rewrite(log, func(b []byte) []byte {
			b[len(b)*(at+1)/22] ^= 0x10
			return b
		})
		before := snapshotOfDir(d)
		var c *seerdb.CorruptionError
		if err := d.tryOpen(); !errors.As(err, &c) || c.File != log {
			t.Fatalf("open with a damaged log: %v", err)
		}
		if after := snapshotOfDir(d); cmp.Diff(before, after) != "" {
			t.Fatalf("the refused open changed the directory:\n%s", cmp.Diff(before, after))
		}
	}
}

// snapshotOfDir is every file but the lock.
func snapshotOfDir(r *rig) map[string]string {
	r.Helper()
	out := map[string]string{}
	names, err := r.mem.List("db")
	must(r, err)
	for _, n := range names {
		if n != "LOCK" {
			out[n] = string(r.read("db/" + n))
		}
	}
	return out
}

// Sequences began at 1 with each open, so that old versions hid new ones.
func TestH04NumbersGoOnAfterReopening(t *testing.T) {
	r := newRig(t, quiet)
	seq := uint64(0)
	for round := range 6 {
		for i := range 50 {
			r.put(fmt.Sprintf("k=%d.%d", round, i))
		}
		if now := r.db.VisibleSeq(); now < seq+50 {
			t.Fatalf("after round %d the visible sequence is %d; it was %d", round, now, seq)
		}
		seq = r.db.VisibleSeq()
		if round%3 > 0 {
			must(t, r.flush())
		}
		if round%2 > 0 {
			r = r.crash(0)
		} else {
			r = r.reopen()
		}
		want := fmt.Sprintf("k=%d.49", round)
		r.want(want)
		s := r.db.NewSnapshot()
		if v, err := s.Get([]byte("k")); err != nil || "k="+string(v) != want {
			t.Fatalf("a snapshot after reopening reads %q, %v; want %s", v, err, want)
		}
		must(t, s.Close())
	}
	for _, d := range r.log.since(0) {
		if d == "create 000001.wal" {
			t.Fatal("a file number was used again")
		}
	}
}

// Taking a snapshot replaced the immutable memtable, and with the next one it
// was lost.
func TestH05SnapshotsMoveNoData(t *testing.T) {
	r := newRig(t, quiet)
	held := r.hold(faultfs.OpCreate, "*.sst") // whatever becomes immutable stays so
	var all []string
	for i := range 3 {
		row := fmt.Sprintf("k%d=v", i)
		r.put(row)
		all = append(all, row)
		s := r.db.NewSnapshot()
		defer s.Close()
		r.want(all...)
	}
	r.crash(0).want(all...)
	held.release()
	must(t, r.flush())
	r.want(all...)
	r.crash(0).want(all...)
}

// Without a manifest a restart brought the inputs of a compaction back, and
// with them what had been deleted.
func TestH13CompactionIsAllOrNothing(t *testing.T) {
	r := newRig(t, quiet)
	r.put(rows("k", 40, strings.Repeat("v", 250))...)
	must(t, r.flush())
	for i := range 20 {
		r.del(fmt.Sprintf("k%05d", 2*i))
	}
	must(t, r.flush())
	want := contents(t, r.db)
	r.fail(faultfs.OpRemove, "*", syscall.EACCES) // what was replaced stays behind
	for _, s := range flushSteps {
		if s.pattern == "*.wal" || s.pattern == "*.val" {
			continue // not part of every compaction
		}
		r.put("k00001=" + s.pattern)
		want[0] = "k00001=" + s.pattern
		must(t, r.flush())
		held := r.hold(s.op, s.pattern)
		done := async(func() error { return r.db.Compact(context.Background(), nil, nil) })
		held.wait()
		for _, keep := range []float64{0, 1} {
			after := r.crash(keep).want(want...).clean()
			after.tidyDir()
			after.compact()
			after.want(want...)
			must(t, after.db.Close())
		}
		held.release()
		must(t, r.finish(done))
		after := r.crash(0).want(want...).clean()
		after.tidyDir()
		must(t, after.db.Close())
	}
}

// A compaction of the last level removed its inputs and installed nothing;
// tombstones stayed for ever.
func TestH13LastLevelKeepsDataAndDropsTombstones(t *testing.T) {
	r := newRig(t, quiet)
	all := rows("k", 100, "value")
	r.put(all...)
	for range 3 {
		r.compact()
		r.want(all...)
	}
	if n := r.entries(); n != 100 {
		t.Fatalf("%d entries of 100", n)
	}
	for i := range 100 {
		r.del(fmt.Sprintf("k%05d", i))
	}
	r.compact()
	r.want()
	if n := r.entries(); n != 0 {
		t.Fatalf("%d entries are left of what was deleted", n)
	}
	r.tidyDir()
	if n := r.files(".sst"); len(n) != 0 {
		t.Fatalf("tables of nothing: %v", n)
	}
}

// childEnv makes the test binary do a job as another process: "job dir".
const childEnv = "SEERDB_TEST_CHILD"

// childJobs are the jobs.
var childJobs = map[string]func(dir string) error{
	"open": func(dir string) error {
		db, err := seerdb.Open(dir, nil)
		if err != nil {
			return err
		}
		return db.Close()
	},
}

// runChild does the job of a child process, if this is one.
func runChild() {
	job, arg, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		return
	}
	if err := childJobs[job](arg); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child prepares a process that does a job.
func child(t testing.TB, job, dir string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), childEnv+"="+job+" "+dir), env...)
	return cmd
}

// Two processes in one directory destroyed each other's files.
func TestH26OneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, nil)
	must(t, db.Put([]byte("a"), []byte("1")))
	out, err := child(t, "open", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), seerdb.ErrLocked.Error()) {
		t.Fatalf("another process opened the directory: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), fmt.Sprint(os.Getpid())) {
		t.Errorf("the error does not name the holder: %s", out)
	}
	if runtime.GOOS != "windows" {
		alias := filepath.Join(t.TempDir(), "alias")
		must(t, os.Symlink(dir, alias))
		if _, err := seerdb.Open(alias, nil); !errors.Is(err, seerdb.ErrLocked) {
			t.Fatalf("through a link: %v", err)
		}
	}
	must(t, db.Put([]byte("b"), []byte("2")))
	must(t, db.Close())
	if out, err := child(t, "open", dir).CombinedOutput(); err != nil {
		t.Fatalf("after Close: %v\n%s", err, out)
	}
}

// Files were sorted by name, and six digits end at 999999.
func TestH28NumbersOfSevenDigits(t *testing.T) {
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.MemtableSize = 1 << 10 })
	r.put("a=0")
	must(t, r.db.Close())
	f, err := r.mem.Create("db/999990.sst") // left over, and so not to be used again
	must(t, err)
	must(t, f.Close())
	r = r.reopen()
	held := r.hold(faultfs.OpCreate, "*.sst") // the logs stay
	for i := range 30 {
		if wrote := async(func() error { return r.db.Put([]byte("a"), fmt.Appendf(nil, "%d%s", i, strings.Repeat(".", 100))) }); i < 25 {
			must(t, r.finish(wrote))
		}
		if logs := r.files(".wal"); slices.ContainsFunc(logs, func(n string) bool { return len(n) > len("999999.wal") }) {
			break
		}
		if i == 29 {
			t.Fatalf("no log got a number of seven digits: %v", r.files(".wal"))
		}
		if m := r.db.Metrics(); m.Memtable.Queue == 3 {
			held.release()
			must(t, r.flush())
			held = r.hold(faultfs.OpCreate, "*.sst")
		}
	}
	newest, err := r.db.Get([]byte("a"))
	must(t, err)
	after := r.crash(0).want("a=" + string(newest))
	held.release()
	must(t, r.flush())
	r.put("a=last")
	must(t, r.flush())
	for _, db := range []*rig{r, r.crash(0), after} {
		row := "a=last"
		if db == after {
			row = "a=" + string(newest)
		}
		db.want(row)
		db.compact()
		db.want(row).clean()
	}
}

// Every wait ended by going on when half a minute had passed. Here an hour
// passes, in a process with a clock of its own.
func TestH31NoWaitGoesOnByItself(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, "-test.run=^TestHourInTheStop$", "-test.v")
	cmd.Env = append(os.Environ(), bubbleEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestHourInTheStop")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Levels were forgotten with each open: every table was of level 0.
func TestLevelsSurviveReopening(t *testing.T) {
	r := newRig(t)
	for i := range 10 {
		r.put(rows(fmt.Sprintf("%d/", i), 60, strings.Repeat("v", 100))...)
		must(t, r.flush())
	}
	r.compact()
	r.put("x=y")
	must(t, r.flush())
	shape := func() (out []string) {
		for _, l := range r.db.Metrics().Levels {
			out = append(out, fmt.Sprintf("L%d: %d runs, %d files, %d entries", l.Level, l.Runs, l.Files, l.Entries))
		}
		return out
	}
	eventually(t, 10*time.Second, "compactions are done", func() bool { return r.db.Metrics().Compactions.Running == 0 })
	before := shape()
	r = r.reopen().reopen() // the first open writes what the second reads
	if d := cmp.Diff(before, shape()); d != "" {
		t.Fatalf("levels:\n%s", d)
	}
	if !strings.Contains(before[len(before)-1], "files") || strings.Contains(before[len(before)-1], " 0 files") {
		t.Fatalf("nothing is in the last level: %q", before)
	}
}

// With the value log turned off, what was in it could not be read any more.
func TestValueFilesAreReadWhateverTheOptionsSay(t *testing.T) {
	r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.ValueThreshold = 1 })
	all := rows("k", 50, "value")
	r.put(all...)
	must(t, r.flush())
	for _, threshold := range []int{-1, 1, 1 << 20, 3} {
		r.o.ValueThreshold = threshold
		r = r.reopen()
		r.want(all...)
		r.put(rows("k", 25, "value")...)
		r.places(func(string) { r.want(all...) })
		r.clean()
	}
}

// A foreign or broken file in the place of a table was believed.
func TestBrokenTablesAreRefused(t *testing.T) {
	base := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Compression = seerdb.NoCompression })
	for _, prefix := range []string{"k", "j"} {
		base.put(rows(prefix, 50, "value")...)
		must(t, base.flush())
	}
	must(t, base.db.Close())
	tables := base.files(".sst")
	other := base.read("db/" + tables[1])
	if n := len(base.read("db/" + tables[0])); n != len(other) {
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
			r := &rig{TB: t, mem: base.mem.CrashClone(memfs.CrashOptions{}), o: base.o, to: base.to}
			r.rewrite(tables[0], edit)
			err := r.tryOpen()
			if err == nil {
				_, err = r.db.Get([]byte("k00007"))
				_ = r.db.Close()
			}
			var c *seerdb.CorruptionError
			if !errors.As(err, &c) || c.File != tables[0] {
				t.Fatalf("a broken table gave %v", err)
			}
		})
	}
}
