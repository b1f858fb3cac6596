package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// A database works in the directory that it opened and locked, not in whatever
// its path leads to later. Here something happens to the path of an open
// database, which then does everything that touches files; and nothing of what
// the path leads to now may change, least of all another database.

// pathFate is what happens to the path of a database.
type pathFate struct {
	name string
	// begin makes what is needed in base, and returns the path to open, and
	// where the database will be found after strike.
	begin func(t *testing.T, base string) (path, home string)
	// strike makes the path lead elsewhere: to the directory that it returns,
	// or nowhere, if "".
	strike func(t *testing.T, base string) (other string)
	// another says that a second database is opened in that directory.
	another bool
}

func plainPath(_ *testing.T, base string) (path, home string) {
	return filepath.Join(base, "db"), filepath.Join(base, "moved")
}

func renameAway(t *testing.T, base string) {
	dbtest.Must(t, os.Rename(filepath.Join(base, "db"), filepath.Join(base, "moved")))
}

func relativePath(t *testing.T, base string) (path, home string) {
	for _, dir := range []string{"one", "two/db"} {
		dbtest.Must(t, os.MkdirAll(filepath.Join(base, filepath.FromSlash(dir)), 0o700))
	}
	t.Chdir(filepath.Join(base, "one"))
	return "db", filepath.Join(base, "one", "db")
}

func changeDir(t *testing.T, base string) string {
	t.Chdir(filepath.Join(base, "two"))
	return filepath.Join(base, "two", "db")
}

func linkedPath(t *testing.T, base string) (path, home string) {
	path, home = filepath.Join(base, "link"), filepath.Join(base, "db")
	dbtest.Must(t, os.Mkdir(home, 0o700))
	dbtest.Must(t, os.Symlink(home, path))
	return path, home
}

func repointLink(t *testing.T, base string) string {
	other := filepath.Join(base, "other")
	dbtest.Must(t, os.Mkdir(other, 0o700))
	dbtest.Must(t, os.Remove(filepath.Join(base, "link")))
	dbtest.Must(t, os.Symlink(other, filepath.Join(base, "link")))
	return other
}

var pathFates = []pathFate{
	{"renamed", plainPath, func(t *testing.T, base string) string { renameAway(t, base); return "" }, false},
	{"renamed and replaced by a directory", plainPath, func(t *testing.T, base string) string {
		renameAway(t, base)
		dbtest.Must(t, os.Mkdir(filepath.Join(base, "db"), 0o700))
		return filepath.Join(base, "db")
	}, false},
	{"renamed and replaced by a database", plainPath, func(t *testing.T, base string) string {
		renameAway(t, base)
		return filepath.Join(base, "db")
	}, true},
	{"relative, then chdir", relativePath, changeDir, false},
	{"relative, then chdir to another database", relativePath, changeDir, true},
	{"by a link that is repointed", linkedPath, repointLink, false},
	{"by a link that is repointed to a database", linkedPath, repointLink, true},
}

func TestDirectoryIsTheOneThatWasOpened(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open directory cannot be renamed there")
	}
	for _, fate := range append(pathFates, mountFates...) {
		if testing.Short() && !fate.another {
			continue // the harder half
		}
		t.Run(fate.name, func(t *testing.T) { underFate(t, fate) })
	}
}

// directoryOptions make many files of few rows.
func directoryOptions() *seerdb.Options {
	return &seerdb.Options{MemtableSize: 48 << 10, TableSize: 32 << 10, MemoryBudget: 2 << 20, Durability: seerdb.Buffered}
}

// quietOptions make a database that does nothing by itself.
func quietOptions() *seerdb.Options {
	return dbtest.With(seerdb.Options{MemoryBudget: 16 << 20, Durability: seerdb.Buffered}, dbtest.TestOptions{ManualOnly: true})
}

