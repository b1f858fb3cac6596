package vfs

import (
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Preallocated room is there, behind an unchanged length.
func TestOSPreallocate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := OS.Create(name)
	check(t, err)
	defer f.Close()
	check(t, f.Preallocate(1<<20))
	check(t, f.Preallocate(0))
	var st unix.Stat_t
	check(t, unix.Stat(name, &st))
	if st.Size != 0 {
		t.Errorf("the length became %d", st.Size)
	}
	if st.Blocks*512 < 1<<20 {
		t.Logf("this file system preallocated %d bytes only", st.Blocks*512)
	}
}

// A limit on the size of files is a full disk, and its signal kills nobody.
func TestOSFileSizeLimit(t *testing.T) {
	f, err := OS.Create(filepath.Join(t.TempDir(), "f"))
	check(t, err)
	defer f.Close()
	var old syscall.Rlimit
	check(t, syscall.Getrlimit(unix.RLIMIT_FSIZE, &old))
	limit := old
	limit.Cur = 1000
	check(t, syscall.Setrlimit(unix.RLIMIT_FSIZE, &limit))
	n, err := f.Write(make([]byte, 1500))
	check(t, syscall.Setrlimit(unix.RLIMIT_FSIZE, &old))
	if n != 1000 || !IsNoSpace(err) {
		t.Fatalf("a write beyond the limit: %d, %v", n, err)
	}
	check(t, f.Truncate(0))
	_, err = f.Write(make([]byte, 1500))
	check(t, err)
}

// Running out of descriptors is an error like others.
func TestOSManyOpenFiles(t *testing.T) {
	dir := t.TempDir()
	root := rooted(t, OS, dir)
	var old syscall.Rlimit
	check(t, syscall.Getrlimit(unix.RLIMIT_NOFILE, &old))
	limit := old
	limit.Cur = 64
	check(t, syscall.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	defer func() { check(t, syscall.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
	var files []File
	for i := range 100 {
		f, err := OS.Create(filepath.Join(dir, string(rune('A'+i))))
		if err != nil {
			wantIs(t, err, syscall.EMFILE)
			break
		}
		files = append(files, f)
	}
	if len(files) == 100 {
		t.Error("the limit did not bind")
	}
	_, err := root.Lock("LOCK")
	wantIs(t, err, syscall.EMFILE)
	for _, f := range files {
		check(t, f.Close())
	}
	l, err := root.Lock("LOCK") // the failure left no lock behind
	check(t, err)
	check(t, l.Close())
}
