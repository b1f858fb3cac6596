package files

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

var timelineDraws = flag.Int("timelines.draws", 0, "mixes of files in TestFilesOfOtherTimelines; 0: a few")

// timeline is the files of a database at one moment, and what it holds.
type timeline struct {
	files map[string]string
	rows  []string
}

// timelines are states of copies of one database that went on from one moment,
// and one of another database, which did the same.
func timelines(t testing.TB) (out []timeline) {
	closed := func(r *dbtest.Rig) timeline {
		dbtest.Must(t, r.TryOpen())
		l := timeline{rows: everything(t, r.DB)}
		dbtest.Must(t, r.DB.Close())
		l.files = dbtest.SnapshotOfDir(r)
		return l
	}
	step := func(r *dbtest.Rig, what string) {
		dbtest.Must(t, r.TryOpen())
		r.Put(dbtest.Rows("k", 30, what+strings.Repeat("v", 250))...)
		dbtest.Must(t, r.Flush())
		r.Put("tick=" + what)
		dbtest.Must(t, r.DB.Close())
	}
	for range 2 { // two databases
		r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.Compression = seerdb.NoCompression })
		r.Put("first=1")
		dbtest.Must(t, r.Flush())
		dbtest.Must(t, r.DB.Close())
		for _, what := range []string{"500", "700"} { // two ways on
			d := r.Disk(1)
			step(d, what)
			out = append(out, timeline{files: dbtest.SnapshotOfDir(d)})
			out[len(out)-1] = closed(d)
			step(d, what+"+")
			out = append(out, closed(d))
		}
	}
	return out
}

// disk makes a rig of files.
func (l *timeline) disk(t testing.TB) *dbtest.Rig {
	r := &dbtest.Rig{TB: t, Mem: memfs.New()}
	r.Options, r.Test = dbtest.Tiny()
	r.Test.ManualOnly, r.Test.L0Trigger = true, 1000
	r.Options.Compression = seerdb.NoCompression
	dbtest.Must(t, r.Mem.MkdirAll("db"))
	for name, b := range l.files {
		r.RewriteTo(name, b)
	}
	return r
}

// TestFilesOfOtherTimelines puts files of other timelines, other moments and
// another database into a database, under their own names and under others. It is
// refused, or a read is, with the name of a file; or the rows are those of the
// database that CURRENT belongs to.
func TestFilesOfOtherTimelines(t *testing.T) {
	draws := dbtest.Some(100)
	if *timelineDraws > 0 {
		draws = *timelineDraws
	}
	all := timelines(t)
	rng := rand.New(rand.NewPCG(3, 1))
	refused, whole := 0, 0
	for range draws {
		l := all[rng.IntN(len(all))]
		mixed := timeline{files: maps.Clone(l.files), rows: l.rows}
		var what []string
		if d := strangers(all, l); rng.IntN(2) == 0 && len(d) > 0 {
			// The likeliest, and the hardest to tell.
			f := d[rng.IntN(len(d))]
			mixed.files[f.name] = f.bytes
			what = append(what, f.name+" of another timeline")
		}
		for range 1 + rng.IntN(3) - len(what) {
			other := all[rng.IntN(len(all))]
			from := slices.Sorted(maps.Keys(other.files))
			name := from[rng.IntN(len(from))]
			to := name
			if names := slices.Sorted(maps.Keys(l.files)); rng.IntN(3) == 0 {
				to = names[rng.IntN(len(names))]
			}
			mixed.files[to] = other.files[name]
			what = append(what, name+" as "+to)
		}
		want := mixed.rows
		for _, o := range all {
			if o.files["CURRENT"] == mixed.files["CURRENT"] {
				want = o.rows
			}
		}
		if mixed.check(t, strings.Join(what, ", "), want) {
			whole++
		} else {
			refused++
		}
	}
	t.Logf("%d refused, %d whole", refused, whole)
	if refused == 0 || whole == 0 {
		t.Fatal("the test has no teeth")
	}
}

// strange is a file of another timeline.
type strange struct{ name, bytes string }

// strangers are the tables, value files and logs of other timelines that differ
// from those of one that have the same name.
func strangers(all []timeline, l timeline) (out []strange) {
	for _, o := range all {
		for _, name := range slices.Sorted(maps.Keys(o.files)) {
			mine, ok := l.files[name]
			if ok && mine != o.files[name] && strings.Contains(name, ".") {
				out = append(out, strange{name, o.files[name]})
			}
		}
	}
	return out
}

// check opens a database, and reports whether it holds the rows; if not, it must
// say so: at Open, when it is read, and in Verify.
func (l *timeline) check(t testing.TB, what string, want []string) bool {
	t.Helper()
	r := l.disk(t)
	before := dbtest.SnapshotOfDir(r)
	if err := r.TryOpen(); err != nil {
		if !errors.Is(err, seerdb.ErrCorruption) {
			t.Fatalf("%s: %v", what, err)
		}
		if d := cmp.Diff(before, dbtest.SnapshotOfDir(r)); d != "" {
			t.Fatalf("%s: refused, and the directory changed:\n%.2000s", what, d)
		}
		return false
	}
	defer func() { dbtest.Must(t, r.DB.Close()) }()
	report, err := r.DB.Verify(context.Background())
	dbtest.Must(t, err)
	var bad error
	names, err := r.DB.Keyspaces()
	dbtest.Must(t, err)
	rows := r.DB.Range(nil, nil)
	var got []string
	for k, v := range rows.All() {
		got = append(got, string(k)+"="+string(v))
	}
	if bad = rows.Err(); bad == nil {
		if d := cmp.Diff(want, append(names, got...)); d != "" {
			t.Fatalf("%s: opened, and (-want +got):\n%.2000s", what, d)
		}
	} else if !errors.Is(bad, seerdb.ErrCorruption) {
		t.Fatalf("%s: %v", what, bad)
	}
	if bad != nil && report.Clean() {
		t.Fatalf("%s: reading says %v, and Verify is clean", what, bad)
	}
	return bad == nil && report.Clean()
}

