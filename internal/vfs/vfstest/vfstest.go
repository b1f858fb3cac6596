// Package vfstest checks implementations of vfs.FS, and has helpers for their
// tests.
package vfstest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Conform checks that a file system behaves as vfs.FS requires: what the
// engine's tests show on the memory file system must hold on the real one. open
// returns a file system with an empty directory in it.
func Conform(t *testing.T, open func(t *testing.T) (vfs.FS, string)) {
	for name, run := range map[string]func(t *testing.T, fsys vfs.FS, dir string){
		"file":    conformFile,
		"cut":     conformTruncate,
		"names":   conformNames,
		"dirs":    conformDirs,
		"closed":  conformClosed,
		"unlink":  conformUnlinked,
		"lock":    conformLock,
		"root":    conformRoot,
		"errors":  conformErrors,
		"durable": conformDurable,
	} {
		t.Run(name, func(t *testing.T) {
			fsys, dir := open(t)
			run(t, fsys, dir)
		})
	}
}

// TB is what the helpers need from a *testing.T or a *rapid.T.
type TB interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Check fails the test if err is not nil.
func Check(t TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WantIs fails the test if err is not target.
func WantIs(t TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got the error %v, want %v", err, target)
	}
}

// Write makes a file with some content, synced or not.
func Write(t TB, fsys vfs.FS, name, content string, sync bool) {
	t.Helper()
	f, err := fsys.Create(name)
	Check(t, err)
	n, err := f.Write([]byte(content))
	Check(t, err)
	if n != len(content) {
		t.Fatalf("wrote %d of %d bytes", n, len(content))
	}
	if sync {
		Check(t, f.Sync())
	}
	Check(t, f.Close())
}

// Read returns the content of a file.
func Read(t TB, fsys vfs.FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	Check(t, err)
	defer f.Close()
	return ReadFile(t, f)
}

// ReadFile returns the content of an open file.
func ReadFile(t TB, f vfs.File) string {
	t.Helper()
	size, err := f.Size()
	Check(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("read %d of %d bytes: %v", n, len(b), err)
	}
	return string(b)
}

// List returns the names in a directory.
func List(t TB, fsys vfs.FS, dir string) []string {
	t.Helper()
	names, err := fsys.List(dir)
	Check(t, err)
	return names
}

// Dump returns a whole file system as one line: directories with a slash, files
// with their content.
func Dump(t TB, fsys vfs.FS) string {
	t.Helper()
	var out []string
	var visit func(dir string)
	visit = func(dir string) {
		for _, name := range List(t, fsys, dir) {
			name = fsys.PathJoin(dir, name)
			info, err := fsys.Stat(name)
			Check(t, err)
			if info.IsDir() {
				out = append(out, name+"/")
				visit(name)
				continue
			}
			out = append(out, name+"="+Read(t, fsys, name))
		}
	}
	visit("")
	return strings.Join(out, " ")
}

func conformFile(t *testing.T, fsys vfs.FS, dir string) {
	name := fsys.PathJoin(dir, "a")
	f, err := fsys.Create(name)
	Check(t, err)
	for _, s := range []string{"hello ", "", "world"} {
		n, err := f.Write([]byte(s))
		if n != len(s) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	Check(t, f.Preallocate(1<<16))
	size, err := f.Size()
	Check(t, err)
	if size != 11 {
		t.Fatalf("the size is %d after a preallocation, want 11", size)
	}
	reads := []struct {
		off, n int
		want   string
		err    error
	}{
		{0, 5, "hello", nil}, {6, 5, "world", nil}, {6, 6, "world", io.EOF},
		{11, 1, "", io.EOF}, {100, 1, "", io.EOF}, {3, 0, "", nil},
	}
	for _, r := range reads {
		b := make([]byte, r.n)
		n, err := f.ReadAt(b, int64(r.off))
		if string(b[:n]) != r.want || err != r.err {
			t.Errorf("ReadAt(%d bytes, %d) = %q, %v, want %q, %v", r.n, r.off, b[:n], err, r.want, r.err)
		}
	}
	if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a read at a negative offset succeeded")
	}
	Check(t, f.Sync())
	Check(t, f.Close())
	if got := Read(t, fsys, name); got != "hello world" {
		t.Fatalf("read %q", got)
	}
	info, err := fsys.Stat(name)
	Check(t, err)
	if info.Name() != "a" || info.Size() != 11 || info.IsDir() || !info.Mode().IsRegular() {
		t.Fatalf("Stat: %v", info)
	}
	r, err := fsys.Open(name)
	Check(t, err)
	defer r.Close()
	if _, err := r.Write([]byte("x")); err == nil {
		t.Error("a file opened for reading was written")
	}
	if err := r.Truncate(0); err == nil {
		t.Error("a file opened for reading was cut")
	}
}

