package crash

// This file holds logs that were made and never used.

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// TestDiscardedLogThatStays: a log whose header found no room is given up, and
// its file cannot be removed, as on a full file system that copies on write. The
// log after it follows the one before it, and a kill loses nothing.
func TestDiscardedLogThatStays(t *testing.T) {
	for name, after := range map[string]bool{"no header": false, "a header": true} {
		t.Run(name, func(t *testing.T) { discardedLogStays(t, after) })
	}
}

// discardedLogStays is the test; after says that the header is written before the
// error comes.
func discardedLogStays(t *testing.T, after bool) {
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.Durability, to.ManualOnly = seerdb.Sync, true
	})
	r.Inject(faultfs.OpCreate, "*.sst", errors.New("no tables today"))
	n := 0
	put := func() error {
		err := r.DB.Put(fmt.Appendf(nil, "key%06d", n), make([]byte, 100))
		if err == nil {
			n++
		}
		return err
	}
	ahead := func() (names []string) {
		for _, name := range r.Files(".wal") {
			if info, err := r.Mem.Stat("db/" + name); err == nil && info.Size() == 0 {
				names = append(names, name)
			}
		}
		return names
	}
	for deadline := time.Now().Add(10 * time.Second); len(ahead()) == 0; time.Sleep(time.Millisecond) {
		dbtest.Must(t, put())
		if time.Now().After(deadline) {
			t.Fatal("no log was made ahead")
		}
	}
	lost := ahead()[0]
	full := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: lost, Err: syscall.ENOSPC, After: after})
	stays := r.Inject(faultfs.OpRemove, lost, syscall.ENOSPC)
	for put() == nil {
	}
	if full.Count() != 1 || stays.Count() != 1 {
		t.Fatalf("%d writes and %d removals failed", full.Count(), stays.Count())
	}
	r.Fault.Clear()
	r.Inject(faultfs.OpCreate, "*.sst", errors.New("no tables today"))
	for len(r.Files(".wal")) < 4 {
		dbtest.Must(t, put())
	}
	dbtest.Must(t, put())
	whole := r.Crash(1)
	for i := range n {
		if _, err := whole.DB.Get(fmt.Appendf(nil, "key%06d", i)); err != nil {
			t.Fatalf("row %d of %d acknowledged ones: %v", i, n, err)
		}
	}
	if names := strings.Join(whole.Files(".wal"), " "); strings.Contains(names, lost) {
		t.Errorf("after Open there is still %s in %s", lost, names)
	}
}
