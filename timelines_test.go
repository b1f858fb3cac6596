package seerdb_test

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
	closed := func(r *rig) timeline {
		must(t, r.tryOpen())
		l := timeline{rows: everything(t, r.db)}
		must(t, r.db.Close())
		l.files = snapshotOfDir(r)
		return l
	}
	step := func(r *rig, what string) {
		must(t, r.tryOpen())
		r.put(rows("k", 30, what+strings.Repeat("v", 250))...)
		must(t, r.flush())
		r.put("tick=" + what)
		must(t, r.db.Close())
	}
	for range 2 { // two databases
		r := newRig(t, quiet, func(o *seerdb.Options, _ *seerdb.TestOptions) { o.Compression = seerdb.NoCompression })
		r.put("first=1")
		must(t, r.flush())
		must(t, r.db.Close())
		for _, what := range []string{"500", "700"} { // two ways on
			d := r.disk(1)
			step(d, what)
			out = append(out, timeline{files: snapshotOfDir(d)})
			out[len(out)-1] = closed(d)
			step(d, what+"+")
			out = append(out, closed(d))
		}
	}
	return out
}

// disk makes a rig of files.
func (l *timeline) disk(t testing.TB) *rig {
	r := &rig{TB: t, mem: memfs.New()}
	r.o, r.to = tiny()
	r.to.ManualOnly, r.to.L0Trigger = true, 1000
	r.o.Compression = seerdb.NoCompression
	must(t, r.mem.MkdirAll("db"))
	for name, b := range l.files {
		r.rewriteTo(name, b)
	}
	return r
}

// rewriteTo makes a file what it is given.
func (r *rig) rewriteTo(name, b string) {
	if _, err := r.mem.Stat("db/" + name); err == nil {
		must(r, r.mem.Remove("db/"+name))
	}
	f, err := r.mem.Create("db/" + name)
	must(r, err)
	_, err = f.Write([]byte(b))
	must(r, errors.Join(err, f.Close()))
}

// TestFilesOfOtherTimelines puts files of other timelines, other moments and
// another database into a database, under their own names and under others. It is
// refused, or a read is, with the name of a file; or the rows are those of the
// database that CURRENT belongs to.
func TestFilesOfOtherTimelines(t *testing.T) {
	draws := some(100)
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
	before := snapshotOfDir(r)
	if err := r.tryOpen(); err != nil {
		if !errors.Is(err, seerdb.ErrCorruption) {
			t.Fatalf("%s: %v", what, err)
		}
		if d := cmp.Diff(before, snapshotOfDir(r)); d != "" {
			t.Fatalf("%s: refused, and the directory changed:\n%.2000s", what, d)
		}
		return false
	}
	defer func() { must(t, r.db.Close()) }()
	report, err := r.db.Verify(context.Background())
	must(t, err)
	var bad error
	names, err := r.db.Keyspaces()
	must(t, err)
	rows := r.db.Range(nil, nil)
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
	base := newRig(t, quiet)
	base.put("first=1")
	must(t, base.flush())
	must(t, base.db.Close())
	day := func(balance string) *rig {
		r := base.disk(1)
		must(t, r.tryOpen())
		r.put("balance=" + balance)
		must(t, r.flush())
		must(t, r.db.Close())
		return r
	}
	undone, live := day("500"), day("700")
	backup := live.disk(1)
	mixed := ""
	for _, name := range undone.files(".sst") {
		if old, now := string(undone.read("db/"+name)), string(live.read("db/"+name)); old != now {
			backup.rewriteTo(name, old)
			mixed = name
		}
	}
	if mixed == "" {
		t.Fatal("the two made no table of one name")
	}
	must(t, backup.tryOpen())
	var c *seerdb.CorruptionError
	if v, err := backup.db.Get([]byte("balance")); !errors.As(err, &c) || c.File != mixed || !strings.Contains(err.Error(), "incarnation") {
		t.Fatalf("the backup reads %q, %v", v, err)
	}
	report, err := backup.db.Verify(context.Background())
	if must(t, err); report.Clean() {
		t.Fatal("Verify is clean")
	}
	must(t, backup.db.Close())
}

// TestVerifySeesFilesThatWereReplaced replaces each file of an open database, whose
// tables are all open, by that of another timeline, or damages it.
func TestVerifySeesFilesThatWereReplaced(t *testing.T) {
	for _, how := range []string{"damaged", "removed", "cut"} {
		r := newRig(t, quiet)
		r.put(rows("k", 30, strings.Repeat("v", 250))...)
		must(t, r.flush())
		r.put(rows("l", 30, "value")...)
		want := everything(t, r.db)
		report, err := r.db.Verify(context.Background())
		if must(t, err); !report.Clean() {
			t.Fatal(report.Damage)
		}
		for name, b := range snapshotOfDir(r) {
			if b == "" {
				continue // a log made ahead, which nothing was written to
			}
			switch how {
			case "removed":
				must(t, r.mem.Remove("db/"+name))
			case "damaged":
				p := []byte(b)
				p[len(p)/2] ^= 1
				r.rewriteTo(name, string(p))
			case "cut":
				r.rewriteTo(name, b[:len(b)/2])
			}
			report, err := r.db.Verify(context.Background())
			if must(t, err); report.Clean() || !strings.Contains(fmt.Sprint(report.Damage), name) {
				t.Errorf("%s %s: Verify says %v", name, how, report.Damage)
			}
			r.rewriteTo(name, b)
		}
		report, err = r.db.Verify(context.Background())
		if must(t, err); !report.Clean() {
			t.Fatal(report.Damage)
		}
		if d := cmp.Diff(want, everything(t, r.db)); d != "" {
			t.Fatal(d)
		}
		must(t, r.db.Close())
	}
}

// TestForeignFilesWithOurNames: what seerdb did not make is neither removed nor
// overwritten, whatever it is called and however the database ended.
func TestForeignFilesWithOurNames(t *testing.T) {
	const text = "a file that seerdb did not make"
	for _, killed := range []bool{false, true} {
		for _, name := range []string{"000999.sst", "000999.val", "000999.wal", "000999.tmp", "MANIFEST-000999", "1099511628776.tmp"} {
			r := newRig(t, quiet)
			r.put("a=1")
			must(t, r.flush())
			d := r
			if killed {
				d = r.disk(1)
			} else {
				must(t, r.db.Close())
			}
			d.rewriteTo(name, text)
			for i := range 3 {
				must(t, d.tryOpen())
				d.put(fmt.Sprintf("b=%d", i))
				must(t, d.flush())
				d.want("a=1", fmt.Sprintf("b=%d", i))
				must(t, d.db.Close())
			}
			if got := string(d.read("db/" + name)); got != text {
				t.Errorf("%s, killed %v: now %q", name, killed, got)
			}
		}
	}
	// After a clean close nothing can be half written: not even the next names
	// are taken for ours.
	r := newRig(t, quiet)
	r.put("a=1")
	must(t, r.db.Close())
	names := []string{"000002.sst", "000007.val", "000008.wal", "000002.tmp", "MANIFEST-000002"}
	for _, name := range names {
		r.rewriteTo(name, text)
	}
	must(t, r.tryOpen())
	r.put("b=2")
	must(t, r.flush())
	must(t, r.db.Close())
	for _, name := range names {
		if got := string(r.read("db/" + name)); got != text {
			t.Errorf("%s after a clean close: now %q", name, got)
		}
	}
}
