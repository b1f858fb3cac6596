package files

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// mountFates need the right to mount.
var mountFates = []pathFate{
	{"by a mount point that another directory is mounted over", mountedPath, mountOver, false},
	{"by a mount point that another database is mounted over", mountedPath, mountOver, true},
}

func bindMount(t *testing.T, from, to string) {
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("mounting: %v", err)
	}
	t.Cleanup(func() { dbtest.Must(t, syscall.Unmount(to, syscall.MNT_DETACH)) })
}

func mountedPath(t *testing.T, base string) (path, home string) {
	path, home = filepath.Join(base, "mnt"), filepath.Join(base, "db")
	dbtest.Must(t, os.Mkdir(home, 0o700))
	dbtest.Must(t, os.Mkdir(path, 0o700))
	bindMount(t, home, path)
	return path, home
}

func mountOver(t *testing.T, base string) string {
	other := filepath.Join(base, "other")
	dbtest.Must(t, os.Mkdir(other, 0o700))
	bindMount(t, other, filepath.Join(base, "mnt"))
	return other
}

// mountReadOnly makes a directory one that cannot be written.
func mountReadOnly(t *testing.T, dir string) {
	bindMount(t, dir, dir)
	dbtest.Must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
}
