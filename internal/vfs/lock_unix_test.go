//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Each of the locks does its part alone: on some systems the others are missing.
func TestOSLocksOneByOne(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "LOCK")
	root, err := OS.OpenRoot(dir)
	check(t, err)
	defer root.Close()
	d, err := openOSDir(dir)
	check(t, err)
	defer d.Close()
	info, err := d.Stat()
	check(t, err)
	held := lockedDir{info, false}
	check(t, os.WriteFile(name, []byte("4711\n"), 0o600))
	f, err := regular(openOSFile(name, os.O_RDWR))
	check(t, err)
	takers := map[string]func() (release func()){
		"this process": func() func() { enterLockedDir(held); return func() { leaveLockedDir(held) } },
		"the directory": func() func() {
			_, err := lockDir(d, false)
			check(t, err)
			return func() { check(t, syscall.Flock(int(d.Fd()), syscall.LOCK_UN)) }
		},
		"the file": func() func() {
			_, err := lockFile(f, false)
			check(t, err)
			return func() { check(t, f.Close()) }
		},
	}
	for what, take := range takers {
		release := take()
		if what == "this process" && enterLockedDir(held) {
			t.Error("one directory was entered twice")
		}
		_, err = root.Lock("LOCK")
		if !errors.Is(err, base.ErrLocked) {
			t.Errorf("with the lock of %s held: %v", what, err)
		} else if what != "this process" && !strings.Contains(err.Error(), "4711") {
			t.Errorf("%q does not name the process 4711", err)
		}
		if _, err := root.LockShared("LOCK"); !errors.Is(err, base.ErrLocked) {
			t.Errorf("a reader, with the lock of %s held: %v", what, err)
		}
		release()
	}
	l, err := root.Lock("LOCK")
	check(t, err)
	check(t, l.Close())
}

// What fails for a reason that passes is tried again, and nothing else is; and
// not for ever.
func TestPatiently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			err   error
			fails int // the first so many calls
			calls int
		}{{nil, 0, 1}, {syscall.EACCES, 9, 1}, {syscall.EINTR, 5, 6}} {
			calls := 0
			err := patiently(func() error {
				if calls++; calls <= c.fails {
					return PathError("rename", "x", c.err)
				}
				return nil
			})
			if want := c.calls <= c.fails; calls != c.calls || want != (err != nil) {
				t.Errorf("%v for %d calls: %d calls, %v", c.err, c.fails, calls, err)
			}
		}
		begin := time.Now()
		if err := patiently(func() error { return syscall.EINTR }); !errors.Is(err, syscall.EINTR) {
			t.Errorf("in the end: %v", err)
		}
		if d := time.Since(begin); d < patience || d > patience+time.Second {
			t.Errorf("it gave up after %v", d)
		}
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
