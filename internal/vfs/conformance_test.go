package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Every FS behaves the same: what the engine's tests show on the memory file
// system has to hold on the real one.
func TestConformance(t *testing.T) {
	systems := map[string]func(t *testing.T) (FS, string){
		"os":       func(t *testing.T) (FS, string) { return OS, t.TempDir() },
		"mem":      func(*testing.T) (FS, string) { return NewMem(), "" },
		"clone":    func(*testing.T) (FS, string) { return NewMem().CrashClone(CrashOptions{}), "" },
		"fault":    func(*testing.T) (FS, string) { return NewFault(NewMem()), "" },
		"counting": func(t *testing.T) (FS, string) { return NewCounting(NewFault(OS)), t.TempDir() },
		"os root":  func(t *testing.T) (FS, string) { return rooted(t, OS, t.TempDir()), "" },
		"mem root": func(t *testing.T) (FS, string) {
			m := NewMem()
			check(t, m.MkdirAll("a/db"))
			return rooted(t, rooted(t, m, "a"), "db"), ""
		},
		"counting fault root": func(t *testing.T) (FS, string) {
			return rooted(t, NewCounting(NewFault(OS)), t.TempDir()), ""
		},
	}
	cases := map[string]func(t *testing.T, fsys FS, dir string){
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
	}
	for system, open := range systems {
		for name, run := range cases {
			t.Run(system+"/"+name, func(t *testing.T) {
				fsys, dir := open(t)
				run(t, fsys, dir)
			})
		}
	}
}

// tb is what the helpers need of a *testing.T or a *rapid.T.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func check(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t tb, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got the error %v, want %v", err, target)
	}
}

// write makes a file with some content, synced or not.
func write(t tb, fsys FS, name, content string, sync bool) {
	t.Helper()
	f, err := fsys.Create(name)
	check(t, err)
	n, err := f.Write([]byte(content))
	check(t, err)
	if n != len(content) {
		t.Fatalf("wrote %d of %d bytes", n, len(content))
	}
	if sync {
		check(t, f.Sync())
	}
	check(t, f.Close())
}

func read(t tb, fsys FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	check(t, err)
	defer f.Close()
	return readFile(t, f)
}

func readFile(t tb, f File) string {
	t.Helper()
	size, err := f.Size()
	check(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("read %d of %d bytes: %v", n, len(b), err)
	}
	return string(b)
}

func list(t tb, fsys FS, dir string) []string {
	t.Helper()
	names, err := fsys.List(dir)
	check(t, err)
	return names
}

func conformFile(t *testing.T, fsys FS, dir string) {
	name := fsys.PathJoin(dir, "a")
	f, err := fsys.Create(name)
	check(t, err)
	for _, s := range []string{"hello ", "", "world"} {
		n, err := f.Write([]byte(s))
		if n != len(s) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	check(t, f.Preallocate(1<<16))
	size, err := f.Size()
	check(t, err)
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
	check(t, f.Sync())
	check(t, f.Close())
	if got := read(t, fsys, name); got != "hello world" {
		t.Fatalf("read %q", got)
	}
	info, err := fsys.Stat(name)
	check(t, err)
	if info.Name() != "a" || info.Size() != 11 || info.IsDir() || !info.Mode().IsRegular() {
		t.Fatalf("Stat: %v", info)
	}
	r, err := fsys.Open(name)
	check(t, err)
	defer r.Close()
	if _, err := r.Write([]byte("x")); err == nil {
		t.Error("a file opened for reading was written")
	}
	if err := r.Truncate(0); err == nil {
		t.Error("a file opened for reading was cut")
	}
}

func conformTruncate(t *testing.T, fsys FS, dir string) {
	f, err := fsys.Create(fsys.PathJoin(dir, "a"))
	check(t, err)
	defer f.Close()
	_, err = f.Write(bytes.Repeat([]byte("0123456789"), 200))
	check(t, err)
	for _, size := range []int64{-1, 2001} {
		wantIs(t, f.Truncate(size), fs.ErrInvalid)
	}
	check(t, f.Truncate(2000))
	check(t, f.Truncate(12))
	_, err = f.Write([]byte("abc"))
	check(t, err)
	if got := readFile(t, f); got != "012345678901abc" {
		t.Fatalf("after a cut and an append: %q", got)
	}
	check(t, f.Truncate(0))
	_, err = f.Write([]byte("z"))
	check(t, err)
	if got := readFile(t, f); got != "z" {
		t.Fatalf("after a cut to nothing: %q", got)
	}
}

func conformNames(t *testing.T, fsys FS, dir string) {
	a, b := fsys.PathJoin(dir, "a"), fsys.PathJoin(dir, "b")
	write(t, fsys, b, "B", false)
	write(t, fsys, a, "A", false)
	_, err := fsys.Create(a)
	wantIs(t, err, fs.ErrExist)
	if got := list(t, fsys, dir); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("List: %q", got)
	}
	check(t, fsys.Rename(a, b))
	if got := list(t, fsys, dir); !slices.Equal(got, []string{"b"}) || read(t, fsys, b) != "A" {
		t.Fatalf("after a rename over a file: %q", got)
	}
	check(t, fsys.Rename(b, b))
	wantIs(t, fsys.Rename(a, b), fs.ErrNotExist)
	check(t, fsys.Remove(b))
	wantIs(t, fsys.Remove(b), fs.ErrNotExist)
	_, err = fsys.Open(b)
	wantIs(t, err, fs.ErrNotExist)
	_, err = fsys.Stat(b)
	wantIs(t, err, fs.ErrNotExist)
	if got := list(t, fsys, dir); len(got) != 0 {
		t.Fatalf("List of an empty directory: %q", got)
	}
}

