package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

func TestPutGetFlushReopen(t *testing.T) {
	fs := memfs.New()
	o := dbtest.With(seerdb.Options{}, dbtest.TestOptions{FS: fs})
	db, err := seerdb.Open("db", o)
	dbtest.Must(t, err)
	ctx := context.Background()
	for i := range 1000 {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%04d", i), fmt.Appendf(nil, "value %d", i)))
		if i == 500 {
			dbtest.Must(t, db.Flush(ctx))
		}
	}
	dbtest.Must(t, db.Delete([]byte("key0007")))
	check := func(db *seerdb.DB) {
		t.Helper()
		if v, err := db.Get([]byte("key0123")); err != nil || string(v) != "value 123" {
			t.Fatalf("got %q, %v", v, err)
		}
		if _, err := db.Get([]byte("key0007")); !errors.Is(err, seerdb.ErrNotFound) {
			t.Fatalf("deleted key: %v", err)
		}
		if n := len(dbtest.Contents(t, db)); n != 999 {
			t.Fatalf("%d rows", n)
		}
	}
	check(db)
	dbtest.Must(t, db.Flush(ctx))
	check(db)
	dbtest.Must(t, db.Compact(ctx, nil, nil))
	check(db)
	dbtest.Must(t, db.Close())
	db = dbtest.Open(t, "db", o)
	check(db)
	r, err := db.Verify(ctx)
	dbtest.Must(t, err)
	if !r.Clean() {
		t.Fatal(r.Damage)
	}
}
