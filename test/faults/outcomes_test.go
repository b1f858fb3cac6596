package faults

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

// writes are the public operations that change the database, each once.
func writes(db *seerdb.DB) map[string]func() error {
	ctx := context.Background()
	return map[string]func() error{
		"Put":         func() error { return db.Put([]byte("k"), []byte("v")) },
		"Delete":      func() error { return db.Delete([]byte("k")) },
		"DeleteRange": func() error { return db.DeleteRange([]byte("k"), []byte("l")) },
		"PutIfAbsent": func() error { _, err := db.PutIfAbsent([]byte("absent"), []byte("v")); return err },
		"Apply": func() error {
			b := db.NewBatch()
			_ = b.Put([]byte("b"), nil)
			return db.Apply(b, seerdb.DefaultDurability)
		},
		"Update":   func() error { return db.Update(ctx, func(x *seerdb.Txn) error { return x.Put([]byte("t"), nil) }) },
		"Sync":     db.Sync,
		"Flush":    func() error { return db.Flush(ctx) },
		"Compact":  func() error { return db.Compact(ctx, nil, nil) },
		"Keyspace": func() error { _, err := db.Keyspace("new", nil); return err },
		"BulkLoad": func() error {
			_, err := db.BulkLoad(ctx, func(yield func(k, v []byte) bool) { yield([]byte("l"), []byte("v")) }, nil)
			return err
		},
	}
}

// TestRefusedCommitsAreDefinite: when the log or the manifest fails, the outcome
// of the commits that were in flight is unknown. All that is refused afterwards,
// Close included, is refused for certain; and though the cause may have the errno
// of a full disk, it does not go away like one.
func TestRefusedCommitsAreDefinite(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for what, rule := range map[string]faultfs.Rule{
			"sync of the log":      {Op: faultfs.OpSync, Path: "*.wal"},
			"write of the log":     {Op: faultfs.OpWrite, Path: "*.wal"},
			"sync of the manifest": {Op: faultfs.OpSync, Path: "MANIFEST-*"},
		} {
			if rule.Op == faultfs.OpWrite && errno == syscall.ENOSPC {
				continue // is no failure of the log
			}
			t.Run(fmt.Sprint(what, ", ", errno), func(t *testing.T) {
				r := dbtest.NewRig(t, dbtest.Quiet)
				r.Put("before=1")
				rule.Err = errno
				fired := r.Fault.Inject(rule)
				var err error
				if rule.Path == "*.wal" {
					err = r.DB.Put([]byte("during"), nil)
				} else {
					err = r.Flush()
				}
				if inFlight := rule.Path == "*.wal"; errors.Is(err, seerdb.ErrCommitUnknown) != inFlight || !errors.Is(err, errno) || fired.Count() == 0 {
					t.Fatalf("what met the failure: %v", err)
				}
				r.Fault.Clear() // that it works again is no proof of anything
				definite := func(name string, err error) {
					if !errors.Is(err, seerdb.ErrReadOnly) || !errors.Is(err, errno) ||
						errors.Is(err, seerdb.ErrCommitUnknown) || errors.Is(err, seerdb.ErrNoSpace) {
						t.Errorf("%s: %v", name, err)
					}
				}
				for name, call := range writes(r.DB) {
					definite(name, call())
				}
				if h := r.DB.Health(); h.Status != observe.ReadOnly {
					t.Errorf("health: %+v", h)
				} else {
					definite("Health", h.Err)
				}
				r.Want("before=1")
				definite("Close", r.DB.Close())
			})
		}
	}
}

// TestFullDiskIsNamedByAllWhoMeetIt: whichever file does not fit, what an
// operation on a full disk returns is ErrNoSpace, and Health says what commits
// would meet.
func TestFullDiskIsNamedByAllWhoMeetIt(t *testing.T) {
	for _, rule := range []faultfs.Rule{
		{Op: faultfs.OpWrite, Path: "*.sst"}, {Op: faultfs.OpCreate, Path: "*.sst"}, {Op: faultfs.OpSync, Path: "*.sst"},
		{Op: faultfs.OpWrite, Path: "*.val"}, {Op: faultfs.OpCreate, Path: "*.wal"}, {Op: faultfs.OpWrite, Path: "*.wal"},
		{Op: faultfs.OpWrite, Path: "MANIFEST-*"},
	} {
		for _, errno := range []error{syscall.ENOSPC, syscall.EDQUOT} {
			t.Run(fmt.Sprint(rule.Path, " ", rule.Op, " ", errno), func(t *testing.T) {
				r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
					o.MemtableSize, o.ValueThreshold, o.Durability = 4<<10, 64, seerdb.Buffered
				})
				r.Put("before=1")
				rule.Err = errno
				fired := r.Fault.Inject(rule)
				var err error
				for i := 0; err == nil && i < 1000; i++ {
					err = r.DB.Put(fmt.Appendf(nil, "k%03d", i), make([]byte, 100))
				}
				if !errors.Is(err, seerdb.ErrNoSpace) || !errors.Is(err, errno) || errors.Is(err, seerdb.ErrReadOnly) || fired.Count() == 0 {
					t.Fatalf("a commit: %v", err)
				}
				if h := r.DB.Health(); h.Status == observe.OK || !errors.Is(h.Err, seerdb.ErrNoSpace) {
					t.Errorf("health: %+v", h)
				}
				if err := r.Flush(); !errors.Is(err, seerdb.ErrNoSpace) {
					t.Errorf("flush: %v", err)
				}
				if _, err := r.DB.Get([]byte("before")); err != nil {
					t.Errorf("get: %v", err)
				}
			})
		}
	}
}

// TestOpenOnFullDiskIsNamed: what does not fit while a database is opened, or
// made, is ErrNoSpace too.
func TestOpenOnFullDiskIsNamed(t *testing.T) {
	for _, rule := range []faultfs.Rule{
		{Op: faultfs.OpWrite, Path: "*.wal"}, {Op: faultfs.OpCreate, Path: "*.wal"}, {Op: faultfs.OpWrite, Path: "MANIFEST-*"},
		{Op: faultfs.OpCreate, Path: "*.tmp"}, {Op: faultfs.OpRename}, {Op: faultfs.OpLock},
	} {
		for _, fresh := range []bool{false, true} {
			t.Run(fmt.Sprint(rule.Path, " ", rule.Op, " new ", fresh), func(t *testing.T) {
				r := dbtest.NewRig(t, dbtest.Quiet)
				r.Put("a=1")
				disk := r.Disk(1)
				if fresh {
					disk.Mem = memfs.New()
				}
				fault := faultfs.New(disk.Mem)
				rule.Err = syscall.ENOSPC
				fired := fault.Inject(rule)
				to := disk.Test
				to.FS = fault
				if _, err := seerdb.Open("db", dbtest.With(disk.Options, to)); !errors.Is(err, seerdb.ErrNoSpace) || fired.Count() == 0 {
					t.Fatalf("open: %v", err)
				}
				if disk.Open(); !fresh {
					disk.Want("a=1")
				}
			})
		}
	}
}
