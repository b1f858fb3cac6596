package seerdb_test

// The flaws of the original engine, one test each: S1 to S22 are those of its
// flush, H1 to H34 those elsewhere, and the rest the bugs that its authors
// found and wrote down. Each test is the shortest story in which the flaw
// showed, told to this engine; docs/TESTING.md says which change of the code
// makes each one fail. This file holds what the stories are told with.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// rig is a database on a disk that can crash, behind a layer that can fail.
type rig struct {
	testing.TB
	mem   *memfs.FS
	fault *faultfs.FS
	log   *opLog
	o     seerdb.Options
	to    seerdb.TestOptions
	db    *seerdb.DB
}

type change = func(*seerdb.Options, *seerdb.TestOptions)

// quiet lets nothing be compacted, and no writer be held back, before the test
// asks for it.
func quiet(_ *seerdb.Options, t *seerdb.TestOptions) { t.L0Trigger, t.ManualOnly = 1000, true }

// newRig opens a new database with tiny options, changed.
func newRig(t testing.TB, changes ...change) *rig {
	t.Helper()
	r := &rig{TB: t, mem: memfs.New()}
	r.o, r.to = tiny()
	for _, c := range changes {
		c(&r.o, &r.to)
	}
	return r.open()
}

// open opens the database on r.mem.
func (r *rig) open() *rig {
	r.Helper()
	must(r, r.tryOpen())
	r.Cleanup(func() {
		r.fault.Clear()
		_ = r.db.Close()
	})
	return r
}

func (r *rig) tryOpen() (err error) {
	r.fault = faultfs.New(r.mem)
	r.log = newOpLog(r.fault)
	to := r.to
	to.FS = r.log
	r.db, err = seerdb.Open("db", r.o.With(to))
	return err
}

// crash returns a database on what the disk would hold if the power failed
// now; keep is the share of what was not synced that survives.
func (r *rig) crash(keep float64) *rig {
	r.Helper()
	return r.disk(keep).open()
}

// disk is crash without opening what is left.
func (r *rig) disk(keep float64) *rig {
	o := memfs.CrashOptions{Keep: keep, Rand: rand.New(rand.NewPCG(uint64(r.mem.Ops()), 7))}
	return &rig{TB: r.TB, mem: r.mem.CrashClone(o), o: r.o, to: r.to}
}

func (r *rig) reopen() *rig {
	r.Helper()
	must(r, r.db.Close())
	return (&rig{TB: r.TB, mem: r.mem, o: r.o, to: r.to}).open()
}

// put commits "key=value" pairs, each on its own.
func (r *rig) put(rows ...string) {
	r.Helper()
	for _, row := range rows {
		k, v, _ := strings.Cut(row, "=")
		must(r, r.db.Put([]byte(k), []byte(v)))
	}
}

func (r *rig) del(keys ...string) {
	r.Helper()
	for _, k := range keys {
		must(r, r.db.Delete([]byte(k)))
	}
}

func (r *rig) flush() error { return r.db.Flush(context.Background()) }

func (r *rig) compact() {
	r.Helper()
	must(r, r.db.Compact(context.Background(), nil, nil))
}

// want checks that the database holds exactly these rows, by scans in both
// directions and by point reads.
func (r *rig) want(rows ...string) *rig {
	r.Helper()
	sorted := slices.SortedFunc(slices.Values(rows), func(a, b string) int { return strings.Compare(keyOf(a), keyOf(b)) })
	if d := cmp.Diff(sorted, contents(r, r.db)); d != "" {
		r.Fatalf("contents (-want +got):\n%s", d)
	}
	for _, row := range rows {
		k, v, _ := strings.Cut(row, "=")
		if got, err := r.db.Get([]byte(k)); err != nil || string(got) != v {
			r.Fatalf("get %q: %q, %v; want %q", k, got, err, v)
		}
	}
	return r
}

