package files

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// A log that is still needed and gone is damage: replaying only its successor
// would be a hole in history.
func TestMissingLogIsRefused(t *testing.T) {
	fs := memfs.New()
	fault := faultfs.New(fs)
	db, err := seerdb.Open("db", dbtest.SmallOn(fault, seerdb.Sync))
	dbtest.Must(t, err)
	fault.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Err: errors.New("no tables today")})
	for i := 0; ; i++ {
		if err := db.Put(fmt.Appendf(nil, "key%06d", i), make([]byte, 100)); err != nil {
			break // every memtable is full, none was flushed
		}
	}
	disk := fs.CrashClone(memfs.CrashOptions{})
	_ = db.Close()
	names, err := disk.List("db")
	dbtest.Must(t, err)
	var logs []string
	for _, n := range names {
		if info, err := disk.Stat("db/" + n); strings.HasSuffix(n, ".wal") && err == nil && info.Size() > 0 {
			logs = append(logs, n) // but for one that was made ahead
		}
	}
	if len(logs) < 3 {
		t.Fatalf("logs: %v", logs)
	}
	for _, missing := range logs[:len(logs)-1] {
		broken := disk.CrashClone(memfs.CrashOptions{})
		dbtest.Must(t, broken.Remove("db/"+missing))
		_, err := seerdb.Open("db", dbtest.SmallOn(broken, seerdb.Sync))
		var c *seerdb.CorruptionError
		if !errors.As(err, &c) || c.File != missing {
			t.Fatalf("opened without %s: %v", missing, err)
		}
	}
	dbtest.Must(t, dbtest.Open(t, "db", dbtest.SmallOn(disk, seerdb.Sync)).Put([]byte("whole"), nil))
}

// TestMissingOnlyLogIsRefused: with a single log no successor remembers it; the
// manifest does.
func TestMissingOnlyLogIsRefused(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.NoWAL} {
		fs := memfs.New()
		db := dbtest.Open(t, "db", dbtest.SmallOn(fs, d))
		dbtest.Must(t, db.Put([]byte("flushed"), nil))
		dbtest.Must(t, db.Flush(context.Background()))
		dbtest.Must(t, db.Put([]byte("logged"), nil))
		dbtest.Must(t, db.Close())
		names, err := fs.List("db")
		dbtest.Must(t, err)
		logs := slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".wal") })
		if len(logs) != 1 {
			t.Fatalf("%v: logs: %v", d, logs)
		}
		dbtest.Must(t, fs.Remove("db/"+logs[0]))
		_, err = seerdb.Open("db", dbtest.SmallOn(fs, d))
		var c *seerdb.CorruptionError
		if !errors.As(err, &c) || c.File != logs[0] {
			t.Fatalf("%v: opened without its log: %v", d, err)
		}
	}
}
