//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

// The umask belongs to the process, so these tests do not run in parallel.
func TestOSModes(t *testing.T) {
	for _, umask := range []int{0o000, 0o022, 0o077, 0o777} {
		t.Run("umask "+strconv.FormatInt(int64(umask), 8), func(t *testing.T) {
			dir := t.TempDir()
			old := syscall.Umask(umask)
			defer syscall.Umask(old)
			deep := filepath.Join(dir, "a", "b")
			check(t, OS.MkdirAll(deep))
			write(t, OS, filepath.Join(deep, "f"), "x", true)
			l, err := lockPath(filepath.Join(deep, "LOCK"))
			check(t, err)
			check(t, l.Close())
			for name, want := range map[string]fs.FileMode{"a": fs.ModeDir | 0o700, "a/b": fs.ModeDir | 0o700, "a/b/f": 0o600, "a/b/LOCK": 0o600} {
				info, err := OS.Stat(filepath.Join(dir, name))
				check(t, err)
				if info.Mode() != want {
					t.Errorf("%s has the mode %v, want %v", name, info.Mode(), want)
				}
			}
		})
	}
}

// mustReturn fails when open waits instead of answering.
func mustReturn(t *testing.T, what string, open func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- open() }()
	select {
	case err := <-done:
		return err
	case <-time.After(5 * time.Second):
		t.Fatalf("%s hangs", what)
		return nil
	}
}

func TestOSRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	write(t, OS, target, "secret", true)
	link, dangling, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "dangling"), filepath.Join(dir, "fifo")
	check(t, os.Symlink(target, link))
	check(t, os.Symlink(filepath.Join(dir, "nothing"), dangling))
	check(t, syscall.Mkfifo(fifo, 0o600))
	for _, name := range []string{link, dangling, fifo, dir, os.DevNull} {
		err := mustReturn(t, name, func() error { _, err := OS.Open(name); return err })
		if err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	for _, name := range []string{link, fifo} {
		err := mustReturn(t, name, func() error { _, err := lockPath(name); return err })
		if err == nil || errors.Is(err, base.ErrLocked) {
			t.Errorf("%s as a lock file: %v", name, err)
		}
	}
	for _, name := range []string{link, dangling, fifo} {
		_, err := OS.Create(name)
		wantIs(t, err, fs.ErrExist)
	}
	if _, err := os.Lstat(filepath.Join(dir, "nothing")); err == nil {
		t.Error("a dangling link was followed")
	}
	info, err := OS.Stat(link)
	check(t, err)
	if info.Mode()&fs.ModeSymlink == 0 {
		t.Error("Stat follows symbolic links")
	}
	check(t, OS.Remove(link))
	if got := read(t, OS, target); got != "secret" {
		t.Errorf("removing a link changed its target: %q", got)
	}
}

func TestOSLockAliases(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "db")
	check(t, OS.MkdirAll(db))
	alias := filepath.Join(dir, "alias")
	check(t, os.Symlink(db, alias))
	t.Chdir(dir)

	l, err := lockPath(filepath.Join(db, "LOCK"))
	check(t, err)
	pid := strconv.Itoa(os.Getpid())
	for _, name := range []string{"db/LOCK", "alias/LOCK", "db/../alias/LOCK"} {
		_, err := lockPath(name)
		wantIs(t, err, base.ErrLocked)
		if !strings.Contains(err.Error(), pid) {
			t.Errorf("%q does not name the process %s", err, pid)
		}
	}
	check(t, os.Remove(filepath.Join(db, "LOCK")))
	_, err = lockPath(filepath.Join(db, "LOCK"))
	wantIs(t, err, base.ErrLocked)
	check(t, l.Close())
	l, err = lockPath(filepath.Join(alias, "LOCK"))
	check(t, err)
	check(t, l.Close())
}

// lockPath is Lock of the directory that a path leads to now.
func lockPath(name string) (io.Closer, error) {
	r, err := OS.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	l, err := r.Lock(filepath.Base(name))
	return l, errors.Join(err, r.Close())
}