func keyOf(row string) string {
	k, _, _ := strings.Cut(row, "=")
	return k
}

// gone checks that keys are not there.
func (r *rig) gone(keys ...string) {
	r.Helper()
	for _, k := range keys {
		if got, err := r.db.Get([]byte(k)); !errors.Is(err, seerdb.ErrNotFound) {
			r.Fatalf("get %q: %q, %v; want not found", k, got, err)
		}
	}
}

// clean checks every file.
func (r *rig) clean() *rig {
	r.Helper()
	report, err := r.db.Verify(context.Background())
	must(r, err)
	if !report.Clean() {
		r.Fatalf("verify: %v", report.Damage)
	}
	return r
}

// entries counts the versions in memtables and tables together.
func (r *rig) entries() (n int64) {
	m := r.db.Metrics()
	n = m.Memtable.Entries
	for _, l := range m.Levels {
		n += l.Entries
	}
	return n
}

// files lists what the directory holds of an extension.
func (r *rig) files(ext string) []string {
	r.Helper()
	names, err := r.mem.List("db")
	must(r, err)
	return slices.DeleteFunc(names, func(n string) bool { return path.Ext(n) != ext })
}

// tidyDir checks that the directory holds the live files and no others.
func (r *rig) tidyDir() {
	r.Helper()
	liveFiles(r, r.db, r.mem)
}

// liveFiles are the names in the directory, once it holds the live files and no
// others. What was replaced goes when the last reader of it has gone, so it may
// take a moment.
func liveFiles(t testing.TB, db *seerdb.DB, fs vfs.FS) (names []string) {
	t.Helper()
	eventually(t, 10*time.Second, "only live files are in the directory", func() bool {
		var err error
		names, err = fs.List("db")
		must(t, err)
		n := map[string]int{}
		for _, name := range names {
			n[path.Ext(name)]++
		}
		m := db.Metrics()
		return n[".sst"]+n[".pack"] == m.IO.Tables.Files && n[".val"] == m.IO.Values.Files && n[".wal"] == m.Log.Segments && n[".tmp"] == 0
	})
	return names
}

// fail makes operations fail until the rule is removed.
func (r *rig) fail(op faultfs.OpKind, pattern string, err error) *faultfs.Fired {
	return r.fault.Inject(faultfs.Rule{Op: op, Path: pattern, Err: err})
}

// hold stops operations until release.
func (r *rig) hold(op faultfs.OpKind, pattern string) *held {
	return &held{r: r, f: r.fault.Inject(faultfs.Rule{Op: op, Path: pattern, Delay: time.Hour})}
}

type held struct {
	r *rig
	f *faultfs.Fired
}

// wait returns once something is held.
func (h *held) wait() {
	h.r.Helper()
	eventually(h.r, 20*time.Second, "the operation to be held is reached", func() bool { return h.f.Count() > 0 })
}

func (h *held) release() { h.f.Remove() }

// async runs f beside the test.
func async(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// finish waits for what async began.
func (r *rig) finish(done <-chan error) error {
	r.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(60 * time.Second):
		r.Fatal("hangs")
		return nil
	}
}

// blocked checks that what async began does not end by itself.
func (r *rig) blocked(done <-chan error, why string) {
	r.Helper()
	select {
	case err := <-done:
		r.Fatalf("%s, and yet it ended (%v)", why, err)
	case <-time.After(30 * time.Millisecond):
	}
}

// rewrite replaces the bytes of a file, durably.
func (r *rig) rewrite(name string, edit func([]byte) []byte) {
	r.Helper()
	name = r.mem.PathJoin("db", name)
	b := edit(r.read(name))
	must(r, r.mem.Remove(name))
	f, err := r.mem.Create(name)
	must(r, err)
	_, err = f.Write(b)
	must(r, errors.Join(err, f.Sync(), f.Close(), vfs.SyncDir(r.mem, "db")))
}

