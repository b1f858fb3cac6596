//go:build unix

package cost

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

var modelOps = flag.Int("model.ops", 0, "with it, TestMoreTablesThanDescriptors makes 20,000 tables")

func init() { dbtest.ChildJobs["descriptors"] = moreTables }

// moreTables reads a database of so many tables, with so few descriptors for the
// whole process, as the environment says.
func moreTables(dir string) error {
	number := func(name string) int { n, _ := strconv.Atoi(os.Getenv(name)); return n }
	tables, limit := number("TABLES"), number("DESCRIPTORS")
	var r syscall.Rlimit
	dbtest.SetLimit(&r.Cur, limit)
	dbtest.SetLimit(&r.Max, limit)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return err
	}
	db, err := seerdb.Open(dir, dbtest.With(seerdb.Options{Durability: seerdb.NoWAL}, dbtest.TestOptions{ManualOnly: true}))
	if err != nil {
		return err
	}
	defer db.Close()
	for range tables {
		i := rand.IntN(tables)
		if v, err := db.Get(tableKey(i)); err != nil || string(v) != tableValue {
			return fmt.Errorf("key %d: %d bytes, %w", i, len(v), err)
		}
	}
	if err := db.Put(tableKey(0), []byte(tableValue)); err != nil {
		return err
	}
	if err := db.Flush(context.Background()); err != nil {
		return err
	}
	rows := db.Range(nil, nil)
	n := 0
	for range rows.All() {
		n++
	}
	report, err := db.Verify(context.Background())
	switch m := db.Metrics(); {
	case rows.Err() != nil || n != tables:
		return fmt.Errorf("%d rows of %d, %w", n, tables, rows.Err())
	case err != nil || !report.Clean() || report.Tables < tables:
		return fmt.Errorf("%d tables, damage %v, %w", report.Tables, report.Damage, err)
	case m.Files.Open > limit || m.Files.Refusals > 0 || m.Files.Closes == 0:
		return fmt.Errorf("files: %+v", m.Files)
	}
	return nil
}

func tableKey(i int) []byte { return fmt.Appendf(nil, "key%08d", i) }

var tableValue = strings.Repeat("v", 400)

// makeTables makes a database with a table for each row. It is made in memory
// and copied, since nothing here is about syncing files.
func makeTables(t *testing.T, dir string, n int) {
	mem := memfs.New()
	o := seerdb.Options{Durability: seerdb.NoWAL, TableSize: 256, ValueThreshold: -1}
	db, err := seerdb.Open("db", dbtest.With(o, dbtest.TestOptions{FS: mem, ManualOnly: true}))
	dbtest.Must(t, err)
	_, err = db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
		for i := range n {
			if !yield(tableKey(i), []byte(tableValue)) {
				return
			}
		}
	}, nil)
	dbtest.Must(t, err)
	dbtest.Must(t, db.Close())
	names, err := mem.List("db")
	dbtest.Must(t, err)
	for _, name := range names {
		f, err := mem.Open("db/" + name)
		dbtest.Must(t, err)
		size, err := f.Size()
		dbtest.Must(t, err)
		b := make([]byte, size)
		_, err = f.ReadAt(b, 0)
		dbtest.Must(t, err)
		dbtest.Must(t, f.Close())
		dbtest.Must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
}

// TestMoreTablesThanDescriptors reads at random what lies in many more tables
// than the process may have files open.
func TestMoreTablesThanDescriptors(t *testing.T) {
	tables := 2000
	switch {
	case testing.Short():
		tables = 500
	case *modelOps > 0:
		tables = 20000
	}
	dir := t.TempDir()
	makeTables(t, dir, tables)
	for _, limit := range []int{64, 256} {
		out, err := dbtest.Child(t, "descriptors", dir, fmt.Sprintf("TABLES=%d", tables), fmt.Sprintf("DESCRIPTORS=%d", limit)).CombinedOutput()
		if err != nil {
			t.Errorf("%d tables with %d descriptors: %v\n%s", tables, limit, err, out)
		}
	}
}
