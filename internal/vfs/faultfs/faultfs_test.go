package faultfs

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

// everyOp does each operation once, on names that match "x*", and returns the
// error of the one asked for.
var everyOp = map[OpKind]func(t *testing.T, f vfs.FS) error{
	OpCreate: func(_ *testing.T, f vfs.FS) error { _, err := f.Create("x1"); return err },
	OpOpen:   func(_ *testing.T, f vfs.FS) error { _, err := f.Open("x0"); return err },
	OpRead:   func(t *testing.T, f vfs.FS) error { _, err := opened(t, f).ReadAt(make([]byte, 4), 0); return err },
	OpWrite:  func(t *testing.T, f vfs.FS) error { _, err := created(t, f).Write([]byte("abcd")); return err },
	OpSync:   func(t *testing.T, f vfs.FS) error { return created(t, f).Sync() },
	OpDirSync: func(_ *testing.T, f vfs.FS) error {
		check := f.MkdirAll("xdir")
		return errors.Join(check, vfs.SyncDir(f, "xdir"))
	},
	OpRename:      func(_ *testing.T, f vfs.FS) error { return f.Rename("x0", "x9") },
	OpRemove:      func(_ *testing.T, f vfs.FS) error { return f.Remove("x0") },
	OpTruncate:    func(t *testing.T, f vfs.FS) error { return created(t, f).Truncate(0) },
	OpList:        func(_ *testing.T, f vfs.FS) error { return errors.Join(f.MkdirAll("xdir"), listError(f, "xdir")) },
	OpStat:        func(_ *testing.T, f vfs.FS) error { _, err := f.Stat("x0"); return err },
	OpMkdir:       func(_ *testing.T, f vfs.FS) error { return f.MkdirAll("x2") },
	OpLock:        func(t *testing.T, f vfs.FS) error { _, err := vfstest.Rooted(t, f, "").Lock("xLOCK"); return err },
	OpPreallocate: func(t *testing.T, f vfs.FS) error { return created(t, f).Preallocate(10) },
	OpClose:       func(t *testing.T, f vfs.FS) error { return opened(t, f).Close() },
}

func listError(f vfs.FS, dir string) error {
	_, err := f.List(dir)
	return err
}

func opened(t *testing.T, f vfs.FS) vfs.File {
	file, err := f.Open("x0")
	vfstest.Check(t, err)
	return file
}

func created(t *testing.T, f vfs.FS) vfs.File {
	file, err := f.Create("xnew")
	vfstest.Check(t, err)
	return file
}

func newFaulty(t *testing.T) (*memfs.FS, *FS) {
	m := memfs.New()
	vfstest.Write(t, m, "x0", "abcd", true)
	return m, New(m)
}

func TestFaultEveryOp(t *testing.T) {
	errnos := []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EROFS, syscall.EMFILE}
	var all OpKind
	for op, run := range everyOp {
		all |= op
		for _, errno := range errnos {
			_, f := newFaulty(t)
			fired := f.Inject(Rule{Op: op, Path: "x*", Err: errno})
			other := f.Inject(Rule{Op: OpAll &^ op, Path: "y*", Err: errors.New("other")})
			if err := run(t, f); !errors.Is(err, errno) {
				t.Errorf("op %b with %v: %v", op, errno, err)
			}
			if fired.Count() != 1 || other.Count() != 0 || other.Matched() != 0 {
				t.Errorf("op %b: fired %d and %d times", op, fired.Count(), other.Count())
			}
		}
		_, f := newFaulty(t)
		f.Inject(Rule{Op: OpAll &^ op, Skip: 1000})
		vfstest.Check(t, run(t, f))
	}
	if all != OpAll {
		t.Errorf("operations %b are not tried", OpAll&^all)
	}
}