func conformTruncate(t *testing.T, fsys vfs.FS, dir string) {
	f, err := fsys.Create(fsys.PathJoin(dir, "a"))
	Check(t, err)
	defer f.Close()
	_, err = f.Write(bytes.Repeat([]byte("0123456789"), 200))
	Check(t, err)
	for _, size := range []int64{-1, 2001} {
		WantIs(t, f.Truncate(size), fs.ErrInvalid)
	}
	Check(t, f.Truncate(2000))
	Check(t, f.Truncate(12))
	_, err = f.Write([]byte("abc"))
	Check(t, err)
	if got := ReadFile(t, f); got != "012345678901abc" {
		t.Fatalf("after a cut and an append: %q", got)
	}
	Check(t, f.Truncate(0))
	_, err = f.Write([]byte("z"))
	Check(t, err)
	if got := ReadFile(t, f); got != "z" {
		t.Fatalf("after a cut to nothing: %q", got)
	}
}

func conformNames(t *testing.T, fsys vfs.FS, dir string) {
	a, b := fsys.PathJoin(dir, "a"), fsys.PathJoin(dir, "b")
	Write(t, fsys, b, "B", false)
	Write(t, fsys, a, "A", false)
	_, err := fsys.Create(a)
	WantIs(t, err, fs.ErrExist)
	if got := List(t, fsys, dir); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("List: %q", got)
	}
	Check(t, fsys.Rename(a, b))
	if got := List(t, fsys, dir); !slices.Equal(got, []string{"b"}) || Read(t, fsys, b) != "A" {
		t.Fatalf("after a rename over a file: %q", got)
	}
	Check(t, fsys.Rename(b, b))
	WantIs(t, fsys.Rename(a, b), fs.ErrNotExist)
	Check(t, fsys.Remove(b))
	WantIs(t, fsys.Remove(b), fs.ErrNotExist)
	_, err = fsys.Open(b)
	WantIs(t, err, fs.ErrNotExist)
	_, err = fsys.Stat(b)
	WantIs(t, err, fs.ErrNotExist)
	if got := List(t, fsys, dir); len(got) != 0 {
		t.Fatalf("List of an empty directory: %q", got)
	}
}

func conformDirs(t *testing.T, fsys vfs.FS, dir string) {
	deep := fsys.PathJoin(dir, "x", "y", "z")
	Check(t, fsys.MkdirAll(deep))
	Check(t, fsys.MkdirAll(deep))
	info, err := fsys.Stat(deep)
	Check(t, err)
	if !info.IsDir() || info.Name() != "z" {
		t.Fatalf("Stat: %v", info)
	}
	file := fsys.PathJoin(deep, "f")
	Write(t, fsys, file, "F", true)
	Check(t, vfs.SyncDir(fsys, deep))
	WantIs(t, fsys.MkdirAll(file), syscall.ENOTDIR)
	WantIs(t, fsys.MkdirAll(fsys.PathJoin(file, "g")), syscall.ENOTDIR)
	if err := fsys.Remove(deep); err == nil {
		t.Fatal("a directory with a file in it was removed")
	}
	if _, err := fsys.Open(deep); err == nil {
		t.Fatal("a directory was opened as a file")
	}
	_, err = fsys.OpenDir(file)
	WantIs(t, err, syscall.ENOTDIR)
	_, err = fsys.List(fsys.PathJoin(dir, "missing"))
	WantIs(t, err, fs.ErrNotExist)
	up := fsys.PathJoin(dir, "up")
	Check(t, fsys.Rename(file, up))
	if got := Read(t, fsys, up); got != "F" {
		t.Fatalf("after a rename to another directory: %q", got)
	}
	Check(t, fsys.Remove(deep))
	_, err = fsys.Stat(deep)
	WantIs(t, err, fs.ErrNotExist)
}

