package cache

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/invariant"
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
		if s := c.Stats(); s.Privates != 4 || s.Misses != 4 || s.PrivateBytes != 100 || s.Charged[Pages] < 100 {
			t.Fatalf("%+v", s)
		}
		h.Abort()
		if s := c.Stats(); s.PrivateBytes != 0 {
			t.Fatalf("%+v", s)
		}
	}
}

// TestBudget fills a cache many times over with pages of every size.
func TestBudget(t *testing.T) {
	c := newTest(t, 4<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	file := NewFileID()
	steps := 20_000
	if raceEnabled {
		steps = 4000
	}
	for i := range steps {
		k := Key{File: file, Off: rng.Uint64N(4000)}
		read(t, c, k, 1000+int(k.Off*7%9000), rng.IntN(4) == 0)
		if i%1000 == 0 {
			c.check(t)
		}
		if c.room() < 0 {
			t.Fatalf("over the budget by %d", -c.room())
		}
	}
	s := c.Stats()
	if s.Privates > 0 || s.Bytes < s.Budget*3/4 {
		t.Fatalf("%+v", s)
	}
}

func TestChargeShrinksAndGivesBack(t *testing.T) {
	const budget = 4 << 20
	c := newTest(t, budget)
	file := NewFileID()
	fill := func() {
		for i := range uint64(1000) {
			read(t, c, Key{file, i}, 8192, false)
		}
	}
	fill()
	full := c.Stats().Bytes
	for _, part := range []int64{1, 4, 7} {
		n := part * budget / 8
		c.Charge(Memtables, n)
		if s := c.Stats(); s.Charged[Pages]+n > budget || s.Charged[Memtables] != n {
			t.Fatalf("charged %d: %+v", n, s)
		}
		c.check(t)
		fill()
		if s := c.Stats(); s.Charged[Pages]+n > budget || part < 7 && s.Bytes < (budget-n)*3/4 {
			t.Fatalf("charged %d and filled: %+v", n, s)
		}
		c.Charge(Memtables, -n)
	}
	fill()
	c.check(t)
	if s := c.Stats(); s.Bytes < full*9/10 {
		t.Fatalf("%d bytes of pages after all was given back, %d before", s.Bytes, full)
	}
	c.Charge(Tables, 2*budget)
	if s := c.Stats(); s.Frames != 0 || s.Bytes != 0 {
		t.Fatalf("a charge above the budget left pages: %+v", s)
	}
	if read(t, c, Key{file, 1}, 8192, false) != Fill || c.Stats().Privates == 0 {
		t.Fatal("no private buffer when the budget is gone")
	}
}

func TestChargePages(t *testing.T) {
	for _, k := range []Kind{Pages, NumKinds} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Charge(%v) did not panic", k)
				}
			}()
			newTest(t, 0).Charge(k, 1)
		}()
	}
}

