package filecache

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// machine is a system with a limited number of descriptors, which it counts.
type machine struct {
	vfs.FS
	mu     sync.Mutex
	limit  int
	open   int
	most   int
	opens  int
	inRead atomic.Pointer[func()]
}

func (m *machine) take() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open >= m.limit {
		return &fs.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}
	}
	m.open++
	m.opens++
	m.most = max(m.most, m.open)
	return nil
}

func (m *machine) Create(string) (vfs.File, error) {
	if err := m.take(); err != nil {
		return nil, err
	}
	return &handle{m: m}, nil
}

func (m *machine) count() (open, most, opens int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open, m.most, m.opens
}

// handle is an open file whose every byte is b.
type handle struct {
	vfs.File
	m      *machine
	b      byte
	closed atomic.Bool
}

func (h *handle) ReadAt(p []byte, _ int64) (int, error) {
	if fn := h.m.inRead.Load(); fn != nil {
		(*fn)()
	}
	for i := range p {
		p[i] = h.b
	}
	if h.closed.Load() {
		return 0, fs.ErrClosed
	}
	return len(p), nil
}

func (h *handle) Close() error {
	if h.closed.Swap(true) {
		return errors.New("closed twice")
	}
	h.m.mu.Lock()
	h.m.open--
	h.m.mu.Unlock()
	return nil
}

func (m *machine) files(c *Cache, n int) []*File {
	out := make([]*File, n)
	for i := range out {
		out[i] = c.File(func() (vfs.File, error) {
			if err := m.take(); err != nil {
				return nil, err
			}
			return &handle{m: m, b: byte(i)}, nil
		})
	}
	return out
}

func read(t testing.TB, f *File, want int) {
	t.Helper()
	var b [3]byte
	if n, err := f.ReadAt(b[:], 0); n != 3 || err != nil || b[2] != byte(want) {
		t.Errorf("read %d bytes %v, %v; want %d", n, b, err, byte(want))
	}
}

// readAtRandom reads files from several goroutines, n times in each.
func readAtRandom(t *testing.T, files []*File, goroutines, n int) {
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range n {
				i := r.IntN(len(files))
				read(t, files[i], i)
			}
		})
	}
	wg.Wait()
}

// TestLimitHolds reads many files concurrently: at most limit files are open, and each read
// returns bytes of its own file.
func TestLimitHolds(t *testing.T) {
	for _, limit := range []int{1, 2, 7, 100} {
		m := &machine{limit: 1 << 30}
		c := New(limit)
		files := m.files(c, 50)
		readAtRandom(t, files, 8, 2000)
		open, most, _ := m.count()
		if s := c.Stats(); most > limit || open != min(limit, len(files)) || s.Open != open || s.Limit != limit || s.Opens-s.Closes != uint64(open) {
			t.Errorf("limit %d: %d open, %d at most; stats %+v", limit, open, most, s)
		}
		for _, f := range files {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("a closed file: %v", err)
			}
		}
		if open, _, _ := m.count(); open != 0 || c.Stats().Open != 0 || c.slots != 0 {
			t.Errorf("limit %d: %d open after all were closed, %d slots taken", limit, open, c.slots)
		}
	}
}

// TestSecondChance: a file that is read again and again stays open while others come and
// go.
func TestSecondChance(t *testing.T) {
	m := &machine{limit: 1 << 30}
	files := m.files(New(4), 200)
	opens := 0
	for i := 1; i < len(files); i++ {
		_, _, before := m.count()
		read(t, files[0], 0)
		_, _, after := m.count()
		opens += after - before
		read(t, files[i], i)
	}
	if opens > 10 {
		t.Errorf("a file that is read every other time was opened %d times", opens)
	}
}

