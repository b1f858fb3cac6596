package seerdb_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/observe"
)

// relaxedUntilFull commits to a Relaxed database until its disk, which is full,
// refuses, and returns how many commits were acknowledged.
func relaxedUntilFull(t *testing.T, r *rig, rule faultfs.Rule) (acked int, fault *faultfs.Fired) {
	t.Helper()
	r.put("before=1")
	must(t, r.db.Sync())
	fault = r.fault.Inject(rule)
	for deadline := time.Now().Add(10 * time.Second); ; acked++ {
		if err := r.db.Put(fmt.Appendf(nil, "k%05d", acked), []byte("v")); err != nil {
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

func relaxed(o *seerdb.Options, _ *seerdb.TestOptions) {
	o.Durability, o.MemtableSize = seerdb.Relaxed, 1<<20
}

// TestRelaxedStopsWhenItsLogIsFull: once what was acknowledged could not be
// written, nothing more is acknowledged, so that a kill loses what a few
// milliseconds brought and no more, however long the disk is full; and when
// there is space nothing at all is lost.
func TestRelaxedStopsWhenItsLogIsFull(t *testing.T) {
	r := newRig(t, quiet, relaxed)
	acked, fault := relaxedUntilFull(t, r, faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Err: syscall.ENOSPC})
	if acked > 2000 {
		t.Errorf("%d commits were acknowledged, at most five a millisecond", acked)
	}
	for range 100 {
		if err := r.db.Put([]byte("more"), nil); !errors.Is(err, seerdb.ErrNoSpace) {
			t.Fatalf("a commit that would add to what a kill loses: %v", err)
		}
	}
	if h := r.db.Health(); h.Status == observe.OK || !errors.Is(h.Err, seerdb.ErrNoSpace) {
		t.Errorf("health: %+v", h)
	}
	if err := r.db.Sync(); !errors.Is(err, seerdb.ErrNoSpace) {
		t.Errorf("sync: %v", err)
	}
	fault.Remove()
	eventually(t, 5*time.Second, "commits go on", func() bool { return r.db.Put([]byte("resumed"), nil) == nil })
	must(t, r.db.Sync())
	after := r.crash(0)
	for i := range acked {
		if ok, err := after.db.Has(fmt.Appendf(nil, "k%05d", i)); !ok || err != nil {
			t.Fatalf("acknowledged commit %d of %d is lost: %v", i, acked, err)
		}
	}
	if ok, _ := after.db.Has([]byte("more")); ok {
		t.Error("a refused commit is there")
	}
}

// TestCloseOfRelaxedOnFullDisk: what the log cannot take goes to tables at Close;
// and if these do not fit either, Close says what is durable.
func TestCloseOfRelaxedOnFullDisk(t *testing.T) {
	for _, path := range []string{"*.wal", ""} {
		t.Run("full for "+path, func(t *testing.T) {
			r := newRig(t, quiet, relaxed)
			rule := faultfs.Rule{Op: faultfs.OpWrite, Path: path, Err: syscall.ENOSPC}
			acked, fault := relaxedUntilFull(t, r, rule)
			durable := r.db.DurableSeq()
			if path == "*.wal" { // the header of the next log still fits
				fault.Remove()
				rule.Path, rule.Op = "000001.wal", faultfs.OpWrite
				r.fault.Inject(rule)
			}
			err := r.db.Close()
			if path == "" {
				if want := fmt.Sprintf("after sequence %d ", durable); !errors.Is(err, seerdb.ErrNoSpace) || !strings.Contains(err.Error(), want) {
					t.Errorf("close: %v; want ErrNoSpace, %q", err, want)
				}
			} else {
				must(t, err)
			}
			r.fault.Clear()
			after := (&rig{TB: t, mem: r.mem, o: r.o, to: r.to}).open()
			lost := 0
			for i := range acked {
				if ok, err := after.db.Has(fmt.Appendf(nil, "k%05d", i)); err != nil {
					t.Fatal(err)
				} else if !ok {
					lost++
				}
			}
			if path != "" && lost > 0 {
				t.Errorf("Close returned nil and lost %d of %d", lost, acked)
			}
			if ok, err := after.db.Has([]byte("before")); !ok || err != nil {
				t.Errorf("what was durable is lost: %v", err)
			}
		})
	}
}