func conformClosed(t *testing.T, fsys vfs.FS, dir string) {
	f, err := fsys.Create(fsys.PathJoin(dir, "a"))
	Check(t, err)
	Check(t, f.Close())
	_, werr := f.Write([]byte("x"))
	_, rerr := f.ReadAt(make([]byte, 1), 0)
	_, serr := f.Size()
	for what, err := range map[string]error{
		"Write": werr, "ReadAt": rerr, "Size": serr, "Close": f.Close(), "Sync": f.Sync(), "Truncate": f.Truncate(0), "Preallocate": f.Preallocate(1),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s of a closed file: %v", what, err)
		}
	}
	d, err := fsys.OpenDir(dir)
	Check(t, err)
	Check(t, d.Close())
	WantIs(t, d.Sync(), fs.ErrClosed)
	WantIs(t, d.Close(), fs.ErrClosed)
}

// conformUnlinked checks that a table which a reader has open may be removed.
func conformUnlinked(t *testing.T, fsys vfs.FS, dir string) {
	name := fsys.PathJoin(dir, "a")
	Write(t, fsys, name, "old", true)
	f, err := fsys.Open(name)
	Check(t, err)
	defer f.Close()
	Check(t, fsys.Remove(name))
	Write(t, fsys, name, "new", true)
	if got := ReadFile(t, f); got != "old" {
		t.Fatalf("the open file reads %q", got)
	}
}

// Rooted opens a directory for as long as the test runs.
func Rooted(t *testing.T, fsys vfs.FS, dir string) vfs.Root {
	t.Helper()
	r, err := fsys.OpenRoot(dir)
	Check(t, err)
	t.Cleanup(func() { Check(t, r.Close()) })
	return r
}

func conformLock(t *testing.T, fsys vfs.FS, dir string) {
	Check(t, fsys.MkdirAll(fsys.PathJoin(dir, "db")))
	db := fsys.PathJoin(dir, "db")
	a, b := Rooted(t, fsys, db), Rooted(t, fsys, db)
	l, err := a.LockShared("LOCK") // makes no file
	Check(t, err)
	if got := List(t, fsys, db); len(got) != 0 {
		t.Fatalf("a shared lock made %q", got)
	}
	Check(t, l.Close())
	for range 3 {
		l, err := a.Lock("LOCK")
		Check(t, err)
		for _, r := range []vfs.Root{a, b} {
			_, err = r.Lock("LOCK")
			WantIs(t, err, base.ErrLocked)
			_, err = r.LockShared("LOCK")
			WantIs(t, err, base.ErrLocked)
			_, err = r.Lock("OTHER")
			WantIs(t, err, base.ErrLocked) // the directory is locked, not the name
		}
		Check(t, l.Close())
		Check(t, l.Close())
		r1, err := a.LockShared("LOCK")
		Check(t, err)
		r2, err := b.LockShared("LOCK")
		Check(t, err)
		Check(t, r1.Close())
		Check(t, r1.Close())
		_, err = a.Lock("LOCK")
		WantIs(t, err, base.ErrLocked)
		Check(t, r2.Close())
	}
	if got := List(t, fsys, db); !slices.Equal(got, []string{"LOCK"}) {
		t.Fatalf("List: %q", got)
	}
}

