package api

import (
	"errors"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// Keyspaces that are created without a sync.

// TestCloseSaysThatKeyspacesAreNotDurable: Close promises those that were created,
// and fails if it cannot keep that.
func TestCloseSaysThatKeyspacesAreNotDurable(t *testing.T) {
	fault := faultfs.New(memfs.New())
	db, err := seerdb.Open("db", dbtest.With(seerdb.Options{Durability: seerdb.Buffered}, dbtest.TestOptions{FS: fault}))
	dbtest.Must(t, err)
	dbtest.Keyspace(t, db, "new")
	fired := fault.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "MANIFEST-*", Err: syscall.EIO})
	err = db.Close()
	if fired.Count() == 0 {
		t.Fatal("Close did not sync the manifest")
	}
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("Close: %v", err)
	}
}
