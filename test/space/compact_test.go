package space

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestCompactLeavesFewFiles: what was flushed row by row is a table and a value
// file once it was compacted, though nothing overlaps and nothing is garbage.
func TestCompactLeavesFewFiles(t *testing.T) {
	fs := memfs.New()
	db := dbtest.Open(t, "db", dbtest.With(seerdb.Options{Durability: seerdb.NoWAL}, dbtest.TestOptions{FS: fs, ManualOnly: true}))
	const n = 300
	for i := range n {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%06d", i), make([]byte, 2048)))
		dbtest.Must(t, db.Flush(context.Background()))
		if i%30 == 29 { // they are in the last level by now, in tables of their own
			dbtest.Must(t, db.Compact(context.Background(), fmt.Appendf(nil, "key%06d", i-29), nil))
		}
	}
	dbtest.Must(t, db.Compact(context.Background(), nil, nil))
	settles(t, "one table and one value file", func() string {
		if tables, values := dataFiles(t, fs, "db"); tables > 1 || values > 1 {
			return fmt.Sprintf("%d tables, %d value files", tables, values)
		}
		return ""
	})
	rows := 0
	for range db.Range(nil, nil).All() {
		rows++
	}
	if rows != n {
		t.Errorf("%d rows", rows)
	}
	dbtest.Must(t, db.Close())
}

// TestCompactEndsBesideAWriter: Compact rewrites what was there when it began, each row of
// it passed to the filter, however fast others write.
func TestCompactEndsBesideAWriter(t *testing.T) {
	var asked sync.Map
	db := dbtest.Open(t, "db", dbtest.With(seerdb.Options{Durability: seerdb.NoWAL, MemtableSize: 64 << 10, TableSize: 32 << 10,
		CompactionFilter: func(key, _ []byte) (seerdb.FilterVerdict, []byte, error) {
			asked.Store(string(key), true)
			return seerdb.FilterKeep, nil, nil
		}}, dbtest.TestOptions{FS: memfs.New()}))
	const n = 4000
	value := make([]byte, 100)
	for _, i := range rand.Perm(n) {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "old%06d", i), value))
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		rnd := rand.New(rand.NewPCG(1, 2))
		for !stop.Load() {
			if err := db.Put(fmt.Appendf(nil, "old%06d new", rnd.IntN(n)), value); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 2 {
		// A compaction that began before the rows are forgotten may have asked about some, and
		// end after Compact has begun, as work that is done.
		settles(t, "no compaction that began before", func() string {
			asked.Clear()
			if n := db.Metrics().Compactions.Running; n > 0 {
				return fmt.Sprintf("%d run", n)
			}
			return ""
		})
		before := db.Metrics()
		dbtest.Must(t, db.Compact(context.Background(), nil, nil))
		after := db.Metrics()
		tables := 0
		for _, l := range before.Levels {
			tables += l.Files
		}
		if jobs := after.CompactionsByReason["manual"] - before.CompactionsByReason["manual"]; jobs > int64(tables)+4 {
			t.Errorf("%d jobs for %d tables that were there", jobs, tables)
		}
		for i := range n {
			if _, ok := asked.Load(fmt.Sprintf("old%06d", i)); !ok {
				t.Fatalf("the filter was not asked about row %d", i)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	dbtest.Must(t, db.Close())
}

// TestCompactHoldsUpNoOtherKeyspace: during a Compact, which may take hours, other
// keyspaces are compacted as usual.
func TestCompactHoldsUpNoOtherKeyspace(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	db := dbtest.Open(t, "db", dbtest.With(seerdb.Options{Durability: seerdb.NoWAL, MemtableSize: 64 << 10, TableSize: 32 << 10,
		CompactionFilter: func(_, _ []byte) (seerdb.FilterVerdict, []byte, error) {
			once.Do(func() { close(entered); <-leave })
			return seerdb.FilterKeep, nil, nil
		}}, dbtest.TestOptions{FS: memfs.New()}))
	dbtest.Must(t, db.Put([]byte("k"), nil))
	other, err := db.Keyspace("other", nil)
	dbtest.Must(t, err)
	done := make(chan error)
	go func() { done <- db.Compact(context.Background(), nil, nil) }()
	<-entered
	compactions := func() int64 { return db.Metrics().Compactions.Count }
	before := compactions()
	for i := range uint64(20_000) {
		dbtest.Must(t, other.Put(binary.BigEndian.AppendUint64(nil, i%1000), make([]byte, 100)))
	}
	settles(t, "a compaction of the other keyspace", func() string {
		if n := compactions(); n <= before {
			return fmt.Sprintf("%d of %d", n, before)
		}
		return ""
	})
	close(leave)
	dbtest.Must(t, <-done)
	dbtest.Must(t, db.Close())
}