func (r *rig) read(name string) []byte {
	r.Helper()
	f, err := r.mem.Open(name)
	must(r, err)
	defer f.Close()
	n, err := f.Size()
	must(r, err)
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); n > 0 {
		must(r, err)
	}
	return b
}

// rows makes n rows "<prefix><i>=<value>".
func rows(prefix string, n int, value string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%05d=%s", prefix, i, value)
	}
	return out
}

var errDisk = syscall.EIO

// some is n, or less where time is short.
func some(n int) int {
	if testing.Short() || raceEnabled {
		return n/4 + 1
	}
	return n
}

// opLog notes what passes, in order, and counts the bytes by extension.
type opLog struct {
	vfs.FS
	*opNotes
}

func newOpLog(fs vfs.FS) *opLog { return &opLog{fs, &opNotes{}} }

// opNotes are the notes of an opLog and of its roots.
type opNotes struct {
	mu      sync.Mutex
	ops     []string         // guarded by mu; "sync 000001.sst", "dirsync db"
	written map[string]int64 // guarded by mu
	read    map[string]int64 // guarded by mu
}

func (l *opNotes) note(op, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, op+" "+path.Base(name))
}

func (l *opNotes) count(m *map[string]int64, name string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *m == nil {
		*m = map[string]int64{}
	}
	(*m)[path.Ext(name)] += int64(n)
}

// since returns the operations noted after the first n.
func (l *opNotes) since(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ops[n:])
}

// bytes returns how many bytes of an extension were written and read.
func (l *opNotes) bytes(ext string) (written, read int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written[ext], l.read[ext]
}

func (l *opLog) Create(name string) (vfs.File, error) {
	f, err := l.FS.Create(name)
	if err != nil {
		return nil, err
	}
	l.note("create", name)
	return &loggedFile{f, l, name}, nil
}

func (l *opLog) Open(name string) (vfs.File, error) {
	f, err := l.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return &loggedFile{f, l, name}, nil
}

func (l *opLog) OpenDir(name string) (vfs.Dir, error) {
	d, err := l.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &loggedDir{d, l, name}, nil
}

func (l *opLog) OpenRoot(name string) (vfs.Root, error) {
	r, err := l.FS.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &loggedRoot{r, opLog{r, l.opNotes}, name}, nil
}

func (l *opLog) Rename(from, to string) error {
	l.note("rename", to)
	return l.FS.Rename(from, to)
}

func (l *opLog) Remove(name string) error {
	l.note("remove", name)
	return l.FS.Remove(name)
}

// loggedRoot does with the log what changes something.
type loggedRoot struct {
	vfs.Root
	log  opLog
	name string
}

func (r *loggedRoot) Create(name string) (vfs.File, error) { return r.log.Create(name) }
func (r *loggedRoot) Open(name string) (vfs.File, error)   { return r.log.Open(name) }
func (r *loggedRoot) Rename(from, to string) error         { return r.log.Rename(from, to) }
func (r *loggedRoot) Remove(name string) error             { return r.log.Remove(name) }

func (r *loggedRoot) OpenDir(name string) (vfs.Dir, error) {
	d, err := r.Root.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &loggedDir{d, &r.log, path.Join(r.name, name)}, nil
}

type loggedFile struct {
	vfs.File
	log  *opLog
	name string
}

func (f *loggedFile) Sync() error {
	err := f.File.Sync()
	if err == nil {
		f.log.note("sync", f.name)
	}
	return err
}

func (f *loggedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.log.count(&f.log.written, f.name, n)
	return n, err
}

func (f *loggedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.log.count(&f.log.read, f.name, n)
	return n, err
}

type loggedDir struct {
	vfs.Dir
	log  *opLog
	name string
}

func (d *loggedDir) Sync() error {
	err := d.Dir.Sync()
	if err == nil {
		d.log.note("dirsync", d.name)
	}
	return err
}
