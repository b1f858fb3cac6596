package cache

import (
	"container/list"
	"math"
	"math/rand/v2"
	"testing"
)

// touch acquires a page without filling it in earnest.
func touch(c *Cache, k Key, size int, scan bool) bool {
	h, s := c.Acquire(k, size, scan)
	if s == Fill {
		h.Publish()
	}
	h.Release()
	return s == Hit
}

// skipAlone skips a test of one goroutine under the race detector, which makes
// it slow and has nothing to find.
func skipAlone(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine")
	}
}

// pageSize spreads sizes from 4 to 12 KiB, as pages cut by a model have.
func pageSize(off uint64) int { return 4096 + int(off*2654435761>>7%8192) }

// zipf draws pages with the weights of YCSB: rank r has weight r^-theta, and
// ranks are scattered over the pages.
type zipf struct {
	rng   *rand.Rand
	cdf   []float64
	pages []int
}

func newZipf(n int, theta float64) *zipf {
	z := &zipf{rng: rand.New(rand.NewPCG(7, 7)), cdf: make([]float64, n)}
	sum := 0.0
	for i := range n {
		sum += math.Pow(float64(i+1), -theta)
		z.cdf[i] = sum
	}
	z.pages = z.rng.Perm(n)
	return z
}

func (z *zipf) next() uint64 {
	x := z.rng.Float64() * z.cdf[len(z.cdf)-1]
	lo, hi := 0, len(z.cdf)-1
	for lo < hi {
		if m := (lo + hi) / 2; z.cdf[m] < x {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return uint64(z.pages[lo])
}

// lru is the yardstick: least recently used, by bytes, without any overhead.
type lru struct {
	room  int
	order *list.List
	at    map[uint64]*list.Element
}

func (l *lru) touch(k uint64, size int) bool {
	if e := l.at[k]; e != nil {
		l.order.MoveToFront(e)
		return true
	}
	l.at[k] = l.order.PushFront(k)
	l.room -= size
	for l.room < 0 {
		e := l.order.Back()
		k := l.order.Remove(e).(uint64)
		delete(l.at, k)
		l.room += pageSize(k)
	}
	return false
}

// TestZipf: on skewed reads the cache beats an LRU that has the whole budget
// for page bytes and no overhead.
func TestZipf(t *testing.T) {
	skipAlone(t)
	const pages, reads, budget = 20_000, 200_000, 16 << 20 // a tenth of the data
	for _, theta := range []float64{0.7, 0.99} {
		c, l := newTest(t, budget), &lru{room: budget, order: list.New(), at: map[uint64]*list.Element{}}
		z, file := newZipf(pages, theta), NewFileID()
		ours, theirs := 0, 0
		for i := range reads {
			k := z.next()
			a, b := touch(c, Key{file, k}, pageSize(k), false), l.touch(k, pageSize(k))
			if i >= reads/2 {
				if a {
					ours++
				}
				if b {
					theirs++
				}
			}
		}
		a, b := float64(ours)/(reads/2), float64(theirs)/(reads/2)
		s := c.Stats()
		t.Logf("theta %v: hit ratio %.3f, LRU %.3f; pages are %.3f of the budget", theta, a, b, float64(s.Bytes)/budget)
		if a < b {
			t.Errorf("theta %v: hit ratio %.3f, LRU %.3f", theta, a, b)
		}
	}
}

// TestScanResistance: a hot set of half the budget is read at random while a
// scan of ten times the budget passes, two scanned pages for each hot one.
func TestScanResistance(t *testing.T) {
	skipAlone(t)
	const budget, hot = 16 << 20, 1000
	for _, hinted := range []bool{true, false} {
		c, file, scanned := newTest(t, budget), NewFileID(), NewFileID()
		rng := rand.New(rand.NewPCG(3, 3))
		read := func() bool {
			k := rng.Uint64N(hot)
			return touch(c, Key{file, k}, pageSize(k), false)
		}
		for range 10 * hot {
			read()
		}
		hits, reads := 0, 0
		for i := range uint64(10 * budget / 8192) {
			touch(c, Key{scanned, i}, pageSize(i), hinted)
			if i%2 == 0 {
				reads++
				if read() {
					hits++
				}
			}
		}
		ratio := float64(hits) / float64(reads)
		t.Logf("hinted %v: hit ratio of the hot set %.4f", hinted, ratio)
		if ratio < 0.99 {
			t.Errorf("hinted %v: the scan cost the hot set: hit ratio %.4f", hinted, ratio)
		}
	}
}

// TestScanHitsDoNotHeat: pages that only scans read are evicted like any page read once,
// however often they are scanned.
func TestScanHitsDoNotHeat(t *testing.T) {
	c, file := newTest(t, 4<<20), NewFileID()
	for range 10 {
		for i := range uint64(20) {
			touch(c, Key{file, i}, 8192, true)
		}
	}
	for i := range uint64(1000) {
		touch(c, Key{file, 1000 + i}, 8192, false)
	}
	for i := range uint64(20) {
		if touch(c, Key{file, i}, 8192, true) {
			t.Fatalf("page %d is still there", i)
		}
	}
}

// TestGhosts: a page that was read and is soon read again counts as hot; a page that was
// only scanned does not.
func TestGhosts(t *testing.T) {
	for _, scan := range []bool{false, true} {
		c, k := newTest(t, 4<<20), Key{File: NewFileID()}
		touch(c, k, 8192, scan)
		for i := uint64(1); c.find(k, k.hash()) != nil; i++ {
			touch(c, Key{k.File, i}, 8192, false)
		}
		touch(c, k, 8192, false)
		want := queueMain
		if scan {
			want = queueSmall
		}
		if got := c.find(k, k.hash()).queue; got != want {
			t.Errorf("scanned %v: in queue %d, want %d", scan, got, want)
		}
	}
}

// TestSizesShift: memory follows when all reads turn to pages of another size.
func TestSizesShift(t *testing.T) {
	skipAlone(t)
	const budget, pages = 16 << 20, 2500
	c, rng := newTest(t, budget), rand.New(rand.NewPCG(4, 4))
	for round, size := range []int{4096, 6100, 3000, 5000} {
		file := NewFileID()
		hits := 0
		const reads = 20 * pages
		for i := range reads {
			if touch(c, Key{file, rng.Uint64N(pages)}, size, false) && i > reads/2 {
				hits++
			}
		}
		ratio := float64(hits) / (reads / 2)
		t.Logf("round %d, pages of %d bytes: hit ratio %.3f", round, size, ratio)
		if ratio < 0.95 {
			t.Errorf("round %d: the memory of other sizes was not taken over: hit ratio %.3f", round, ratio)
		}
		c.check(t)
	}
}
