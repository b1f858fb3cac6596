package seerdb_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// What the wide model test found, one test each.

// TestVerifyCountsValuesThatExpireApart: Verify took values that lie apart and
// have an expiry for none, and reported every table with some as damaged.
func TestVerifyCountsValuesThatExpireApart(t *testing.T) {
	db := open(t, "db", smallOn(memfs.New(), seerdb.Sync))
	must(t, db.PutTTL([]byte("k"), bytes.Repeat([]byte("v"), 4<<10), time.Hour))
	must(t, db.Flush(context.Background()))
	if n := db.Metrics().IO.Values.Files; n != 1 {
		t.Fatalf("the value is in %d value files", n)
	}
	report, err := db.Verify(context.Background())
	must(t, err)
	if !report.Clean() {
		t.Fatal(report.Damage)
	}
}

// TestTableOfRangesAlone: a table of nothing but range tombstones, over another
// one, could not be opened.
func TestTableOfRangesAlone(t *testing.T) {
	db := open(t, "db", smallOn(memfs.New(), seerdb.Sync))
	must(t, db.Put([]byte("k"), []byte("v")))
	must(t, db.Flush(context.Background()))
	must(t, db.DeleteRange([]byte("a"), []byte("z")))
	must(t, db.Flush(context.Background()))
	if _, err := db.Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	if rows := contents(t, db); len(rows) != 0 {
		t.Fatal(rows)
	}
	must(t, db.Compact(context.Background(), nil, nil))
}

// TestClockSetBackAtReopen: Close forgot the time when it left everything in
// the log, and what had expired came back with a clock that was set back.
func TestClockSetBackAtReopen(t *testing.T) {
	fs := memfs.New()
	clock := newWideClock()
	o := smallOn(fs, seerdb.Sync).With(seerdb.TestOptions{FS: fs, Clock: clock.now})
	db := open(t, "db", o)
	must(t, db.PutTTL([]byte("k"), []byte("v"), time.Second))
	clock.add(time.Second)
	if _, err := db.Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	must(t, db.Close())
	clock.add(-time.Minute)
	db = open(t, "db", o)
	if v, err := db.Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatalf("it is back: %q, %v", v, err)
	}
}