func underFate(t *testing.T, fate pathFate) {
	base := t.TempDir()
	path, home := fate.begin(t, base)
	a := openForFate(t, path, directoryOptions())
	defer a.db.Close()
	a.put(t, "before")
	other := fate.strike(t, base)
	var b *fated
	var unchanged func(step string)
	switch {
	case fate.another:
		b = openForFate(t, other, quietOptions())
		defer b.db.Close()
		b.put(t, "other")
		dbtest.Must(t, b.db.Flush(context.Background()))
		b.put(t, "logged")
		fallthrough
	case other != "":
		unchanged = sameFiles(t, other)
	default:
		unchanged = func(string) {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("something is at %s: %v", path, err)
			}
		}
	}
	for _, s := range fateSteps {
		s.do(t, a)
		unchanged(s.name)
	}
	dbtest.Must(t, a.db.Close())
	unchanged("close")
	if b != nil {
		b.put(t, "after")
		dbtest.Must(t, b.db.Close())
		b.reopen(t, other)
	}
	a.reopen(t, home)
}

// fated is a database and what it must hold, by keyspace and key.
type fated struct {
	db   *seerdb.DB
	want map[string]map[string]string
}

func openForFate(t *testing.T, path string, o *seerdb.Options) *fated {
	db, err := seerdb.Open(path, o)
	dbtest.Must(t, err)
	return &fated{db, map[string]map[string]string{"": {}, "more": nil}}
}

// put writes rows with short values, and with values that have files of their
// own.
func (f *fated) put(t *testing.T, prefix string) {
	t.Helper()
	for i := range 300 {
		k, v := fmt.Sprintf("%s%04d", prefix, i), strings.Repeat(prefix, 10)
		if i%10 == 0 {
			v = strings.Repeat(prefix, 300)
		}
		dbtest.Must(t, f.db.Put([]byte(k), []byte(v)))
		f.want[""][k] = v
	}
}

func (f *fated) reopen(t *testing.T, home string) {
	t.Helper()
	db, err := seerdb.Open(home, directoryOptions())
	dbtest.Must(t, err)
	f.db = db
	f.check(t)
	report, err := db.Verify(context.Background())
	if err != nil || !report.Clean() {
		t.Fatalf("Verify: %v, %v", report, err)
	}
	dbtest.Must(t, db.Close())
}

func (f *fated) check(t *testing.T) {
	t.Helper()
	got := map[string]string{}
	rows := f.db.Range(nil, nil)
	for k, v := range rows.All() {
		got[string(k)] = string(v)
	}
	dbtest.Must(t, rows.Err())
	if !maps.Equal(got, f.want[""]) {
		t.Fatalf("%d rows, or wrong ones; want %d", len(got), len(f.want[""]))
	}
	if want := f.want["more"]; want != nil {
		k, err := f.db.Keyspace("more", nil)
		dbtest.Must(t, err)
		for key, value := range want {
			if v, err := k.Get([]byte(key)); err != nil || string(v) != value {
				t.Fatalf("%s of the keyspace: %q, %v", key, v, err)
			}
		}
	}
}

func (f *fated) load(t *testing.T, prefix string, unsorted bool) {
	t.Helper()
	rows := map[string]string{}
	for i := range 400 {
		rows[fmt.Sprintf("%s%04d", prefix, i*7919%400)] = strings.Repeat("v", 1000)
	}
	keys := slices.Sorted(maps.Keys(rows))
	if unsorted {
		slices.Reverse(keys)
	}
	_, err := f.db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
		for _, k := range keys {
			if !yield([]byte(k), []byte(rows[k])) {
				return
			}
		}
	}, &seerdb.BulkOptions{Unsorted: unsorted})
	dbtest.Must(t, err)
	maps.Copy(f.want[""], rows)
}