// Each of the locks does its part alone: on some systems the others are missing.
func TestOSLocksOneByOne(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "LOCK")
	d, err := openOSDir(dir)
	check(t, err)
	defer d.Close()
	info, err := d.Stat()
	check(t, err)
	held := lockedDir{info, false}
	write(t, OS, name, "4711\n", false)
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
		_, err = lockPath(name)
		if !errors.Is(err, base.ErrLocked) {
			t.Errorf("with the lock of %s held: %v", what, err)
		} else if what != "this process" && !strings.Contains(err.Error(), "4711") {
			t.Errorf("%q does not name the process 4711", err)
		}
		if _, err := rooted(t, OS, dir).LockShared("LOCK"); !errors.Is(err, base.ErrLocked) {
			t.Errorf("a reader, with the lock of %s held: %v", what, err)
		}
		release()
	}
	l, err := lockPath(name)
	check(t, err)
	check(t, l.Close())
}

const lockChildEnv = "SEERDB_VFS_LOCK_CHILD"

// lockChild is run in another process: it tries the lock, says what came of
// it, and holds it until its input ends.
func lockChild(name string) {
	_, err := lockPath(name)
	if err == nil {
		os.Stdout.WriteString("held\n")
	} else {
		os.Stdout.WriteString(err.Error() + "\n")
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func TestMain(m *testing.M) {
	if name := os.Getenv(lockChildEnv); name != "" {
		lockChild(name)
		return
	}
	os.Exit(m.Run())
}

// startLockChild returns what the child said, and a function that kills it.
func startLockChild(t *testing.T, name string) (*exec.Cmd, string, func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockChildEnv+"="+name)
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	b := make([]byte, 1<<10)
	n, err := out.Read(b)
	check(t, err)
	return cmd, string(b[:n]), func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		_ = cmd.Wait()
	}
}

func TestOSLockAcrossProcesses(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "LOCK")
	cmd, said, kill := startLockChild(t, name)
	defer kill()
	if said != "held\n" {
		t.Fatalf("the child says %q", said)
	}
	_, err := lockPath(name)
	wantIs(t, err, base.ErrLocked)
	if pid := strconv.Itoa(cmd.Process.Pid); !strings.Contains(err.Error(), pid) {
		t.Errorf("%q does not name the process %s", err, pid)
	}
	// A lock file made anew does not help, nor does another name.
	check(t, os.Remove(name))
	_, err = lockPath(name)
	wantIs(t, err, base.ErrLocked)
	_, err = lockPath(filepath.Join(dir, "OTHER"))
	wantIs(t, err, base.ErrLocked)
	kill()
	l, err := lockPath(name) // the lock died with its process
	check(t, err)
	_, said, kill = startLockChild(t, name)
	defer kill()
	if !strings.Contains(said, base.ErrLocked.Error()) || !strings.Contains(said, strconv.Itoa(os.Getpid())) {
		t.Errorf("the child says %q", said)
	}
	check(t, l.Close())
}

// A child that a program starts must not inherit our files, and with them the
// lock.
func TestOSCloseOnExec(t *testing.T) {
	dir := t.TempDir()
	l, err := lockPath(filepath.Join(dir, "LOCK"))
	check(t, err)
	f, err := OS.Create(filepath.Join(dir, "f"))
	check(t, err)
	defer f.Close()
	cmd := exec.Command("sleep", "60")
	check(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	check(t, l.Close())
	l, err = lockPath(filepath.Join(dir, "LOCK"))
	check(t, err)
	check(t, l.Close())
}

func TestOSReadOnlyDir(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("permissions do not bind the superuser")
	}
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o500))
	_, err := OS.Create(filepath.Join(dir, "f"))
	wantIs(t, err, fs.ErrPermission)
	_, err = lockPath(filepath.Join(dir, "LOCK"))
	wantIs(t, err, fs.ErrPermission)
	wantIs(t, OS.MkdirAll(filepath.Join(dir, "d")), fs.ErrPermission)
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
					return pathError("rename", "x", c.err)
				}
				return nil
			})
			if want := c.calls <= c.fails; calls != c.calls || want != (err != nil) {
				t.Errorf("%v for %d calls: %d calls, %v", c.err, c.fails, calls, err)
			}
		}
		begin := time.Now()
		wantIs(t, patiently(func() error { return syscall.EINTR }), syscall.EINTR)
		if d := time.Since(begin); d < patience || d > patience+time.Second {
			t.Errorf("it gave up after %v", d)
		}
	})
}
