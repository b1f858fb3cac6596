package seerdb_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// manyTables is a database with tables in so many keyspaces besides the default
// one.
func manyTables(tb testing.TB, n int) *seerdb.DB {
	o := seerdb.Options{Durability: seerdb.Relaxed}
	db, err := seerdb.Open("db", dbtest.With(o, dbtest.TestOptions{FS: memfs.New(), ManualOnly: true}))
	dbtest.Must(tb, err)
	tb.Cleanup(func() { _ = db.Close() })
	for i := range n {
		k, err := db.Keyspace(fmt.Sprintf("space%05d", i), nil)
		dbtest.Must(tb, err)
		dbtest.Must(tb, k.Put([]byte("k"), []byte("v")))
	}
	dbtest.Must(tb, db.Flush(context.Background()))
	return db
}

// smallCompaction flushes twice, and compacts what that made.
func smallCompaction(tb testing.TB, db *seerdb.DB) {
	for range 2 {
		dbtest.Must(tb, db.Put([]byte("k"), []byte("v")))
		dbtest.Must(tb, db.Flush(context.Background()))
	}
	dbtest.Must(tb, db.Compact(context.Background(), nil, nil))
}

// BenchmarkSmallCompaction: what two flushes and a compaction of a few bytes
// cost beside the tables of many other keyspaces.
func BenchmarkSmallCompaction(b *testing.B) {
	for _, n := range []int{0, 1000, 4000, 10_000} {
		b.Run(fmt.Sprintf("keyspaces=%d", n), func(b *testing.B) {
			db := manyTables(b, n)
			for b.Loop() {
				smallCompaction(b, db)
			}
		})
	}
}

// TestJobsLeaveOtherKeyspacesAlone: a job makes anew what is known of the
// keyspaces that it works on, and but a few words for each of the others.
func TestJobsLeaveOtherKeyspacesAlone(t *testing.T) {
	const n = 2000
	bytes := func(db *seerdb.DB) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 10 {
			smallCompaction(t, db)
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / 10
	}
	alone, among := bytes(manyTables(t, 0)), bytes(manyTables(t, n))
	t.Logf("%d bytes alone, %d among %d", alone, among, n)
	// Three edits, each of which copies two pointers and a number for each, and
	// the file system in memory copies its directory. When versions and views
	// were made anew it was 5,252.
	if more := (int64(among) - int64(alone)) / n; more > 600 {
		t.Errorf("%d bytes for each of the other keyspaces", more)
	}
}