var fateSteps = []struct {
	name string
	do   func(t *testing.T, f *fated)
}{
	{"puts", func(t *testing.T, f *fated) { f.put(t, "puts") }},
	{"reads", func(t *testing.T, f *fated) { f.check(t) }},
	{"flush", func(t *testing.T, f *fated) { dbtest.Must(t, f.db.Flush(context.Background())) }},
	{"compact", func(t *testing.T, f *fated) { dbtest.Must(t, f.db.Compact(context.Background(), nil, nil)) }},
	{"sorted load", func(t *testing.T, f *fated) { f.load(t, "sorted", false) }},
	{"unsorted load", func(t *testing.T, f *fated) { f.load(t, "unsorted", true) }},
	{"keyspace", func(t *testing.T, f *fated) {
		k, err := f.db.Keyspace("more", nil)
		dbtest.Must(t, err)
		dbtest.Must(t, k.Put([]byte("k"), []byte("v")))
		f.want["more"] = map[string]string{"k": "v"}
	}},
	{"overwritten and compacted", func(t *testing.T, f *fated) {
		f.put(t, "before")
		dbtest.Must(t, f.db.DeleteRange([]byte("sorted"), []byte("sorted0200")))
		for k := range f.want[""] {
			if k >= "sorted" && k < "sorted0200" {
				delete(f.want[""], k)
			}
		}
		dbtest.Must(t, f.db.Compact(context.Background(), nil, nil))
	}},
	{"verify", func(t *testing.T, f *fated) {
		report, err := f.db.Verify(context.Background())
		if err != nil || !report.Clean() {
			t.Fatalf("Verify: %v, %v", report, err)
		}
	}},
	{"last puts", func(t *testing.T, f *fated) { f.put(t, "last"); f.check(t) }},
}

// sameFiles returns a function that fails when a file of dir has changed.
func sameFiles(t *testing.T, dir string) func(step string) {
	t.Helper()
	before := directoryContent(t, dir)
	return func(step string) {
		t.Helper()
		after := directoryContent(t, dir)
		for name := range before {
			if after[name] != before[name] {
				t.Fatalf("%s changed or removed %s of another directory", step, name)
			}
			delete(after, name)
		}
		for name := range after {
			t.Fatalf("%s made %s in another directory", step, name)
		}
	}
}

// directoryContent is what the files of a directory hold, and when and how they
// were last changed.
func directoryContent(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	dbtest.Must(t, err)
	content := map[string]string{}
	for _, e := range entries {
		info, err := e.Info()
		dbtest.Must(t, err)
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		dbtest.Must(t, err)
		content[e.Name()] = fmt.Sprint(info.ModTime(), info.Mode(), string(b))
	}
	info, err := os.Stat(dir)
	dbtest.Must(t, err)
	content["."] = fmt.Sprint(info.ModTime(), info.Mode())
	return content
}

// A directory that is removed under a database gives errors that say so: no
// panic, and nothing waits for ever.
func TestDirectoryRemoved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file in use cannot be removed there")
	}
	for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.Relaxed, seerdb.NoWAL} {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "db")
			o := directoryOptions()
			o.Durability = d
			db, err := seerdb.Open(dir, o)
			dbtest.Must(t, err)
			dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
			dbtest.Must(t, db.Flush(context.Background()))
			dbtest.Must(t, db.Put([]byte("b"), []byte("2")))
			dbtest.Must(t, os.RemoveAll(dir))

			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			gone := func(what string, err error) {
				t.Helper()
				if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "was removed while it was open") {
					t.Errorf("%s: %v", what, err)
				}
			}
			gone("Flush", db.Flush(ctx))
			var refused error
			for i := 0; i < 10_000 && refused == nil; i++ {
				b := db.NewBatch()
				dbtest.Must(t, b.Put(fmt.Appendf(nil, "k%06d", i), make([]byte, 200)))
				refused = db.ApplyContext(ctx, b, d)
			}
			gone("Put", refused)
			if v, err := db.Get([]byte("b")); err != nil || string(v) != "2" {
				t.Errorf("Get: %q, %v", v, err)
			}
			if d == seerdb.NoWAL {
				gone("Close", db.Close())
			} else {
				_ = db.Close()
			}
			if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the directory is back: %v", err)
			}
		})
	}
}
