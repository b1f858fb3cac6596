package faults

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// TestFullDiskOnTmpfs fills file systems of the kernel, where the process may
// mount them.
func TestFullDiskOnTmpfs(t *testing.T) {
	if testing.Short() {
		t.Skip("fills 32 MiB sixteen times")
	}
	bytes := 32 << 20
	fullDisks(t, bytes, func(t *testing.T, d *fullDisk) {
		mount := t.TempDir()
		if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=32m"); err != nil {
			t.Skipf("mounting a tmpfs: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
		if d.o.MemtableSize == bytes {
			d.fill = func() { fillDisk(t, filepath.Join(mount, "other")) }
		}
		d.fs, d.dir = vfs.OS, filepath.Join(mount, "db")
		d.run(t)
	})
}

// fillDisk writes to a file until nothing fits any more.
func fillDisk(t *testing.T, name string) {
	f, err := os.Create(name)
	dbtest.Must(t, err)
	defer func() { dbtest.Must(t, f.Close()) }()
	for chunk := make([]byte, 1<<20); len(chunk) >= 4096; {
		if _, err := f.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
}