// TestRefusedOpensShrinkTheCache: the cache works on a machine with fewer descriptors than
// its limit, and restores the limit when the machine has more.
func TestRefusedOpensShrinkTheCache(t *testing.T) {
	for _, has := range []int{1, 2, 3, 16} {
		m := &machine{limit: has}
		c := New(64)
		var clock atomic.Int64
		c.now = func() time.Time { return time.Unix(clock.Load(), 0) }
		files := m.files(c, 100)
		readAtRandom(t, files, 4, 1000)
		if s := c.Stats(); s.Refusals == 0 || s.Limit > max(has, 2) {
			t.Errorf("%d descriptors: %+v", has, s)
		}
		m.mu.Lock()
		m.limit = 1000
		m.mu.Unlock()
		clock.Add(int64(growAfter/time.Second) * 10)
		for i, f := range files {
			read(t, f, i)
		}
		if s := c.Stats(); s.Open != 64 {
			t.Errorf("%d descriptors, then enough: %+v", has, s)
		}
	}
}

// TestDescriptorGivenBackIsUsed: if a descriptor is freed between a refusal and the cache's
// reaction to it, the cache tries again, even if it has no file left to close.
func TestDescriptorGivenBackIsUsed(t *testing.T) {
	m := &machine{limit: 1}
	c := New(4)
	files := m.files(c, 1)
	read(t, files[0], 0)
	_, err := retry(c, "log", func(name string) (vfs.File, error) {
		f, err := m.Create(name)
		if err != nil {
			if err := files[0].Close(); err != nil {
				t.Error(err)
			}
		}
		return f, err
	})
	if err != nil {
		t.Errorf("a descriptor is there: %v", err)
	}
}

// TestOtherOpensComeFirst: opens outside the cache get the descriptors that it holds, down
// to the last one.
func TestOtherOpensComeFirst(t *testing.T) {
	m := &machine{limit: 10}
	c := New(10)
	files := m.files(c, 20)
	for i, f := range files {
		read(t, f, i)
	}
	other := NewFS(m, c)
	for i := range 10 {
		if _, err := other.Create("log"); err != nil {
			t.Fatalf("file %d beside an idle cache: %v", i, err)
		}
	}
	if _, err := other.Create("log"); !vfs.IsTooManyFiles(err) {
		t.Fatalf("without any descriptor: %v", err)
	}
	done := make(chan error)
	for range 4 {
		go func() { _, err := files[3].ReadAt(make([]byte, 1), 0); done <- err }()
	}
	for range 4 {
		select {
		case err := <-done:
			if !vfs.IsTooManyFiles(err) {
				t.Errorf("a read without any descriptor: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("readers without any descriptor wait for each other")
		}
	}
	if c.slots != 0 || c.stuck != 0 {
		t.Errorf("%d slots, %d stuck after all failed", c.slots, c.stuck)
	}
}

// TestWaitsForReads: if all open files are being read, a read of another file waits for one
// of them, and so does an open that the system refuses.
func TestWaitsForReads(t *testing.T) {
	m := &machine{limit: 2}
	c := New(2)
	files := m.files(c, 4)
	hold, entered := make(chan struct{}), make(chan struct{}, 4)
	block := func() { entered <- struct{}{}; <-hold }
	m.inRead.Store(&block)
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { read(t, files[i], i) })
	}
	<-entered
	<-entered
	m.inRead.Store(nil)
	for i := 2; i < 4; i++ {
		wg.Go(func() { read(t, files[i], i) })
	}
	wg.Go(func() {
		if _, err := NewFS(m, c).Create("log"); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(10 * time.Millisecond)
	close(hold)
	wg.Wait()
}

func TestErrorsAreNotRemembered(t *testing.T) {
	m := &machine{limit: 10}
	fail := true
	f := New(1).File(func() (vfs.File, error) {
		if fail {
			return nil, fmt.Errorf("no %w", fs.ErrNotExist)
		}
		return &handle{m: m, b: 7}, m.take()
	})
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	fail = false
	read(t, f, 7)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkOpenFile is a read of a file that is open, without the read.
func BenchmarkOpenFile(b *testing.B) {
	m := &machine{limit: 10}
	f := m.files(New(4), 1)[0]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.ReadAt(nil, 0); err != nil {
			b.Fatal(err)
		}
	}
}
