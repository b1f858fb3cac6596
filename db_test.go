package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// open opens a database for a test and closes it at its end.
func open(t testing.TB, dir string, o *seerdb.Options) *seerdb.DB {
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// contents lists a database as "key=value" lines, forward, after checking
// that backward gives the same.
func contents(t testing.TB, db interface {
	Range(lo, hi []byte) *seerdb.Rows
}) []string {
	t.Helper()
	var fwd, back []string
	rows := db.Range(nil, nil)
	for k, v := range rows.All() {
		fwd = append(fwd, fmt.Sprintf("%s=%s", k, v))
	}
	must(t, rows.Err())
	for k, v := range rows.Backward() {
		back = append(back, fmt.Sprintf("%s=%s", k, v))
	}
	must(t, rows.Err())
	for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
		back[i], back[j] = back[j], back[i]
	}
	if d := cmp.Diff(fwd, back); d != "" {
		t.Fatalf("backward differs from forward:\n%s", d)
	}
	return fwd
}

func TestPutGetFlushReopen(t *testing.T) {
	fs := memfs.New()
	o := seerdb.Options{}.With(seerdb.TestOptions{FS: fs})
	db, err := seerdb.Open("db", o)
	must(t, err)
	ctx := context.Background()
	for i := range 1000 {
		must(t, db.Put(fmt.Appendf(nil, "key%04d", i), fmt.Appendf(nil, "value %d", i)))
		if i == 500 {
			must(t, db.Flush(ctx))
		}
	}
	must(t, db.Delete([]byte("key0007")))
	check := func(db *seerdb.DB) {
		t.Helper()
		if v, err := db.Get([]byte("key0123")); err != nil || string(v) != "value 123" {
			t.Fatalf("got %q, %v", v, err)
		}
		if _, err := db.Get([]byte("key0007")); !errors.Is(err, seerdb.ErrNotFound) {
			t.Fatalf("deleted key: %v", err)
		}
		if n := len(contents(t, db)); n != 999 {
			t.Fatalf("%d rows", n)
		}
	}
	check(db)
	must(t, db.Flush(ctx))
	check(db)
	must(t, db.Compact(ctx, nil, nil))
	check(db)
	must(t, db.Close())
	db = open(t, "db", o)
	check(db)
	r, err := db.Verify(ctx)
	must(t, err)
	if !r.Clean() {
		t.Fatal(r.Damage)
	}
}
