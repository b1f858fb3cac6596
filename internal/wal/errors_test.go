package wal

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/record"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// group appends three records and flushes them, and returns those for which
// Flush answered nil.
func group(t *testing.T, w *Writer, name string) (acked []string) {
	t.Helper()
	var lsns []int64
	var payloads []string
	for i := range 3 {
		p := fmt.Sprintf("%s record %d %s", name, i, strings.Repeat("y", 37*i))
		payloads = append(payloads, p)
		lsns = append(lsns, mustAppend(t, w, p))
	}
	for i, lsn := range lsns {
		switch err := w.Flush(lsn); {
		case err == nil:
			acked = append(acked, payloads[i])
		case !errors.Is(err, base.ErrNoSpace) || errors.Is(err, base.ErrCommitUnknown):
			t.Fatal(err)
		}
	}
	return acked
}

// TestFullDisk fills the disk at every byte of a group: the records that do not
// fit are refused and never appear, the others do, and writing goes on when
// there is room.
func TestFullDisk(t *testing.T) {
	probe := memfs.New()
	w := create(t, probe, Options{})
	group(t, w, "first")
	from := probe.Used()
	group(t, w, "second")
	to := probe.Used()

	for capacity := from; capacity <= to; capacity++ {
		fs := memfs.New()
		w := create(t, fs, Options{})
		want := group(t, w, "first")
		fs.SetCapacity(capacity)
		second := group(t, w, "second")
		want = append(want, second...)
		fit, left := 0, capacity-from
		for fit < 3 && left >= record.Size(len("second record 0 ")+37*fit) {
			left -= record.Size(len("second record 0 ") + 37*fit)
			fit++
		}
		if len(second) != fit {
			t.Fatalf("capacity %d of %d: %d records, want %d", capacity, to, len(second), fit)
		}
		if err := w.Err(); err != nil {
			t.Fatal(err)
		}
		got, info := mustReplay(t, fs)
		same(t, got, want)
		if info.Torn || info.Size != w.Size() {
			t.Fatalf("capacity %d: not cut back: %+v", capacity, info)
		}
		if err := w.SyncAll(); err != nil {
			t.Fatalf("a dropped record is no error of SyncAll: %v", err)
		}
		if capacity < to {
			group(t, w, "refused")
		}
		fs.SetCapacity(0)
		want = append(want, group(t, w, "third")...)
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		got, _ = mustReplay(t, fs)
		if capacity < to {
			// What fitted of the group "refused" was acknowledged.
			got = remove(got, "refused")
		}
		same(t, got, want)
	}
}

func remove(list []string, prefix string) (out []string) {
	for _, s := range list {
		if !strings.HasPrefix(s, prefix) {
			out = append(out, s)
		}
	}
	return out
}

// TestRefusedStaysRefused asks for a dropped record again after others, longer
// ones, have been written over its place.
func TestRefusedStaysRefused(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{})
	fs.SetCapacity(fs.Used() + 20)
	lsn := mustAppend(t, w, "dropped")
	later := mustAppend(t, w, "dropped too")
	if err := w.Flush(later); !errors.Is(err, base.ErrNoSpace) {
		t.Fatal(err)
	}
	fs.SetCapacity(0)
	next := mustAppend(t, w, strings.Repeat("written", 100))
	if next <= later {
		t.Fatalf("LSN %d after %d", next, later)
	}
	if err := w.Sync(next); err != nil {
		t.Fatal(err)
	}
	for _, lsn := range []int64{lsn, later} {
		if err := w.Flush(lsn); !errors.Is(err, base.ErrNoSpace) || !strings.Contains(err.Error(), testID.Name()) {
			t.Fatalf("LSN %d: %v", lsn, err)
		}
		if err := w.Sync(lsn); !errors.Is(err, base.ErrNoSpace) {
			t.Fatalf("LSN %d: %v", lsn, err)
		}
	}
	got, _ := mustReplay(t, fs)
	same(t, got, []string{strings.Repeat("written", 100)})
}

// TestFullDiskKeepsRelaxed mixes records that may be dropped with records that
// may not.
func TestFullDiskKeepsRelaxed(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{})
	fs.SetCapacity(fs.Used() + 50) // the first fits
	var want []string
	var relaxed, waited []int64
	for i := range 12 {
		p := fmt.Sprintf("record %d %s", i, strings.Repeat("z", 20))
		if i%3 == 1 {
			waited = append(waited, mustAppend(t, w, p))
			continue
		}
		lsn, err := w.AppendRelaxed([]byte(p))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, p)
		relaxed = append(relaxed, lsn)
	}
	for range 2 {
		if err := w.FlushAll(); !errors.Is(err, base.ErrNoSpace) {
			t.Fatal(err)
		}
		if err := w.Flush(relaxed[0]); err != nil {
			t.Fatalf("the first record fits: %v", err)
		}
		for _, lsn := range relaxed[1:] {
			if err := w.Flush(lsn); !errors.Is(err, base.ErrNoSpace) {
				t.Fatalf("LSN %d: %v", lsn, err)
			}
		}
	}
	if err := w.Finish(); !errors.Is(err, base.ErrNoSpace) {
		t.Fatalf("finished with records in memory: %v", err)
	}
	fs.SetCapacity(0)
	if err := w.Sync(relaxed[3]); err != nil {
		t.Fatal(err)
	}
	for _, lsn := range waited {
		if err := w.Flush(lsn); !errors.Is(err, base.ErrNoSpace) {
			t.Fatalf("LSN %d: %v", lsn, err)
		}
	}
	for _, lsn := range relaxed {
		if err := w.Sync(lsn); err != nil {
			t.Fatalf("LSN %d: %v", lsn, err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	got, _ := mustReplay(t, fs)
	same(t, got, want)
}

// TestFlushAllOnFullDisk: FlushAll does not wait for room, even when the last
// record is one that was dropped.
func TestFlushAllOnFullDisk(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{})
	fs.SetCapacity(1)
	if _, err := w.AppendRelaxed([]byte("kept")); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, "dropped")
	if err := w.FlushAll(); !errors.Is(err, base.ErrNoSpace) {
		t.Fatal(err)
	}
	if err := w.Close(true); !errors.Is(err, base.ErrNoSpace) {
		t.Fatalf("Close tells that a record is lost: %v", err)
	}
}

