//go:build unix

package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// TestDirectoryGone meets each operation with a directory that was removed.
func TestDirectoryGone(t *testing.T) {
	for _, mode := range everyMode {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			t.Parallel()
			for i := range unreachableOps {
				op := &unreachableOps[i]
				u := newUnreachable(t, mode, filepath.Join(t.TempDir(), "db"), vfs.OS, syscall.ENOENT)
				dbtest.Must(t, os.RemoveAll(u.at))
				if op.name == "Close and Open" {
					continue // makes a new one
				}
				u.is(op, op.do(u), false)
				_ = u.DB.Close()
				if _, err := os.Lstat(u.at); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("after %s the directory is back: %v", op.name, err)
				}
			}
		})
	}
}

// inChild names the variable that makes TestNoDescriptorInTheProcess do its work.
const inChild = "SEERDB_TEST_NO_DESCRIPTOR"

// TestNoDescriptorInTheProcess meets each operation when the process has no
// descriptor left, and again when it has. A process of its own does it.
func TestNoDescriptorInTheProcess(t *testing.T) {
	if os.Getenv(inChild) == "" {
		cmd := dbtest.Child(t, "", "")
		cmd.Args = append(cmd.Args, "-test.run", "^TestNoDescriptorInTheProcess$", "-test.timeout", "60s", fmt.Sprintf("-test.short=%v", testing.Short()))
		cmd.Env = append(os.Environ(), inChild+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	var r syscall.Rlimit
	dbtest.Must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r))
	dbtest.SetLimit(&r.Cur, 100)
	dbtest.Must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r))
	modes := everyMode
	if testing.Short() {
		modes = []seerdb.Durability{seerdb.Sync}
	}
	for _, mode := range modes {
		u := newUnreachable(t, mode, filepath.Join(t.TempDir(), "db"), vfs.OS, syscall.EMFILE)
		for i := range unreachableOps {
			op := &unreachableOps[i]
			if op.fills { // no table is open that could give its descriptor up
				dbtest.Must(t, u.DB.Close())
				dbtest.Must(t, u.open())
			} else {
				dbtest.Must(t, u.scan())
			}
			release := takeDescriptors(t)
			err := op.do(u)
			u.is(op, err, true)
			release()
			u.reopened(op.name)
		}
		u.recovers("all")
		dbtest.Must(t, u.scan())
		dbtest.Must(t, u.DB.Close())
	}
}

// takeDescriptors takes all that the process has left.
func takeDescriptors(t *testing.T) (release func()) {
	var files []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		dbtest.Must(t, err)
		files = append(files, f)
	}
	if len(files) == 0 || len(files) > 100 {
		t.Fatalf("%d descriptors were left", len(files))
	}
	return func() {
		for _, f := range files {
			dbtest.Must(t, f.Close())
		}
		runtime.KeepAlive(files)
	}
}