// A failed operation has had no effect, and one that fails afterwards all of it.
func TestFaultEffect(t *testing.T) {
	mutations := map[OpKind]string{ // what After leaves
		OpCreate: "x0=abcd x1=", OpWrite: "x0=abcd xnew=abcd", OpRename: "x9=abcd", OpRemove: "", OpMkdir: "x0=abcd x2/",
	}
	for op, after := range mutations {
		m, f := newFaulty(t)
		f.Inject(Rule{Op: op})
		vfstest.WantIs(t, everyOp[op](t, f), syscall.EIO)
		f.Clear()
		before := "x0=abcd"
		if op == OpWrite {
			before = "x0=abcd xnew="
		}
		if got := vfstest.Dump(t, m); got != before {
			t.Errorf("op %b failed and left %q", op, got)
		}
		m, f = newFaulty(t)
		f.Inject(Rule{Op: op, After: true})
		vfstest.WantIs(t, everyOp[op](t, f), syscall.EIO)
		if got := vfstest.Dump(t, m); got != after {
			t.Errorf("op %b failed afterwards and left %q, want %q", op, got, after)
		}
	}
}

func TestFaultLeaksNothing(t *testing.T) {
	m, f := newFaulty(t)
	f.Inject(Rule{Op: OpClose})
	f.Inject(Rule{Op: OpOpen, After: true, Path: "x0"})
	file := created(t, f)
	_, err := file.Write([]byte("x"))
	vfstest.Check(t, err)
	vfstest.WantIs(t, file.Close(), syscall.EIO)
	_, err = f.Open("x0")
	vfstest.WantIs(t, err, syscall.EIO)
	f.Inject(Rule{Op: OpLock, After: true})
	_, err = vfstest.Rooted(t, f, "").Lock("LOCK")
	vfstest.WantIs(t, err, syscall.EIO)
	l, err := vfstest.Rooted(t, m, "").Lock("LOCK")
	vfstest.Check(t, err)
	vfstest.Check(t, l.Close())
	for _, name := range []string{"x0", "xnew"} {
		vfstest.Check(t, m.Remove(name))
	}
	if m.Used() != 0 {
		t.Errorf("%d bytes are held by a file left open", m.Used())
	}
}

func TestFaultEvery(t *testing.T) {
	_, f := newFaulty(t)
	fired := f.Inject(Rule{Op: OpStat, Skip: 1, Every: 3, Count: 2})
	got := ""
	for range 12 {
		if _, err := f.Stat("x0"); err != nil {
			got += "x"
		} else {
			got += "-"
		}
	}
	if got != "---x--x-----" || fired.Count() != 2 {
		t.Errorf("faults came as %s, %d of them", got, fired.Count())
	}
}

func TestFaultSkipCount(t *testing.T) {
	_, f := newFaulty(t)
	first := errors.New("first")
	second := errors.New("second")
	a := f.Inject(Rule{Op: OpStat, Skip: 2, Count: 2, Err: first})
	b := f.Inject(Rule{Op: OpStat | OpOpen, Skip: 3, Err: second})
	var got []string
	for range 6 {
		_, err := f.Stat("x0")
		switch {
		case errors.Is(err, first):
			got = append(got, "1")
		case errors.Is(err, second):
			got = append(got, "2")
		default:
			got = append(got, "-")
		}
	}
	if s := strings.Join(got, ""); s != "--1122" {
		t.Errorf("faults came as %s", s)
	}
	if a.Count() != 2 || a.Matched() != 6 || b.Count() != 2 || b.Matched() != 6 {
		t.Errorf("counts: %d of %d, %d of %d", a.Count(), a.Matched(), b.Count(), b.Matched())
	}
	b.Remove()
	b.Remove()
	_, err := f.Stat("x0")
	vfstest.Check(t, err)
	f.Inject(Rule{Op: OpStat})
	f.Clear()
	_, err = f.Stat("x0")
	vfstest.Check(t, err)
}

