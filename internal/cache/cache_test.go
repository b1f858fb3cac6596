package cache

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
)

// fillPage writes what page k must hold.
func fillPage(b []byte, k Key) {
	rng := rand.NewPCG(k.File, k.Off)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, rng.Uint64())
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(k.Off) + byte(i)
	}
}

// checkPage reports whether b is what fillPage wrote.
func checkPage(b []byte, k Key) bool {
	rng := rand.NewPCG(k.File, k.Off)
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != rng.Uint64() {
			return false
		}
		b = b[8:]
	}
	for i := range b {
		if b[i] != byte(k.Off)+byte(i) {
			return false
		}
	}
	return true
}

// read acquires a page, fills it if need be, checks it and releases it.
func read(t testing.TB, c *Cache, k Key, size int, scan bool) State {
	t.Helper()
	h, state := c.Acquire(k, size, scan)
	if len(h.Bytes()) != size {
		t.Fatalf("%d bytes, want %d", len(h.Bytes()), size)
	}
	if state == Fill {
		fillPage(h.Bytes(), k)
		h.Publish()
	}
	if !checkPage(h.Bytes(), k) {
		t.Fatalf("page %v holds something else", k)
	}
	h.Release()
	return state
}

func newTest(t testing.TB, budget int64) *Cache {
	t.Helper()
	c := New(Options{Budget: budget})
	t.Cleanup(c.Close)
	return c
}

func TestHitAfterFill(t *testing.T) {
	c := newTest(t, 8<<20)
	for _, size := range []int{1, 80, 511, 512, 513, 4096, 8192, 10_000, 65_536, 300_000} {
		k := Key{File: NewFileID(), Off: uint64(size)}
		if read(t, c, k, size, false) != Fill || read(t, c, k, size, false) != Hit {
			t.Fatalf("size %d: want Fill, then Hit", size)
		}
	}
	if s := c.Stats(); s.Hits != 10 || s.Misses != 10 || s.Inserts != 10 || s.Frames != 10 || s.Privates != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestNoBudget(t *testing.T) {
	for _, budget := range []int64{0, -1, 1, 1000} {
		c := newTest(t, budget)
		k := Key{File: NewFileID()}
		for range 3 {
			if read(t, c, k, 8192, false) != Fill {
				t.Fatal("a hit without memory")
			}
		}
		h, _ := c.Acquire(k, 100, false)
		if s := c.Stats(); s.Privates != 4 || s.Misses != 4 || s.PrivateBytes != 100 {
			t.Fatalf("%+v", s)
		}
		h.Abort()
		if s := c.Stats(); s.PrivateBytes != 0 {
			t.Fatalf("%+v", s)
		}
	}
}

func TestManyMore(t *testing.T) {
	c := newTest(t, 4<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	file := NewFileID()
	for range 20_000 {
		k := Key{File: file, Off: rng.Uint64N(4000)}
		read(t, c, k, 1000+int(k.Off*7%9000), rng.IntN(4) == 0)
	}
	s := c.Stats()
	t.Logf("%+v", s)
	if s.Charged[Pages] > s.Budget || s.Privates > 0 || s.Bytes < s.Budget*3/4 {
		t.Fatalf("%+v", s)
	}
}

func TestConcurrent(t *testing.T) {
	c := newTest(t, 4<<20)
	file := NewFileID()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 5000 {
				k := Key{File: file, Off: rng.Uint64N(1000)}
				read(t, c, k, 1000+int(k.Off*7%9000), false)
			}
		})
	}
	wg.Wait()
	t.Logf("%+v", c.Stats())
}