// conformRoot checks that a root keeps working in its directory, whatever its
// name leads to.
func conformRoot(t *testing.T, fsys vfs.FS, dir string) {
	db, moved := fsys.PathJoin(dir, "db"), fsys.PathJoin(dir, "moved")
	_, err := fsys.OpenRoot(db)
	WantIs(t, err, fs.ErrNotExist)
	Write(t, fsys, fsys.PathJoin(dir, "file"), "", false)
	_, err = fsys.OpenRoot(fsys.PathJoin(dir, "file"))
	WantIs(t, err, syscall.ENOTDIR)
	Check(t, fsys.MkdirAll(db))
	r, err := fsys.OpenRoot(db)
	Check(t, err)
	Write(t, r, "a", "mine", true)
	Check(t, fsys.Rename(db, moved))
	Check(t, fsys.MkdirAll(db))
	Write(t, fsys, fsys.PathJoin(db, "a"), "of another", true)
	Write(t, r, "b", "mine too", true)
	if got := Read(t, r, "a"); got != "mine" {
		t.Fatalf("the file of the root is %q", got)
	}
	Check(t, r.Rename("b", "c"))
	Check(t, vfs.SyncDir(r, ""))
	Check(t, r.Remove("a"))
	_, err = r.Stat("a")
	WantIs(t, err, fs.ErrNotExist)
	if _, _, err := r.Usage(""); err != nil {
		t.Fatal(err)
	}
	l, err := r.Lock("LOCK")
	Check(t, err)
	other := Rooted(t, fsys, db)
	l2, err := other.Lock("LOCK") // another directory
	Check(t, err)
	_, err = Rooted(t, fsys, moved).Lock("LOCK")
	WantIs(t, err, base.ErrLocked)
	Check(t, l2.Close())
	Check(t, l.Close())
	for where, want := range map[string][]string{moved: {"LOCK", "c"}, db: {"LOCK", "a"}} {
		if got := List(t, fsys, where); !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", where, got, want)
		}
	}
	for _, name := range []string{"../moved/LOCK", "../db/a"} {
		if _, err := r.Open(name); err == nil {
			t.Errorf("%s leads out of the root", name)
		}
	}
	// A removed directory takes no names.
	Check(t, r.Remove("LOCK"))
	Check(t, r.Remove("c"))
	Check(t, fsys.Remove(moved))
	_, err = r.Create("d")
	WantIs(t, err, fs.ErrNotExist)
	_, err = r.Open("c")
	WantIs(t, err, fs.ErrNotExist)
	Check(t, r.Close())
	Check(t, r.Close())
	_, err = r.Create("d")
	WantIs(t, err, fs.ErrClosed)
	_, err = r.Open("d")
	WantIs(t, err, fs.ErrClosed)
	WantIs(t, r.Remove("d"), fs.ErrClosed)
}

func conformErrors(t *testing.T, fsys vfs.FS, dir string) {
	free, total, err := fsys.Usage(fsys.PathJoin(dir))
	if err != nil || free == 0 || free > total {
		t.Fatalf("Usage: %d of %d, %v", free, total, err)
	}
	missing := fsys.PathJoin(dir, "no", "a")
	_, err = fsys.Create(missing)
	WantIs(t, err, fs.ErrNotExist)
	_, err = fsys.OpenDir(missing)
	WantIs(t, err, fs.ErrNotExist)
	WantIs(t, fsys.Rename(missing, missing+"x"), fs.ErrNotExist)
	Write(t, fsys, fsys.PathJoin(dir, "f"), "", false)
	_, err = fsys.Create(fsys.PathJoin(dir, "f", "g"))
	WantIs(t, err, syscall.ENOTDIR)
	if _, err := fsys.Create(fsys.PathJoin(dir, "nul\x00")); err == nil {
		t.Fatal("a name with a zero byte was accepted")
	}
}

func conformDurable(t *testing.T, fsys vfs.FS, dir string) {
	deep := fsys.PathJoin(dir, "p", "q")
	Check(t, vfs.MkdirAllDurable(fsys, deep))
	Check(t, vfs.MkdirAllDurable(fsys, deep))
	Write(t, fsys, fsys.PathJoin(deep, "f"), "F", true)
	Check(t, vfs.SyncDir(fsys, deep))
	if err := vfs.MkdirAllDurable(fsys, fsys.PathJoin(deep, "f", "g")); !errors.Is(err, syscall.ENOTDIR) {
		t.Fatalf("a directory below a file: %v", err)
	}
}