func conformDirs(t *testing.T, fsys FS, dir string) {
	deep := fsys.PathJoin(dir, "x", "y", "z")
	check(t, fsys.MkdirAll(deep))
	check(t, fsys.MkdirAll(deep))
	info, err := fsys.Stat(deep)
	check(t, err)
	if !info.IsDir() || info.Name() != "z" {
		t.Fatalf("Stat: %v", info)
	}
	file := fsys.PathJoin(deep, "f")
	write(t, fsys, file, "F", true)
	check(t, SyncDir(fsys, deep))
	wantIs(t, fsys.MkdirAll(file), syscall.ENOTDIR)
	wantIs(t, fsys.MkdirAll(fsys.PathJoin(file, "g")), syscall.ENOTDIR)
	if err := fsys.Remove(deep); err == nil {
		t.Fatal("a directory with a file in it was removed")
	}
	if _, err := fsys.Open(deep); err == nil {
		t.Fatal("a directory was opened as a file")
	}
	_, err = fsys.OpenDir(file)
	wantIs(t, err, syscall.ENOTDIR)
	_, err = fsys.List(fsys.PathJoin(dir, "missing"))
	wantIs(t, err, fs.ErrNotExist)
	up := fsys.PathJoin(dir, "up")
	check(t, fsys.Rename(file, up))
	if got := read(t, fsys, up); got != "F" {
		t.Fatalf("after a rename to another directory: %q", got)
	}
	check(t, fsys.Remove(deep))
	_, err = fsys.Stat(deep)
	wantIs(t, err, fs.ErrNotExist)
}

func conformClosed(t *testing.T, fsys FS, dir string) {
	f, err := fsys.Create(fsys.PathJoin(dir, "a"))
	check(t, err)
	check(t, f.Close())
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
	check(t, err)
	check(t, d.Close())
	wantIs(t, d.Sync(), fs.ErrClosed)
	wantIs(t, d.Close(), fs.ErrClosed)
}

// A table that a reader has open may be removed.
func conformUnlinked(t *testing.T, fsys FS, dir string) {
	name := fsys.PathJoin(dir, "a")
	write(t, fsys, name, "old", true)
	f, err := fsys.Open(name)
	check(t, err)
	defer f.Close()
	check(t, fsys.Remove(name))
	write(t, fsys, name, "new", true)
	if got := readFile(t, f); got != "old" {
		t.Fatalf("the open file reads %q", got)
	}
}

// rooted opens a directory for as long as the test runs.
func rooted(t *testing.T, fsys FS, dir string) Root {
	t.Helper()
	r, err := fsys.OpenRoot(dir)
	check(t, err)
	t.Cleanup(func() { check(t, r.Close()) })
	return r
}

func conformLock(t *testing.T, fsys FS, dir string) {
	check(t, fsys.MkdirAll(fsys.PathJoin(dir, "db")))
	db := fsys.PathJoin(dir, "db")
	a, b := rooted(t, fsys, db), rooted(t, fsys, db)
	l, err := a.LockShared("LOCK") // makes no file
	check(t, err)
	if got := list(t, fsys, db); len(got) != 0 {
		t.Fatalf("a shared lock made %q", got)
	}
	check(t, l.Close())
	for range 3 {
		l, err := a.Lock("LOCK")
		check(t, err)
		for _, r := range []Root{a, b} {
			_, err = r.Lock("LOCK")
			wantIs(t, err, base.ErrLocked)
			_, err = r.LockShared("LOCK")
			wantIs(t, err, base.ErrLocked)
			_, err = r.Lock("OTHER")
			wantIs(t, err, base.ErrLocked) // it is the directory that is locked
		}
		check(t, l.Close())
		check(t, l.Close())
		r1, err := a.LockShared("LOCK")
		check(t, err)
		r2, err := b.LockShared("LOCK")
		check(t, err)
		check(t, r1.Close())
		check(t, r1.Close())
		_, err = a.Lock("LOCK")
		wantIs(t, err, base.ErrLocked)
		check(t, r2.Close())
	}
	if got := list(t, fsys, db); !slices.Equal(got, []string{"LOCK"}) {
		t.Fatalf("List: %q", got)
	}
}

