package memfs

import (
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

func TestMemCapacity(t *testing.T) {
	m := New()
	m.SetCapacity(100)
	f, err := m.Create("a")
	vfstest.Check(t, err)
	n, err := f.Write(make([]byte, 60))
	if n != 60 || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	n, err = f.Write(make([]byte, 60))
	if n != 40 || !vfs.IsNoSpace(err) {
		t.Fatalf("a write beyond the capacity: %d, %v; want 40 bytes and no space", n, err)
	}
	n, err = f.Write(make([]byte, 1))
	if n != 0 || !vfs.IsNoSpace(err) {
		t.Fatalf("a write on a full device: %d, %v", n, err)
	}
	if size, _ := f.Size(); size != 100 || m.Used() != 100 {
		t.Fatalf("size %d, used %d", size, m.Used())
	}
	_, err = m.Create("b")
	vfstest.WantIs(t, err, syscall.ENOSPC)
	vfstest.WantIs(t, m.MkdirAll("d"), syscall.ENOSPC)
	vfstest.Check(t, f.Sync())
	vfstest.Check(t, m.Rename("a", "c"))
	vfstest.Check(t, f.Truncate(10))
	if free, total, err := m.Usage(""); free != 90 || total != 100 || err != nil {
		t.Fatalf("Usage: %d of %d, %v", free, total, err)
	}
	vfstest.Check(t, m.Remove("c"))
	if m.Used() != 10 {
		t.Fatalf("used %d with the removed file still open", m.Used())
	}
	vfstest.Check(t, f.Close())
	if m.Used() != 0 {
		t.Fatalf("used %d at the end", m.Used())
	}
}

func TestMemPreallocate(t *testing.T) {
	m := New()
	m.SetCapacity(100)
	a, err := m.Create("a")
	vfstest.Check(t, err)
	vfstest.Check(t, a.Preallocate(70))
	b, err := m.Create("b")
	vfstest.Check(t, err)
	vfstest.WantIs(t, b.Preallocate(31), syscall.ENOSPC)
	vfstest.Check(t, a.Preallocate(50)) // room that is there already
	if n, err := b.Write(make([]byte, 40)); n != 30 || !vfs.IsNoSpace(err) {
		t.Fatalf("a write into the room of another file: %d, %v", n, err)
	}
	if n, err := a.Write(make([]byte, 80)); n != 70 || !vfs.IsNoSpace(err) {
		t.Fatalf("a write into preallocated room: %d, %v", n, err)
	}
	vfstest.Check(t, a.Truncate(5))
	if m.Used() != 35 {
		t.Fatalf("used %d", m.Used())
	}
	// A replaced file gives back its room.
	vfstest.Check(t, b.Close())
	vfstest.Check(t, m.Rename("a", "b"))
	if m.Used() != 5 {
		t.Fatalf("used %d after the rename", m.Used())
	}
	if c := m.CrashClone(CrashOptions{Keep: 1}); c.Used() != 5 || c.capacity != 100 {
		t.Fatalf("the clone uses %d of %d", c.Used(), c.capacity)
	}
}

// scenario is a creation, an append, a sync, a directory sync, a rename and a
// removal: eight operations.
func scenario(m *FS) error {
	if err := m.MkdirAll("d"); err != nil {
		return err
	}
	f, err := m.Create("d/a")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write([]byte("abc")); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := vfs.SyncDir(m, "d"); err != nil {
		return err
	}
	if err := f.Truncate(1); err != nil {
		return err
	}
	if err := m.Rename("d/a", "d/b"); err != nil {
		return err
	}
	return m.Remove("d/b")
}

func TestMemFreeze(t *testing.T) {
	free := New()
	vfstest.Check(t, scenario(free))
	if free.Ops() != 8 || free.Frozen() {
		t.Fatalf("%d operations, frozen %v", free.Ops(), free.Frozen())
	}
	for k := int64(1); k <= 9; k++ {
		m := New()
		root := vfstest.Rooted(t, m, "")
		m.FreezeAt(k)
		err := scenario(m)
		if k > 8 {
			vfstest.Check(t, err)
			continue
		}
		vfstest.WantIs(t, err, ErrFrozen)
		if m.Ops() != k-1 || !m.Frozen() {
			t.Fatalf("frozen at %d: %d operations, frozen %v", k, m.Ops(), m.Frozen())
		}
		_, err = m.Stat("d")
		vfstest.WantIs(t, err, ErrFrozen)
		_, err = m.List("d")
		vfstest.WantIs(t, err, ErrFrozen)
		_, err = m.Open("d/a")
		vfstest.WantIs(t, err, ErrFrozen)
		_, err = root.Lock("LOCK")
		vfstest.WantIs(t, err, ErrFrozen)
		_, err = root.LockShared("LOCK")
		vfstest.WantIs(t, err, ErrFrozen)
		// The operation that froze had no effect: exactly the others are there.
		other := New()
		other.FreezeAt(k)
		_ = scenario(other)
		if a, b := vfstest.Dump(t, m.CrashClone(CrashOptions{Keep: 1})), vfstest.Dump(t, other.CrashClone(CrashOptions{Keep: 1})); a != b {
			t.Fatalf("%s is not %s", a, b)
		}
	}
}

func TestMemFreezeWhat(t *testing.T) {
	want := []string{
		"", "d/", "d/ d/a=", "d/ d/a=abc", "d/ d/a=abc", "d/ d/a=abc", "d/ d/a=a", "d/ d/b=a", "d/",
	}
	for k := 1; k <= 9; k++ {
		m := New()
		m.FreezeAt(int64(k))
		_ = scenario(m)
		if got := vfstest.Dump(t, m.CrashClone(CrashOptions{Keep: 1})); got != want[k-1] {
			t.Errorf("frozen at %d: %q, want %q", k, got, want[k-1])
		}
	}
}

func TestMemFreezeLate(t *testing.T) {
	m := New()
	vfstest.Write(t, m, "a", "A", true)
	f, err := m.Open("a")
	vfstest.Check(t, err)
	m.FreezeAt(m.Ops() + 1)
	if _, err := f.ReadAt(make([]byte, 1), 0); err != nil || m.Frozen() {
		t.Fatalf("reading does not freeze: %v", err)
	}
	vfstest.WantIs(t, m.Remove("a"), ErrFrozen)
	_, err = f.ReadAt(make([]byte, 1), 0)
	vfstest.WantIs(t, err, ErrFrozen)
	vfstest.WantIs(t, f.Sync(), ErrFrozen)
	vfstest.Check(t, f.Close())
	m.FreezeAt(0)
	if got := vfstest.Read(t, m, "a"); got != "A" {
		t.Fatalf("thawed: %q", got)
	}
	m.FreezeAt(1)
	_, err = m.Stat("a")
	vfstest.WantIs(t, err, ErrFrozen)
}

func TestMemLockOfClone(t *testing.T) {
	m := New()
	_, err := vfstest.Rooted(t, m, "").Lock("LOCK")
	vfstest.Check(t, err)
	c := m.CrashClone(CrashOptions{Keep: 1})
	l, err := vfstest.Rooted(t, c, "").Lock("LOCK")
	vfstest.Check(t, err)
	vfstest.Check(t, l.Close())
}

func TestMemRenameDir(t *testing.T) {
	m := New()
	vfstest.Check(t, m.MkdirAll("a/b"))
	vfstest.Check(t, m.MkdirAll("c"))
	vfstest.WantIs(t, m.Rename("a", "a/b/a"), syscall.EXDEV)
	vfstest.WantIs(t, m.Rename("a", "c"), fs.ErrExist)
	vfstest.Check(t, m.Rename("a", "d"))
	if got := vfstest.Dump(t, m); got != "c/ d/ d/b/" {
		t.Fatal(got)
	}
}

// Appends, syncs, reads, listings and clones from many goroutines; the race
// detector is the judge, and that every clone holds whole prefixes.
func TestMemConcurrent(t *testing.T) {
	m := New()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				name := fmt.Sprintf("%d-%d", g, i%5)
				f, err := m.Create(name)
				if err != nil {
					t.Error(err)
					return
				}
				for range 10 {
					_, _ = f.Write([]byte("0123456789"))
					_, _ = f.ReadAt(make([]byte, 20), 5)
					if i%2 == 0 {
						_ = f.Sync()
					}
				}
				_ = f.Truncate(50)
				_, _ = f.Write([]byte("0123456789"))
				_, _ = m.List("/")
				_, _ = m.Stat(name)
				_ = m.Rename(name, name+"x")
				_ = m.Remove(name + "x")
				_ = f.Close()
			}
		})
	}
	for range 30 {
		c := m.CrashClone(CrashOptions{Keep: 1})
		for _, name := range vfstest.List(t, c, "/") {
			b := vfstest.Read(t, c, name)
			for i := range b {
				if b[i] != byte('0'+i%10) {
					t.Fatalf("%s: %q", name, b)
				}
			}
		}
	}
	wg.Wait()
	if m.Used() != 0 || len(vfstest.List(t, m, "/")) != 0 {
		t.Fatalf("used %d, files %q", m.Used(), vfstest.List(t, m, "/"))
	}
}
