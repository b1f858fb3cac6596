package space

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

var joinFlushes = flag.Int("join.flushes", 400, "flushes of TestTinyFlushesLeaveFewFiles, of one row each")

// dataFiles counts the tables and the value files of a database.
func dataFiles(t *testing.T, fs vfs.FS, dir string) (tables, values int) {
	t.Helper()
	names, err := fs.List(dir)
	dbtest.Must(t, err)
	for _, name := range names {
		switch kind, _, _ := base.ParseFileName(name); kind {
		case base.FileTypeTable:
			tables++
		case base.FileTypeValues:
			values++
		}
	}
	return tables, values
}

// TestTinyFlushesLeaveFewFiles: a database that is flushed after every row, as a
// program does that runs once a minute, stays one of few files, whether the
// values are in the tables or apart. It uses the default sizes.
func TestTinyFlushesLeaveFewFiles(t *testing.T) {
	n := *joinFlushes
	if testing.Short() {
		n = min(n, 150)
	}
	for name, size := range map[string]int{"inline": 100, "apart": 2048} {
		for order, key := range map[string]func(i int) uint64{
			"ascending": func(i int) uint64 { return uint64(i) },
			"scattered": func(i int) uint64 { return uint64(i) * 0x9E3779B97F4A7C15 },
		} {
			t.Run(name+" "+order, func(t *testing.T) {
				fs := memfs.New()
				db := dbtest.Open(t, "db", dbtest.With(seerdb.Options{Durability: seerdb.NoWAL}, dbtest.TestOptions{FS: fs}))
				value := make([]byte, size)
				most := 0
				for i := range n {
					binary.BigEndian.PutUint64(value, uint64(i))
					dbtest.Must(t, db.Put(binary.BigEndian.AppendUint64(nil, key(i)), value))
					dbtest.Must(t, db.Flush(context.Background()))
					if i%100 == 99 {
						tables, values := dataFiles(t, fs, "db")
						most = max(most, tables+values)
					}
				}
				if m := db.Metrics(); m.Compactions.BytesOut > 15*m.Flushes.BytesOut {
					t.Errorf("flushes wrote %d bytes, compactions %d, by reason %v", m.Flushes.BytesOut, m.Compactions.BytesOut, m.CompactionsByReason)
				}
				if most > 200 {
					t.Errorf("%d files", most)
				}
				settles(t, "at most 60 files", func() string {
					if tables, values := dataFiles(t, fs, "db"); tables+values > 60 {
						return fmt.Sprintf("%d tables, %d value files", tables, values)
					}
					return ""
				})
				for i := range n {
					got, err := db.Get(binary.BigEndian.AppendUint64(nil, key(i)))
					if err != nil || len(got) != size || binary.BigEndian.Uint64(got) != uint64(i) {
						t.Fatalf("row %d: %d bytes, %v", i, len(got), err)
					}
				}
				if report, err := db.Verify(context.Background()); err != nil || !report.Clean() {
					t.Errorf("%v, %v", report, err)
				}
				dbtest.Must(t, db.Close())
			})
		}
	}
}

// TestJoinsOfWhatCompressesWellEnd: tables that end before they are large, since what
// waits to be compressed counts in full, are joined once and not again and again.
func TestJoinsOfWhatCompressesWellEnd(t *testing.T) {
	fs := memfs.New()
	db := dbtest.Open(t, "db", dbtest.With(seerdb.Options{
		Durability: seerdb.NoWAL, MemtableSize: 128 << 10, TableSize: 64 << 10, MemoryBudget: 8 << 20,
	}, dbtest.TestOptions{FS: fs}))
	value := make([]byte, 800)
	for i := range 4000 {
		dbtest.Must(t, db.Put(binary.BigEndian.AppendUint64(nil, uint64(i)), value))
	}
	dbtest.Must(t, db.Flush(context.Background()))
	settles(t, "no compaction in half a second", func() string {
		before := db.Metrics().Compactions
		time.Sleep(500 * time.Millisecond)
		if after := db.Metrics().Compactions; after != before {
			return fmt.Sprintf("%d compactions, before it %d", after.Count, before.Count)
		}
		return ""
	})
	if tables, _ := dataFiles(t, fs, "db"); tables > 15 {
		t.Errorf("%d tables", tables)
	}
	dbtest.Must(t, db.Compact(context.Background(), nil, nil))
	if tables, _ := dataFiles(t, fs, "db"); tables > 5 {
		t.Errorf("%d tables after Compact", tables)
	}
	dbtest.Must(t, db.Close())
}

// settles waits until a state that background jobs work towards is reached.
func settles(t *testing.T, what string, missing func() string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		m := missing()
		if m == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %s", what, m)
		}
	}
}