// A root goes on working in its directory, whatever its name leads to.
func conformRoot(t *testing.T, fsys FS, dir string) {
	db, moved := fsys.PathJoin(dir, "db"), fsys.PathJoin(dir, "moved")
	_, err := fsys.OpenRoot(db)
	wantIs(t, err, fs.ErrNotExist)
	write(t, fsys, fsys.PathJoin(dir, "file"), "", false)
	_, err = fsys.OpenRoot(fsys.PathJoin(dir, "file"))
	wantIs(t, err, syscall.ENOTDIR)
	check(t, fsys.MkdirAll(db))
	r, err := fsys.OpenRoot(db)
	check(t, err)
	write(t, r, "a", "mine", true)
	check(t, fsys.Rename(db, moved))
	check(t, fsys.MkdirAll(db))
	write(t, fsys, fsys.PathJoin(db, "a"), "of another", true)
	write(t, r, "b", "mine too", true)
	if got := read(t, r, "a"); got != "mine" {
		t.Fatalf("the file of the root is %q", got)
	}
	check(t, r.Rename("b", "c"))
	check(t, SyncDir(r, ""))
	check(t, r.Remove("a"))
	_, err = r.Stat("a")
	wantIs(t, err, fs.ErrNotExist)
	if _, _, err := r.Usage(""); err != nil {
		t.Fatal(err)
	}
	l, err := r.Lock("LOCK")
	check(t, err)
	other := rooted(t, fsys, db)
	l2, err := other.Lock("LOCK") // another directory
	check(t, err)
	_, err = rooted(t, fsys, moved).Lock("LOCK")
	wantIs(t, err, base.ErrLocked)
	check(t, l2.Close())
	check(t, l.Close())
	for where, want := range map[string][]string{moved: {"LOCK", "c"}, db: {"LOCK", "a"}} {
		if got := list(t, fsys, where); !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", where, got, want)
		}
	}
	for _, name := range []string{"../moved/LOCK", "../db/a"} {
		if _, err := r.Open(name); err == nil {
			t.Errorf("%s leads out of the root", name)
		}
	}
	// A directory that was removed takes no names any more.
	check(t, r.Remove("LOCK"))
	check(t, r.Remove("c"))
	check(t, fsys.Remove(moved))
	_, err = r.Create("d")
	wantIs(t, err, fs.ErrNotExist)
	_, err = r.Open("c")
	wantIs(t, err, fs.ErrNotExist)
	check(t, r.Close())
	check(t, r.Close())
	_, err = r.Create("d")
	wantIs(t, err, fs.ErrClosed)
	_, err = r.Open("d")
	wantIs(t, err, fs.ErrClosed)
	wantIs(t, r.Remove("d"), fs.ErrClosed)
}

func conformErrors(t *testing.T, fsys FS, dir string) {
	free, total, err := fsys.Usage(fsys.PathJoin(dir))
	if err != nil || free == 0 || free > total {
		t.Fatalf("Usage: %d of %d, %v", free, total, err)
	}
	missing := fsys.PathJoin(dir, "no", "a")
	_, err = fsys.Create(missing)
	wantIs(t, err, fs.ErrNotExist)
	_, err = fsys.OpenDir(missing)
	wantIs(t, err, fs.ErrNotExist)
	wantIs(t, fsys.Rename(missing, missing+"x"), fs.ErrNotExist)
	write(t, fsys, fsys.PathJoin(dir, "f"), "", false)
	_, err = fsys.Create(fsys.PathJoin(dir, "f", "g"))
	wantIs(t, err, syscall.ENOTDIR)
	if _, err := fsys.Create(fsys.PathJoin(dir, "nul\x00")); err == nil {
		t.Fatal("a name with a zero byte was accepted")
	}
}

func conformDurable(t *testing.T, fsys FS, dir string) {
	deep := fsys.PathJoin(dir, "p", "q")
	check(t, MkdirAllDurable(fsys, deep))
	check(t, MkdirAllDurable(fsys, deep))
	write(t, fsys, fsys.PathJoin(deep, "f"), "F", true)
	check(t, SyncDir(fsys, deep))
	if err := MkdirAllDurable(fsys, fsys.PathJoin(deep, "f", "g")); !errors.Is(err, syscall.ENOTDIR) {
		t.Fatalf("a directory below a file: %v", err)
	}
}
