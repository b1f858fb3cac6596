package wal

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

func TestAppendReplay(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{})
	var want []string
	for i := range 100 {
		p := fmt.Sprintf("payload %d", i)
		want = append(want, p)
		lsn, err := w.Append([]byte(p))
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			err = w.Flush(lsn)
		case 1:
			err = w.Sync(lsn)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	got, info := mustReplay(t, fs)
	same(t, got, want)
	if info.Prev != (Prev{3, 99}) || info.Torn || info.Records != 100 || info.Bytes != info.Size || !info.Holds(w.Prev()) {
		t.Fatalf("info %+v, writer %+v", info, w.Prev())
	}
}

// TestNothingBeforeFlush holds Append to making no system call.
func TestNothingBeforeFlush(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{})
	syncDir(t, fs)
	before := w.Size()
	lsn := mustAppend(t, w, "waiting")
	if got, _ := mustReplay(t, fs); len(got) != 0 || w.Size() != before || w.Pending() == 0 || w.Written() == lsn {
		t.Fatalf("Append wrote: %q", got)
	}
	if err := w.Flush(lsn); err != nil {
		t.Fatal(err)
	}
	if got, _ := mustReplay(t, fs); len(got) != 1 || w.Written() != lsn || w.Synced() >= lsn || w.Pending() != 0 {
		t.Fatalf("Flush did not write: %q", got)
	}
	if got, _ := mustReplay(t, fs.CrashClone(memfs.CrashOptions{})); len(got) != 0 {
		t.Fatalf("Flush synced: %q", got)
	}
	if err := w.Sync(lsn); err != nil || w.Synced() != lsn {
		t.Fatal(err)
	}
}

// TestSyncOfWhatIsWritten: a sync covers what was written before it, and not
// what waits in memory.
func TestSyncOfWhatIsWritten(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{})
	syncDir(t, fs)
	first := mustAppend(t, w, "first")
	if err := w.Flush(first); err != nil {
		t.Fatal(err)
	}
	second := mustAppend(t, w, "second")
	if err := w.Sync(first); err != nil || w.Synced() != first {
		t.Fatalf("synced to %d, want %d: %v", w.Synced(), first, err)
	}
	if err := w.Sync(second); err != nil || w.Synced() != second {
		t.Fatalf("synced to %d, want %d: %v", w.Synced(), second, err)
	}
	got, _ := mustReplay(t, fs.CrashClone(memfs.CrashOptions{}))
	same(t, got, []string{"first", "second"})
}

// TestNoAllocation: a commit in the steady state allocates nothing.
func TestNoAllocation(t *testing.T) {
	w := create(t, discardFS{}, Options{})
	payload := make([]byte, 120)
	n := testing.AllocsPerRun(1000, func() {
		lsn, err := w.Append(payload)
		if err == nil {
			err = w.Sync(lsn)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// TestBufferMax holds memory to its bound.
func TestBufferMax(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{BufferMax: 100})
	for range 50 {
		mustAppend(t, w, "twenty-four byte record ")
		if n := w.Pending(); n > 100+40 {
			t.Fatalf("%d bytes wait", n)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if got, _ := mustReplay(t, fs); len(got) != 50 {
		t.Fatalf("%d records", len(got))
	}
}

func TestClose(t *testing.T) {
	for _, durable := range []bool{true, false} {
		fs := memfs.New()
		w := create(t, fs, Options{})
		lsn := mustAppend(t, w, "record")
		for range 2 {
			if err := w.Close(durable); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Append(nil); !errors.Is(err, base.ErrClosed) {
			t.Fatal(err)
		}
		if err := w.Flush(lsn); err != nil {
			t.Fatalf("the record is written: %v", err)
		}
		if err := w.Sync(lsn); durable != (err == nil) || err != nil && !errors.Is(err, base.ErrClosed) {
			t.Fatal(err)
		}
		got, _ := mustReplay(t, fs)
		same(t, got, []string{"record"})
		if durable == (w.Prev().Size == 0) {
			t.Fatalf("durable %v: %+v", durable, w.Prev())
		}
	}
}

// TestCreateFails holds Create to leaving no file behind.
func TestCreateFails(t *testing.T) {
	mem := memfs.New()
	fs := &hookFS{FS: mem, write: func([]byte) (int, error) { return 10, syscall.ENOSPC }}
	_, err := newWriter(fs, "", testID, Prev{}, Options{})
	if !errors.Is(err, base.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if names, _ := mem.List(""); len(names) != 0 {
		t.Fatalf("left %q", names)
	}
	create(t, mem, Options{})
	if _, err := newWriter(mem, "", testID, Prev{}, Options{}); err == nil {
		t.Fatal("a segment was created twice")
	}
}

// TestMarkAfterFinish flips every bit of a finished segment. What was finished
// is never taken for a torn tail.
func TestMarkAfterFinish(t *testing.T) {
	fs := memfs.New()
	w := create(t, fs, Options{})
	mustAppend(t, w, "first")
	mustAppend(t, w, "last")
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	data := bytesOf(t, fs)
	end := w.Prev().Size
	for bit := range len(data) * 8 {
		data[bit/8] ^= 1 << (bit % 8)
		got, info, err := replayAll(withBytes(t, data))
		data[bit/8] ^= 1 << (bit % 8)
		if int64(bit/8) >= end {
			if err != nil || len(got) != 2 || !info.Holds(w.Prev()) {
				t.Fatalf("bit %d of the mark: %v", bit, err)
			}
		} else if !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("bit %d: %v, %q", bit, err, got)
		}
	}
}