// TestAllPinned: with every slot pinned the next page is private, and the
// pinned ones stay what they are, whatever is charged.
func TestAllPinned(t *testing.T) {
	c := newTest(t, 1<<20)
	file := NewFileID()
	var hs []Handle
	for i := range uint64(300) {
		k := Key{file, i}
		h, s := c.Acquire(k, 8192, false)
		if s != Fill {
			t.Fatal("hit of a page never filled")
		}
		fillPage(h.Bytes(), k)
		h.Publish()
		hs = append(hs, h)
	}
	c.Charge(Memtables, 1<<20)
	s := c.Stats()
	if s.Privates == 0 || s.Evictions != 0 || s.PrivateBytes != int64(s.Privates)*8192 {
		t.Fatalf("%+v", s)
	}
	for i, h := range hs {
		if !checkPage(h.Bytes(), Key{file, uint64(i)}) {
			t.Fatalf("page %d changed", i)
		}
		h.Release()
	}
	c.check(t)
	// The next use notices that the budget is exceeded.
	read(t, c, Key{file, 1000}, 8192, false)
	if s := c.Stats(); s.Frames != 0 || s.PrivateBytes != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestDrop(t *testing.T) {
	c := newTest(t, 16<<20)
	keep, gone := NewFileID(), NewFileID()
	for i := range uint64(900) {
		read(t, c, Key{keep, i}, 4096, false)
		read(t, c, Key{gone, i}, 6000, false)
	}
	h, _ := c.Acquire(Key{gone, 450}, 6000, false)
	c.Drop(gone)
	c.Drop(NewFileID())
	c.check(t)
	if s := c.Stats(); s.Frames != 901 || s.Evictions != 899 {
		t.Fatalf("%+v", s)
	}
	if !checkPage(h.Bytes(), Key{gone, 450}) {
		t.Fatal("Drop took a pinned page")
	}
	h.Release()
	for i := range uint64(900) {
		if read(t, c, Key{keep, i}, 4096, false) != Hit {
			t.Fatal("Drop took a page of another file")
		}
	}
	c.Drop(gone)
	if s := c.Stats(); s.Frames != 900 {
		t.Fatalf("%+v", s)
	}
}

// TestOtherSize: a key asked for with another length never gets bytes of the
// wrong length.
func TestOtherSize(t *testing.T) {
	c := newTest(t, 1<<20)
	k := Key{File: NewFileID()}
	read(t, c, k, 4096, false)
	for _, size := range []int{1, 4095, 4097, 30_000} {
		if read(t, c, k, size, false) != Fill {
			t.Fatal("hit with another size")
		}
	}
	if read(t, c, k, 4096, false) != Hit {
		t.Fatal("the page is gone")
	}
	c.check(t)
}

// TestSameTag: two keys that the index cannot tell apart are told apart by
// their frames.
func TestSameTag(t *testing.T) {
	c := newTest(t, 1<<20)
	file, seen := NewFileID(), map[uint64]Key{}
	for off := range uint64(1 << 22) {
		k := Key{file, off}
		h := k.hash() & (1<<34 - 1) // the tag, and a bucket of four
		other, ok := seen[h]
		seen[h] = k
		if !ok {
			continue
		}
		c.index.Store(newTable(4))
		if read(t, c, other, 1000, false) != Fill || read(t, c, k, 1000, false) != Fill {
			t.Fatal("one key answered for another")
		}
		if read(t, c, other, 1000, false) != Hit || read(t, c, k, 1000, false) != Hit {
			t.Fatal("one key hides another")
		}
		return
	}
	t.Fatal("no two hashes alike")
}

// TestGeneration: a frame's state never comes back once its page was evicted
// or its fill aborted, so that a reader who was about to pin it cannot.
func TestGeneration(t *testing.T) {
	c := newTest(t, 1<<20)
	k := Key{File: NewFileID()}
	seen := map[uint64]bool{}
	for i := range 100 {
		h, _ := c.Acquire(k, 4096, false)
		f := h.f
		if i%3 == 0 {
			h.Abort()
		} else {
			h.Publish()
			h.Release()
		}
		c.Drop(k.File)
		if s := f.state.Load() / generation; seen[s] || h.f != f {
			t.Fatalf("generation %d came twice", s)
		} else {
			seen[s] = true
		}
	}
}

func TestMisuse(t *testing.T) {
	c := New(Options{Budget: 1 << 20}) // left open: what follows breaks it
	mustPanic := func(name string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s did not panic", name)
			}
		}()
		f()
	}
	h, _ := c.Acquire(Key{NewFileID(), 0}, 100, false)
	h.Publish()
	mustPanic("Publish twice", h.Publish)
	mustPanic("Abort after Publish", h.Abort)
	h.Release()
	mustPanic("Release twice", h.Release)
	(Handle{}).Release()
	if (Handle{}).Bytes() != nil {
		t.Fatal("the zero handle has bytes")
	}
	if invariant.Enabled {
		c2 := New(Options{Budget: 1 << 20})
		c2.Acquire(Key{1, 1}, 100, false)
		mustPanic("Close with a pin", c2.Close)
	}
}

func TestEvictedBytesArePoisoned(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("only with invariants")
	}
	c := newTest(t, 1<<20)
	k := Key{File: NewFileID()}
	h, _ := c.Acquire(k, 4096, false)
	fillPage(h.Bytes(), k)
	h.Publish()
	h.Release()
	c.Drop(k.File)
	if b := h.Bytes(); b[0] != 0xdb || b[4095] != 0xdb {
		t.Fatal("a stale handle still reads the page")
	}
}

func TestNoAllocation(t *testing.T) {
	if raceEnabled || invariant.Enabled {
		t.Skip("checked builds may allocate")
	}
	c := newTest(t, 8<<20)
	k := Key{File: NewFileID()}
	read(t, c, k, 8192, false)
	if n := testing.AllocsPerRun(1000, func() {
		h, _ := c.Acquire(k, 8192, false)
		h.Release()
		c.Charge(Iterators, 100)
		c.Charge(Iterators, -100)
	}); n != 0 {
		t.Fatalf("a hit allocates %v times", n)
	}
	for i := range uint64(3000) {
		read(t, c, Key{k.File, i}, 8192, false)
	}
	i := uint64(10_000)
	if n := testing.AllocsPerRun(1000, func() {
		h, s := c.Acquire(Key{k.File, i}, 8192, false)
		if s == Fill {
			h.Publish()
		}
		h.Release()
		i++
	}); n != 0 {
		t.Fatalf("a miss allocates %v times", n)
	}
}