func TestFaultShort(t *testing.T) {
	m, f := newFaulty(t)
	fired := f.Inject(Rule{Op: OpWrite | OpRead, Short: true, Err: syscall.ENOSPC})
	file := created(t, f)
	n, err := file.Write([]byte("0123456789"))
	if n != 5 || !vfs.IsNoSpace(err) {
		t.Fatalf("a short write: %d, %v", n, err)
	}
	b := []byte("........")
	n, err = file.ReadAt(b[:4], 0)
	if n != 2 || !errors.Is(err, syscall.ENOSPC) || string(b) != "01......" {
		t.Fatalf("a short read: %d, %v, %q", n, err, b)
	}
	if got := vfstest.Read(t, m, "xnew"); got != "01234" || fired.Count() != 2 {
		t.Fatalf("%q, fired %d times", got, fired.Count())
	}
}

func TestFaultFlip(t *testing.T) {
	m, f := newFaulty(t)
	fired := f.Inject(Rule{Op: OpRead, Flip: true, Count: 8})
	file := opened(t, f)
	places := map[int]bool{}
	for range 8 {
		b := make([]byte, 8)
		n, err := file.ReadAt(b, 0)
		if n != 4 || err != io.EOF {
			t.Fatalf("%d, %v", n, err)
		}
		diff := 0
		for i := range 4 {
			if x := b[i] ^ "abcd"[i]; x != 0 {
				diff += bits.OnesCount8(x)
				places[8*i+bits.TrailingZeros8(x)] = true
			}
		}
		if diff != 1 || string(b[4:]) != "\x00\x00\x00\x00" {
			t.Fatalf("%d bits differ: %q", diff, b)
		}
	}
	if len(places) < 6 {
		t.Errorf("8 flips hit only %d places", len(places))
	}
	if got := vfstest.Read(t, f, "x0"); got != "abcd" || vfstest.Read(t, m, "x0") != "abcd" {
		t.Errorf("afterwards %q", got)
	}
	if fired.Count() != 8 {
		t.Errorf("fired %d times", fired.Count())
	}
}

func TestFaultDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := newFaulty(t)
		f.Inject(Rule{Op: OpStat, Delay: time.Minute, Count: 1})
		start := time.Now()
		_, err := f.Stat("x0")
		vfstest.Check(t, err) // a delay alone is no failure
		if d := time.Since(start); d != time.Minute {
			t.Errorf("delayed by %v", d)
		}
		f.Inject(Rule{Op: OpStat, Delay: time.Hour, Err: syscall.EIO})
		start = time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := f.Stat("x0")
			vfstest.WantIs(t, err, syscall.EIO)
		})
		synctest.Wait()
		_, err = f.List("") // no other call waits
		vfstest.Check(t, err)
		f.Clear()
		wg.Wait()
		if d := time.Since(start); d != 0 {
			t.Errorf("Clear took %v to end the wait", d)
		}
	})
}

func TestFaultPattern(t *testing.T) {
	m := memfs.New()
	f := New(m)
	vfstest.Check(t, m.MkdirAll("d.sst"))
	fired := f.Inject(Rule{Op: OpCreate, Path: "*.sst"})
	vfstest.Write(t, f, "d.sst/1.wal", "", false)
	if _, err := f.Create("d.sst/1.sst"); err == nil {
		t.Error("a file that matches was created")
	}
	if fired.Count() != 1 || fired.Matched() != 1 {
		t.Errorf("fired %d of %d", fired.Count(), fired.Matched())
	}
	defer func() {
		if recover() == nil {
			t.Error("a malformed pattern was accepted")
		}
	}()
	f.Inject(Rule{Op: OpAll, Path: "[" + fmt.Sprint(1)})
}

func TestFaultConcurrent(t *testing.T) {
	_, f := newFaulty(t)
	fired := f.Inject(Rule{Op: OpStat, Skip: 100, Count: 50})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				_, _ = f.Stat("x0")
				f.Inject(Rule{Op: OpList}).Remove()
			}
		})
	}
	wg.Wait()
	if fired.Count() != 50 || fired.Matched() != 400 {
		t.Errorf("fired %d of %d", fired.Count(), fired.Matched())
	}
}
