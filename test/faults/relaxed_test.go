package faults

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
	"github.com/seerdb-go/seerdb/observe"
)

// relaxedUntilFull commits to a Relaxed database until the full disk makes it refuse, and
// returns how many commits were acknowledged.
func relaxedUntilFull(t *testing.T, r *dbtest.Rig, rule faultfs.Rule) (acked int, fault *faultfs.Fired) {
	t.Helper()
	r.Put("before=1")
	dbtest.Must(t, r.DB.Sync())
	fault = r.Fault.Inject(rule)
	for deadline := time.Now().Add(10 * time.Second); ; acked++ {
		if err := r.DB.Put(fmt.Appendf(nil, "k%05d", acked), []byte("v")); err != nil {
			if !errors.Is(err, seerdb.ErrNoSpace) {
				t.Fatalf("a commit on a full disk: %v", err)
			}
			return acked, fault
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d commits were acknowledged on a full disk", acked)
		}
		time.Sleep(200 * time.Microsecond)
	}
}

func relaxed(o *seerdb.Options, _ *dbtest.TestOptions) {
	o.Durability, o.MemtableSize = seerdb.Relaxed, 1<<20
}

// TestRelaxedStopsWhenItsLogIsFull: once acknowledged commits cannot be written, no more
// are acknowledged. So a kill loses only the commits of a few milliseconds, however long
// the disk is full; and once there is space, nothing is lost.
func TestRelaxedStopsWhenItsLogIsFull(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, relaxed)
	acked, fault := relaxedUntilFull(t, r, faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Err: syscall.ENOSPC})
	if acked > 2000 {
		t.Errorf("%d commits were acknowledged, at most five a millisecond", acked)
	}
	for range 100 {
		if err := r.DB.Put([]byte("more"), nil); !errors.Is(err, seerdb.ErrNoSpace) {
			t.Fatalf("a commit that would add to what a kill loses: %v", err)
		}
	}
	if h := r.DB.Health(); h.Status == observe.OK || !errors.Is(h.Err, seerdb.ErrNoSpace) {
		t.Errorf("health: %+v", h)
	}
	if err := r.DB.Sync(); !errors.Is(err, seerdb.ErrNoSpace) {
		t.Errorf("sync: %v", err)
	}
	fault.Remove()
	dbtest.Eventually(t, 5*time.Second, "commits go on", func() bool { return r.DB.Put([]byte("resumed"), nil) == nil })
	dbtest.Must(t, r.DB.Sync())
	after := r.Crash(0)
	for i := range acked {
		if ok, err := after.DB.Has(fmt.Appendf(nil, "k%05d", i)); !ok || err != nil {
			t.Fatalf("acknowledged commit %d of %d is lost: %v", i, acked, err)
		}
	}
	if ok, _ := after.DB.Has([]byte("more")); ok {
		t.Error("a refused commit is there")
	}
}

// TestCloseOfRelaxedOnFullDisk: commits that the log cannot take go to tables at Close. If
// those do not fit either, the error of Close says what is durable.
func TestCloseOfRelaxedOnFullDisk(t *testing.T) {
	for _, path := range []string{"*.wal", ""} {
		t.Run("full for "+path, func(t *testing.T) {
			r := dbtest.NewRig(t, dbtest.Quiet, relaxed)
			rule := faultfs.Rule{Op: faultfs.OpWrite, Path: path, Err: syscall.ENOSPC}
			acked, fault := relaxedUntilFull(t, r, rule)
			durable := r.DB.DurableSeq()
			if path == "*.wal" { // the header of the next log still fits
				fault.Remove()
				rule.Path, rule.Op = "000001.wal", faultfs.OpWrite
				r.Fault.Inject(rule)
			}
			err := r.DB.Close()
			if path == "" {
				if want := fmt.Sprintf("after sequence %d ", durable); !errors.Is(err, seerdb.ErrNoSpace) || !strings.Contains(err.Error(), want) {
					t.Errorf("close: %v; want ErrNoSpace, %q", err, want)
				}
			} else {
				dbtest.Must(t, err)
			}
			r.Fault.Clear()
			after := (&dbtest.Rig{TB: t, Mem: r.Mem, Options: r.Options, Test: r.Test}).Open()
			lost := 0
			for i := range acked {
				if ok, err := after.DB.Has(fmt.Appendf(nil, "k%05d", i)); err != nil {
					t.Fatal(err)
				} else if !ok {
					lost++
				}
			}
			if path != "" && lost > 0 {
				t.Errorf("Close returned nil and lost %d of %d", lost, acked)
			}
			if ok, err := after.DB.Has([]byte("before")); !ok || err != nil {
				t.Errorf("what was durable is lost: %v", err)
			}
		})
	}
}
