package vfs_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

// Preallocated room is there, behind an unchanged length.
func TestOSPreallocate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := vfs.OS.Create(name)
	vfstest.Check(t, err)
	defer f.Close()
	vfstest.Check(t, f.Preallocate(1<<20))
	vfstest.Check(t, f.Preallocate(0))
	var st unix.Stat_t
	vfstest.Check(t, unix.Stat(name, &st))
	if st.Size != 0 {
		t.Errorf("the length became %d", st.Size)
	}
	if st.Blocks*512 < 1<<20 {
		t.Logf("this file system preallocated %d bytes only", st.Blocks*512)
	}
}

// A limit on the size of files is a full disk, and its signal does not kill.
func TestOSFileSizeLimit(t *testing.T) {
	f, err := vfs.OS.Create(filepath.Join(t.TempDir(), "f"))
	vfstest.Check(t, err)
	defer f.Close()
	var old syscall.Rlimit
	vfstest.Check(t, syscall.Getrlimit(unix.RLIMIT_FSIZE, &old))
	limit := old
	limit.Cur = 1000
	vfstest.Check(t, syscall.Setrlimit(unix.RLIMIT_FSIZE, &limit))
	n, err := f.Write(make([]byte, 1500))
	vfstest.Check(t, syscall.Setrlimit(unix.RLIMIT_FSIZE, &old))
	if n != 1000 || !vfs.IsNoSpace(err) {
		t.Fatalf("a write beyond the limit: %d, %v", n, err)
	}
	vfstest.Check(t, f.Truncate(0))
	_, err = f.Write(make([]byte, 1500))
	vfstest.Check(t, err)
}

// Running out of descriptors is an error like others.
func TestOSManyOpenFiles(t *testing.T) {
	dir := t.TempDir()
	root := vfstest.Rooted(t, vfs.OS, dir)
	var old syscall.Rlimit
	vfstest.Check(t, syscall.Getrlimit(unix.RLIMIT_NOFILE, &old))
	limit := old
	limit.Cur = 64
	vfstest.Check(t, syscall.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	defer func() { vfstest.Check(t, syscall.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
	var files []vfs.File
	for i := range 100 {
		f, err := vfs.OS.Create(filepath.Join(dir, string(rune('A'+i))))
		if err != nil {
			vfstest.WantIs(t, err, syscall.EMFILE)
			break
		}
		files = append(files, f)
	}
	if len(files) == 100 {
		t.Error("the limit did not bind")
	}
	_, err := root.Lock("LOCK")
	vfstest.WantIs(t, err, syscall.EMFILE)
	for _, f := range files {
		vfstest.Check(t, f.Close())
	}
	l, err := root.Lock("LOCK") // the failure left no lock behind
	vfstest.Check(t, err)
	vfstest.Check(t, l.Close())
}
