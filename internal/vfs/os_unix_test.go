//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs_test

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
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

// The umask belongs to the process, so these tests do not run in parallel.
func TestOSModes(t *testing.T) {
	for _, umask := range []int{0o000, 0o022, 0o077, 0o777} {
		t.Run("umask "+strconv.FormatInt(int64(umask), 8), func(t *testing.T) {
			dir := t.TempDir()
			old := syscall.Umask(umask)
			defer syscall.Umask(old)
			deep := filepath.Join(dir, "a", "b")
			vfstest.Check(t, vfs.OS.MkdirAll(deep))
			vfstest.Write(t, vfs.OS, filepath.Join(deep, "f"), "x", true)
			l, err := lockPath(filepath.Join(deep, "LOCK"))
			vfstest.Check(t, err)
			vfstest.Check(t, l.Close())
			for name, want := range map[string]fs.FileMode{"a": fs.ModeDir | 0o700, "a/b": fs.ModeDir | 0o700, "a/b/f": 0o600, "a/b/LOCK": 0o600} {
				info, err := vfs.OS.Stat(filepath.Join(dir, name))
				vfstest.Check(t, err)
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
	vfstest.Write(t, vfs.OS, target, "secret", true)
	link, dangling, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "dangling"), filepath.Join(dir, "fifo")
	vfstest.Check(t, os.Symlink(target, link))
	vfstest.Check(t, os.Symlink(filepath.Join(dir, "nothing"), dangling))
	vfstest.Check(t, syscall.Mkfifo(fifo, 0o600))
	for _, name := range []string{link, dangling, fifo, dir, os.DevNull} {
		err := mustReturn(t, name, func() error { _, err := vfs.OS.Open(name); return err })
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
		_, err := vfs.OS.Create(name)
		vfstest.WantIs(t, err, fs.ErrExist)
	}
	if _, err := os.Lstat(filepath.Join(dir, "nothing")); err == nil {
		t.Error("a dangling link was followed")
	}
	info, err := vfs.OS.Stat(link)
	vfstest.Check(t, err)
	if info.Mode()&fs.ModeSymlink == 0 {
		t.Error("Stat follows symbolic links")
	}
	vfstest.Check(t, vfs.OS.Remove(link))
	if got := vfstest.Read(t, vfs.OS, target); got != "secret" {
		t.Errorf("removing a link changed its target: %q", got)
	}
}

func TestOSLockAliases(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "db")
	vfstest.Check(t, vfs.OS.MkdirAll(db))
	alias := filepath.Join(dir, "alias")
	vfstest.Check(t, os.Symlink(db, alias))
	t.Chdir(dir)

	l, err := lockPath(filepath.Join(db, "LOCK"))
	vfstest.Check(t, err)
	pid := strconv.Itoa(os.Getpid())
	for _, name := range []string{"db/LOCK", "alias/LOCK", "db/../alias/LOCK"} {
		_, err := lockPath(name)
		vfstest.WantIs(t, err, base.ErrLocked)
		if !strings.Contains(err.Error(), pid) {
			t.Errorf("%q does not name the process %s", err, pid)
		}
	}
	vfstest.Check(t, os.Remove(filepath.Join(db, "LOCK")))
	_, err = lockPath(filepath.Join(db, "LOCK"))
	vfstest.WantIs(t, err, base.ErrLocked)
	vfstest.Check(t, l.Close())
	l, err = lockPath(filepath.Join(alias, "LOCK"))
	vfstest.Check(t, err)
	vfstest.Check(t, l.Close())
}

// lockPath is Lock of the directory that a path leads to now.
func lockPath(name string) (io.Closer, error) {
	r, err := vfs.OS.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	l, err := r.Lock(filepath.Base(name))
	return l, errors.Join(err, r.Close())
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
	vfstest.Check(t, err)
	out, err := cmd.StdoutPipe()
	vfstest.Check(t, err)
	vfstest.Check(t, cmd.Start())
	b := make([]byte, 1<<10)
	n, err := out.Read(b)
	vfstest.Check(t, err)
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
	vfstest.WantIs(t, err, base.ErrLocked)
	if pid := strconv.Itoa(cmd.Process.Pid); !strings.Contains(err.Error(), pid) {
		t.Errorf("%q does not name the process %s", err, pid)
	}
	// A lock file made anew does not help, nor does another name.
	vfstest.Check(t, os.Remove(name))
	_, err = lockPath(name)
	vfstest.WantIs(t, err, base.ErrLocked)
	_, err = lockPath(filepath.Join(dir, "OTHER"))
	vfstest.WantIs(t, err, base.ErrLocked)
	kill()
	l, err := lockPath(name) // the lock died with its process
	vfstest.Check(t, err)
	_, said, kill = startLockChild(t, name)
	defer kill()
	if !strings.Contains(said, base.ErrLocked.Error()) || !strings.Contains(said, strconv.Itoa(os.Getpid())) {
		t.Errorf("the child says %q", said)
	}
	vfstest.Check(t, l.Close())
}

// A child that a program starts must not inherit our files, and with them the
// lock.
func TestOSCloseOnExec(t *testing.T) {
	dir := t.TempDir()
	l, err := lockPath(filepath.Join(dir, "LOCK"))
	vfstest.Check(t, err)
	f, err := vfs.OS.Create(filepath.Join(dir, "f"))
	vfstest.Check(t, err)
	defer f.Close()
	cmd := exec.Command("sleep", "60")
	vfstest.Check(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	vfstest.Check(t, l.Close())
	l, err = lockPath(filepath.Join(dir, "LOCK"))
	vfstest.Check(t, err)
	vfstest.Check(t, l.Close())
}

func TestOSReadOnlyDir(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("permissions do not bind the superuser")
	}
	dir := t.TempDir()
	vfstest.Check(t, os.Chmod(dir, 0o500))
	_, err := vfs.OS.Create(filepath.Join(dir, "f"))
	vfstest.WantIs(t, err, fs.ErrPermission)
	_, err = lockPath(filepath.Join(dir, "LOCK"))
	vfstest.WantIs(t, err, fs.ErrPermission)
	vfstest.WantIs(t, vfs.OS.MkdirAll(filepath.Join(dir, "d")), fs.ErrPermission)
}