// TestBackupByNameOverARestore is a backup that adds files by name: a table of a
// timeline that was undone stays in it, under the name of a later one.
func TestBackupByNameOverARestore(t *testing.T) {
	base := dbtest.NewRig(t, dbtest.Quiet)
	base.Put("first=1")
	dbtest.Must(t, base.Flush())
	dbtest.Must(t, base.DB.Close())
	day := func(balance string) *dbtest.Rig {
		r := base.Disk(1)
		dbtest.Must(t, r.TryOpen())
		r.Put("balance=" + balance)
		dbtest.Must(t, r.Flush())
		dbtest.Must(t, r.DB.Close())
		return r
	}
	undone, live := day("500"), day("700")
	backup := live.Disk(1)
	mixed := ""
	for _, name := range undone.Files(".sst") {
		if old, now := string(undone.Read("db/"+name)), string(live.Read("db/"+name)); old != now {
			backup.RewriteTo(name, old)
			mixed = name
		}
	}
	if mixed == "" {
		t.Fatal("the two made no table of one name")
	}
	dbtest.Must(t, backup.TryOpen())
	var c *seerdb.CorruptionError
	if v, err := backup.DB.Get([]byte("balance")); !errors.As(err, &c) || c.File != mixed || !strings.Contains(err.Error(), "incarnation") {
		t.Fatalf("the backup reads %q, %v", v, err)
	}
	report, err := backup.DB.Verify(context.Background())
	if dbtest.Must(t, err); report.Clean() {
		t.Fatal("Verify is clean")
	}
	dbtest.Must(t, backup.DB.Close())
}

// TestVerifySeesFilesThatWereReplaced replaces each file of an open database, whose
// tables are all open, by that of another timeline, or damages it.
func TestVerifySeesFilesThatWereReplaced(t *testing.T) {
	for _, how := range []string{"damaged", "removed", "cut"} {
		r := dbtest.NewRig(t, dbtest.Quiet)
		r.Put(dbtest.Rows("k", 30, strings.Repeat("v", 250))...)
		dbtest.Must(t, r.Flush())
		r.Put(dbtest.Rows("l", 30, "value")...)
		want := everything(t, r.DB)
		report, err := r.DB.Verify(context.Background())
		if dbtest.Must(t, err); !report.Clean() {
			t.Fatal(report.Damage)
		}
		for name, b := range dbtest.SnapshotOfDir(r) {
			if b == "" {
				continue // a log made ahead, which nothing was written to
			}
			switch how {
			case "removed":
				dbtest.Must(t, r.Mem.Remove("db/"+name))
			case "damaged":
				p := []byte(b)
				p[len(p)/2] ^= 1
				r.RewriteTo(name, string(p))
			case "cut":
				r.RewriteTo(name, b[:len(b)/2])
			}
			report, err := r.DB.Verify(context.Background())
			if dbtest.Must(t, err); report.Clean() || !strings.Contains(fmt.Sprint(report.Damage), name) {
				t.Errorf("%s %s: Verify says %v", name, how, report.Damage)
			}
			r.RewriteTo(name, b)
		}
		report, err = r.DB.Verify(context.Background())
		if dbtest.Must(t, err); !report.Clean() {
			t.Fatal(report.Damage)
		}
		if d := cmp.Diff(want, everything(t, r.DB)); d != "" {
			t.Fatal(d)
		}
		dbtest.Must(t, r.DB.Close())
	}
}

// TestForeignFilesWithOurNames: what seerdb did not make is neither removed nor
// overwritten, whatever it is called and however the database ended.
func TestForeignFilesWithOurNames(t *testing.T) {
	const text = "a file that seerdb did not make"
	for _, killed := range []bool{false, true} {
		for _, name := range []string{"000999.sst", "000999.val", "000999.wal", "000999.tmp", "MANIFEST-000999", "1099511628776.tmp"} {
			r := dbtest.NewRig(t, dbtest.Quiet)
			r.Put("a=1")
			dbtest.Must(t, r.Flush())
			d := r
			if killed {
				d = r.Disk(1)
			} else {
				dbtest.Must(t, r.DB.Close())
			}
			d.RewriteTo(name, text)
			for i := range 3 {
				dbtest.Must(t, d.TryOpen())
				d.Put(fmt.Sprintf("b=%d", i))
				dbtest.Must(t, d.Flush())
				d.Want("a=1", fmt.Sprintf("b=%d", i))
				dbtest.Must(t, d.DB.Close())
			}
			if got := string(d.Read("db/" + name)); got != text {
				t.Errorf("%s, killed %v: now %q", name, killed, got)
			}
		}
	}
	// After a clean close nothing can be half written: not even the next names
	// are taken for ours.
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("a=1")
	dbtest.Must(t, r.DB.Close())
	names := []string{"000002.sst", "000007.val", "000008.wal", "000002.tmp", "MANIFEST-000002"}
	for _, name := range names {
		r.RewriteTo(name, text)
	}
	dbtest.Must(t, r.TryOpen())
	r.Put("b=2")
	dbtest.Must(t, r.Flush())
	dbtest.Must(t, r.DB.Close())
	for _, name := range names {
		if got := string(r.Read("db/" + name)); got != text {
			t.Errorf("%s after a clean close: now %q", name, got)
		}
	}
}
