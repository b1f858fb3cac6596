package dbtest

import (
	"fmt"
	"path"
	"runtime/debug"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Open opens a database for a test, and closes it when the test ends.
func Open(t testing.TB, dir string, o *seerdb.Options) *seerdb.DB {
	t.Helper()
	db, err := seerdb.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Must ends the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Contents returns a database as "key=value" lines in ascending order, after
// checking that backward iteration returns the same.
func Contents(t testing.TB, db interface {
	Range(lo, hi []byte) *seerdb.Rows
}) []string {
	t.Helper()
	var fwd, back []string
	rows := db.Range(nil, nil)
	for k, v := range rows.All() {
		fwd = append(fwd, fmt.Sprintf("%s=%s", k, v))
	}
	Must(t, rows.Err())
	for k, v := range rows.Backward() {
		back = append(back, fmt.Sprintf("%s=%s", k, v))
	}
	Must(t, rows.Err())
	for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
		back[i], back[j] = back[j], back[i]
	}
	if d := cmp.Diff(fwd, back); d != "" {
		t.Fatalf("backward differs from forward:\n%s", d)
	}
	return fwd
}

// Keyspace opens a keyspace with the database's options.
func Keyspace(t testing.TB, db *seerdb.DB, name string) *seerdb.Keyspace {
	t.Helper()
	k, err := db.Keyspace(name, nil)
	Must(t, err)
	return k
}

// Begin begins a transaction, which is rolled back when the test ends.
func Begin(t *testing.T, db *seerdb.DB, o *seerdb.TxnOptions) *seerdb.Txn {
	t.Helper()
	x, err := db.Begin(o)
	Must(t, err)
	t.Cleanup(x.Rollback)
	return x
}

// Reader has the methods that DB and Snapshot share.
type Reader interface {
	AppendGet(dst, key []byte) ([]byte, error)
	Has(key []byte) (bool, error)
	NewIter(*seerdb.IterOptions) (*seerdb.Iter, error)
}

// Tree has the methods that a database and a keyspace share.
type Tree interface {
	Reader
	Put(key, value []byte) error
	Delete(key []byte) error
	Range(lo, hi []byte) *seerdb.Rows
}

// Eventually waits for a condition that a background job makes true.
func Eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", within, what)
		}
	}
}

// Async runs f in a goroutine.
func Async(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// WantText compares two texts.
func WantText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// Allocs returns how many allocations f makes, on average over many calls.
func Allocs(t *testing.T, f func()) float64 {
	t.Helper()
	if RaceEnabled {
		t.Skip("the race detector allocates")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // so that pools keep their content
	f()
	return testing.AllocsPerRun(300, f)
}

// LiveFiles returns the names in the directory, once it has only live files. A
// replaced file is removed when its last reader ends, so that may take a
// moment.
func LiveFiles(t testing.TB, db *seerdb.DB, fs vfs.FS) (names []string) {
	t.Helper()
	Eventually(t, 10*time.Second, "only live files are in the directory", func() bool {
		var err error
		names, err = fs.List("db")
		Must(t, err)
		n := map[string]int{}
		for _, name := range names {
			n[path.Ext(name)]++
		}
		m := db.Metrics()
		return n[".sst"]+n[".pack"] == m.IO.Tables.Files && n[".val"] == m.IO.Values.Files && n[".wal"] == m.Log.Segments && n[".tmp"] == 0
	})
	return names
}

// TableFiles is a pattern of files that contain tables, packs included.
const TableFiles = "*.[sp]*"
