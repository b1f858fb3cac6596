package seerdb_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// What the wide model test found, one test each.

// TestVerifyCountsValuesThatExpireApart: Verify took values that lie apart and
// have an expiry for none, and reported every table with some as damaged.
func TestVerifyCountsValuesThatExpireApart(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	dbtest.Must(t, db.PutTTL([]byte("k"), bytes.Repeat([]byte("v"), 4<<10), time.Hour))
	dbtest.Must(t, db.Flush(context.Background()))
	if n := db.Metrics().IO.Values.Files; n != 1 {
		t.Fatalf("the value is in %d value files", n)
	}
	report, err := db.Verify(context.Background())
	dbtest.Must(t, err)
	if !report.Clean() {
		t.Fatal(report.Damage)
	}
}

// TestTableOfRangesAlone: a table of nothing but range tombstones, over another
// one, could not be opened.
func TestTableOfRangesAlone(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	dbtest.Must(t, db.Put([]byte("k"), []byte("v")))
	dbtest.Must(t, db.Flush(context.Background()))
	dbtest.Must(t, db.DeleteRange([]byte("a"), []byte("z")))
	dbtest.Must(t, db.Flush(context.Background()))
	if _, err := db.Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	if rows := dbtest.Contents(t, db); len(rows) != 0 {
		t.Fatal(rows)
	}
	dbtest.Must(t, db.Compact(context.Background(), nil, nil))
}

// TestClockSetBackAtReopen: Close forgot the time when it left everything in
// the log, and what had expired came back with a clock that was set back.
func TestClockSetBackAtReopen(t *testing.T) {
	fs := memfs.New()
	clock := dbtest.NewClock()
	o := dbtest.With(*dbtest.SmallOn(fs, seerdb.Sync), dbtest.TestOptions{FS: fs, Clock: clock.Now})
	db := dbtest.Open(t, "db", o)
	dbtest.Must(t, db.PutTTL([]byte("k"), []byte("v"), time.Second))
	clock.Add(time.Second)
	if _, err := db.Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	dbtest.Must(t, db.Close())
	clock.Add(-time.Minute)
	db = dbtest.Open(t, "db", o)
	if v, err := db.Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatalf("it is back: %q, %v", v, err)
	}
}
