package dbtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// Rig is a database on a disk that can crash, with a file system that can fail.
type Rig struct {
	testing.TB
	Mem     *memfs.FS
	Fault   *faultfs.FS
	Ops     *opLog
	Options seerdb.Options
	Test    TestOptions
	DB      *seerdb.DB
}

// NewRig opens a new database with tiny options, modified by changes.
func NewRig(t testing.TB, changes ...Change) *Rig {
	t.Helper()
	r := &Rig{TB: t, Mem: memfs.New()}
	r.Options, r.Test = Tiny()
	for _, c := range changes {
		c(&r.Options, &r.Test)
	}
	return r.Open()
}

// Open opens the database on r.Mem.
func (r *Rig) Open() *Rig {
	r.Helper()
	Must(r, r.TryOpen())
	r.Cleanup(func() {
		r.Fault.Clear()
		_ = r.DB.Close()
	})
	return r
}

// TryOpen is Open for a database that may be refused.
func (r *Rig) TryOpen() (err error) {
	r.Fault = faultfs.New(r.Mem)
	r.Ops = newOpLog(r.Fault)
	to := r.Test
	to.FS = r.Ops
	r.DB, err = seerdb.Open("db", With(r.Options, to))
	return err
}

// ReopenAs opens the database of a rig in another test.
func (r *Rig) ReopenAs(t testing.TB) *Rig {
	r.TB = t
	Must(t, r.TryOpen())
	return r
}

// Crash returns a database on what the disk holds if the power fails now; keep
// is the share of unsynced pieces that survives.
func (r *Rig) Crash(keep float64) *Rig {
	r.Helper()
	return r.Disk(keep).Open()
}

// Disk is Crash without opening the database.
func (r *Rig) Disk(keep float64) *Rig {
	o := memfs.CrashOptions{Keep: keep, Rand: rand.New(rand.NewPCG(uint64(r.Mem.Ops()), 7))}
	return &Rig{TB: r.TB, Mem: r.Mem.CrashClone(o), Options: r.Options, Test: r.Test}
}

// Reopen closes the database and opens it again.
func (r *Rig) Reopen() *Rig {
	r.Helper()
	Must(r, r.DB.Close())
	return (&Rig{TB: r.TB, Mem: r.Mem, Options: r.Options, Test: r.Test}).Open()
}

// Put commits "key=value" pairs, each in its own commit.
func (r *Rig) Put(rows ...string) {
	r.Helper()
	for _, row := range rows {
		k, v, _ := strings.Cut(row, "=")
		Must(r, r.DB.Put([]byte(k), []byte(v)))
	}
}

// Delete deletes keys, each in its own commit.
func (r *Rig) Delete(keys ...string) {
	r.Helper()
	for _, k := range keys {
		Must(r, r.DB.Delete([]byte(k)))
	}
}

// Merge commits "key=operand" pairs, each in its own commit.
func (r *Rig) Merge(rows ...string) {
	r.Helper()
	for _, row := range rows {
		k, v, _ := strings.Cut(row, "=")
		Must(r, r.DB.Merge([]byte(k), []byte(v)))
	}
}

// WithMerger reopens the database with a merge operator.
func (r *Rig) WithMerger() {
	r.Options.Merger = merger.Counter{}
	Must(r, r.TryOpen())
	Must(r, errors.Join(r.DB.Merge([]byte("counter"), make([]byte, 8)), r.DB.Close()))
}

// Flush flushes the memtables.
func (r *Rig) Flush() error { return r.DB.Flush(context.Background()) }

// Compact merges everything into the last level.
func (r *Rig) Compact() {
	r.Helper()
	Must(r, r.DB.Compact(context.Background(), nil, nil))
}

// Places calls check with the data in each place that reads may find it: in the
// memtable, in level 0, in the last level.
func (r *Rig) Places(check func(place string)) {
	r.Helper()
	check("memtable")
	Must(r, r.Flush())
	check("level 0")
	r.Compact()
	check("last level")
}

// Want checks that the database has exactly these rows, by scans in both
// directions and by point reads.
func (r *Rig) Want(rows ...string) *Rig {
	r.Helper()
	sorted := slices.SortedFunc(slices.Values(rows), func(a, b string) int { return strings.Compare(KeyOf(a), KeyOf(b)) })
	if d := cmp.Diff(sorted, Contents(r, r.DB)); d != "" {
		r.Fatalf("contents (-want +got):\n%s", d)
	}
	for _, row := range rows {
		k, v, _ := strings.Cut(row, "=")
		if got, err := r.DB.Get([]byte(k)); err != nil || string(got) != v {
			r.Fatalf("get %q: %q, %v; want %q", k, got, err, v)
		}
	}
	return r
}

// Gone checks that keys do not exist.
func (r *Rig) Gone(keys ...string) {
	r.Helper()
	for _, k := range keys {
		if got, err := r.DB.Get([]byte(k)); !errors.Is(err, seerdb.ErrNotFound) {
			r.Fatalf("get %q: %q, %v; want not found", k, got, err)
		}
	}
}

// Clean verifies every file.
func (r *Rig) Clean() *Rig {
	r.Helper()
	report, err := r.DB.Verify(context.Background())
	Must(r, err)
	if !report.Clean() {
		r.Fatalf("verify: %v", report.Damage)
	}
	return r
}

// Entries returns the number of versions in memtables and tables.
func (r *Rig) Entries() (n int64) {
	m := r.DB.Metrics()
	n = m.Memtable.Entries
	for _, l := range m.Levels {
		n += l.Entries
	}
	return n
}

// ErrDisk is the error of a failing disk.
var ErrDisk = syscall.EIO

// Inject makes operations fail until the rule is removed.
func (r *Rig) Inject(op faultfs.OpKind, pattern string, err error) *faultfs.Fired {
	return r.Fault.Inject(faultfs.Rule{Op: op, Path: pattern, Err: err})
}

// Hold blocks operations until Release.
func (r *Rig) Hold(op faultfs.OpKind, pattern string) *held {
	return &held{r: r, f: r.Fault.Inject(faultfs.Rule{Op: op, Path: pattern, Delay: time.Hour})}
}

// held is a rule that blocks operations until Release.
type held struct {
	r *Rig
	f *faultfs.Fired
}

// Wait returns once an operation is blocked.
func (h *held) Wait() {
	h.r.Helper()
	Eventually(h.r, 20*time.Second, "the operation to be held is reached", func() bool { return h.f.Count() > 0 })
}

// Release lets the operations go on.
func (h *held) Release() { h.f.Remove() }

// Finish waits for a func that Async runs.
func (r *Rig) Finish(done <-chan error) error {
	r.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(60 * time.Second):
		r.Fatal("hangs")
		return nil
	}
}

// Blocked checks that a func that Async runs does not end by itself.
func (r *Rig) Blocked(done <-chan error, why string) {
	r.Helper()
	select {
	case err := <-done:
		r.Fatalf("%s, and yet it ended (%v)", why, err)
	case <-time.After(30 * time.Millisecond):
	}
}
