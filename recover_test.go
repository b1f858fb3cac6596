package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// A log that is still needed and gone is damage: replaying only its successor
// would be a hole in history.
func TestMissingLogIsRefused(t *testing.T) {
	fs := memfs.New()
	fault := faultfs.New(fs)
	db, err := seerdb.Open("db", smallOn(fault, seerdb.Sync))
	must(t, err)
	fault.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Err: errors.New("no tables today")})
	for i := 0; ; i++ {
		if err := db.Put(fmt.Appendf(nil, "key%06d", i), make([]byte, 100)); err != nil {
			break // every memtable is full, none was flushed
		}
	}
	disk := fs.CrashClone(memfs.CrashOptions{})
	_ = db.Close()
	names, err := disk.List("db")
	must(t, err)
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
		must(t, broken.Remove("db/"+missing))
		_, err := seerdb.Open("db", smallOn(broken, seerdb.Sync))
		var c *seerdb.CorruptionError
		if !errors.As(err, &c) || c.File != missing {
			t.Fatalf("opened without %s: %v", missing, err)
		}
	}
	must(t, open(t, "db", smallOn(disk, seerdb.Sync)).Put([]byte("whole"), nil))
}

// TestMissingOnlyLogIsRefused: with a single log no successor remembers it; the
// manifest does.
func TestMissingOnlyLogIsRefused(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.NoWAL} {
		fs := memfs.New()
		db := open(t, "db", smallOn(fs, d))
		must(t, db.Put([]byte("flushed"), nil))
		must(t, db.Flush(context.Background()))
		must(t, db.Put([]byte("logged"), nil))
		must(t, db.Close())
		names, err := fs.List("db")
		must(t, err)
		logs := slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".wal") })
		if len(logs) != 1 {
			t.Fatalf("%v: logs: %v", d, logs)
		}
		must(t, fs.Remove("db/"+logs[0]))
		_, err = seerdb.Open("db", smallOn(fs, d))
		var c *seerdb.CorruptionError
		if !errors.As(err, &c) || c.File != logs[0] {
			t.Fatalf("%v: opened without its log: %v", d, err)
		}
	}
}