// TestFullBuffer: an Append that finds too much waiting, and no room on disk,
// is refused by itself.
func TestFullBuffer(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{BufferMax: 100})
	fs.SetCapacity(1)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		_, err = w.AppendRelaxed([]byte("twenty bytes or more"))
	}
	if !errors.Is(err, base.ErrNoSpace) || n > 5 {
		t.Fatalf("%d records, %v", n, err)
	}
	fs.SetCapacity(0)
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if got, _ := mustReplay(t, fs); len(got) != n-1 {
		t.Fatalf("%d records of %d", len(got), n-1)
	}
}

// poisonedBy checks a writer whose second group met an error: lsn was handed
// to the system, and what is appended now is not.
func poisonedBy(t *testing.T, w *Writer, lsn int64, cause error) {
	t.Helper()
	for range 2 {
		err := w.Sync(lsn)
		if !errors.Is(err, base.ErrCommitUnknown) || !errors.Is(err, cause) || errors.Is(err, base.ErrNoSpace) {
			t.Fatalf("Sync: %v", err)
		}
	}
	var p *PoisonError
	if err := w.Err(); !errors.As(err, &p) || !errors.Is(err, cause) || p.File != testID.Name() {
		t.Fatalf("Err: %v", err)
	}
	if _, err := w.Append([]byte("late")); !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, cause) || errors.Is(err, base.ErrCommitUnknown) {
		t.Fatalf("Append: %v", err)
	}
	if err := w.Finish(); !errors.Is(err, cause) {
		t.Fatalf("Finish: %v", err)
	}
}

// TestFailedSync: a sync that failed is not tried again, whatever the errno,
// and even if it would work.
func TestFailedSync(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		syncs, closes := 0, 0
		fs := &hookFS{FS: memfs.New(), close: func() { closes++ }}
		w := create(t, fs, Options{})
		if err := w.Sync(mustAppend(t, w, "good")); err != nil {
			t.Fatal(err)
		}
		fs.set(func(h *hookFS) {
			h.sync = func() error {
				if syncs++; syncs == 1 {
					return cause
				}
				return nil
			}
		})
		lsn := mustAppend(t, w, "unknown")
		if err := w.Flush(lsn); err != nil {
			t.Fatal(err)
		}
		poisonedBy(t, w, lsn, cause)
		if syncs != 1 || closes != 1 {
			t.Fatalf("%d syncs after the failed one, closed %d times", syncs-1, closes)
		}
	}
}

// TestFailedWrite: an error other than a full disk, and a failed cut, are the
// end of the writer. Records that had not been handed over definitely failed.
func TestFailedWrite(t *testing.T) {
	for _, c := range []struct {
		write, truncate, cause error
	}{
		{syscall.EIO, nil, syscall.EIO},
		{syscall.ENOSPC, syscall.EROFS, syscall.EROFS},
	} {
		fs := &hookFS{FS: memfs.New()}
		w := create(t, fs, Options{})
		if err := w.Flush(mustAppend(t, w, "good")); err != nil {
			t.Fatal(err)
		}
		var waiting int64
		writes := 0
		fs.set(func(h *hookFS) {
			h.truncate = func() error { return c.truncate }
			h.write = func(p []byte) (int, error) {
				writes++
				waiting = mustAppend(t, w, "never handed over")
				return len(p) - 1, c.write
			}
		})
		lsn := mustAppend(t, w, "unknown")
		if err := w.Flush(lsn); !errors.Is(err, base.ErrCommitUnknown) {
			t.Fatal(err)
		}
		if err := w.Flush(waiting); !errors.Is(err, base.ErrReadOnly) || errors.Is(err, base.ErrCommitUnknown) {
			t.Fatalf("never handed over: %v", err)
		}
		poisonedBy(t, w, lsn, c.cause)
		if writes != 1 {
			t.Fatalf("%d writes", writes)
		}
		got, info := mustReplay(t, fs)
		if same(t, got, []string{"good"}); !info.Torn {
			t.Fatalf("%+v", info)
		}
	}
}

// TestGroupSyncFails: every waiter of a group learns of its failure.
func TestGroupSyncFails(t *testing.T) {
	fs := &hookFS{FS: memfs.New()}
	w := create(t, fs, Options{})
	var lsns []int64
	for i := range 32 {
		lsns = append(lsns, mustAppend(t, w, fmt.Sprint(i)))
	}
	release := make(chan struct{})
	fs.set(func(h *hookFS) { h.sync = func() error { <-release; return syscall.EIO } })
	errs := make(chan error)
	for _, lsn := range lsns {
		go func() { errs <- w.Sync(lsn) }()
	}
	close(release)
	for range lsns {
		if err := <-errs; !errors.Is(err, base.ErrCommitUnknown) || !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
	}
	if n := w.Stats().Syncs; n != 1 {
		t.Fatalf("%d syncs", n)
	}
}
