package cache

import (
	"math/rand/v2"
	"testing"
)

func warm(b *testing.B, pages int) (*Cache, uint64) {
	c := New(Options{Budget: int64(pages) * 8192 * 5 / 4})
	b.Cleanup(c.Close)
	file := NewFileID()
	for i := range pages {
		h, s := c.Acquire(Key{file, uint64(i) * 8192}, 8192, false)
		if s == Fill {
			h.Publish()
		}
		h.Release()
	}
	return c, file
}

func BenchmarkHitOne(b *testing.B) {
	c, file := warm(b, 1000)
	for b.Loop() {
		h, _ := c.Acquire(Key{file, 8192}, 8192, false)
		h.Release()
	}
}

func BenchmarkHit1000(b *testing.B) {
	c, file := warm(b, 1000)
	i := uint64(0)
	for b.Loop() {
		i = i*6364136223846793005 + 1442695040888963407
		h, s := c.Acquire(Key{file, i >> 33 % 1000 * 8192}, 8192, false)
		if s == Fill {
			b.Fatal("miss")
		}
		h.Release()
	}
}

func BenchmarkHitParallel(b *testing.B) {
	c, file := warm(b, 1000)
	b.RunParallel(func(p *testing.PB) {
		i := rand.Uint64()
		for p.Next() {
			i = i*6364136223846793005 + 1442695040888963407
			h, _ := c.Acquire(Key{file, i >> 33 % 1000 * 8192}, 8192, false)
			h.Release()
		}
	})
}

// BenchmarkHitOneParallel is the worst case: every core wants the same page.
func BenchmarkHitOneParallel(b *testing.B) {
	c, file := warm(b, 1000)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			h, _ := c.Acquire(Key{file, 8192}, 8192, false)
			h.Release()
		}
	})
}

// BenchmarkHitLarge has so many pages that index, frame and page come from
// DRAM: 512 MiB of address space, of which the pages' first lines are read.
func BenchmarkHitLarge(b *testing.B) {
	const pages = 50_000
	c, file := warm(b, pages)
	i, sum := uint64(0), byte(0)
	for b.Loop() {
		i = i*6364136223846793005 + 1442695040888963407
		h, _ := c.Acquire(Key{file, i >> 33 % pages * 8192}, 8192, false)
		sum += h.Bytes()[0]
		h.Release()
	}
	_ = sum
}

// BenchmarkMiss is the cost of a miss but for the read itself: find, evict,
// enter, publish.
func BenchmarkMiss(b *testing.B) {
	c, file := warm(b, 1000)
	i := uint64(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		h, s := c.Acquire(Key{file, i * 8192}, 8192, false)
		if s == Fill {
			h.Publish()
		}
		h.Release()
		i++
	}
}

func BenchmarkMissParallel(b *testing.B) {
	c, _ := warm(b, 1000)
	b.RunParallel(func(p *testing.PB) {
		file := NewFileID()
		for i := uint64(0); p.Next(); i++ {
			h, s := c.Acquire(Key{file, i * 8192}, 8192, false)
			if s == Fill {
				h.Publish()
			}
			h.Release()
		}
	})
}

func BenchmarkCharge(b *testing.B) {
	c, _ := warm(b, 100)
	for b.Loop() {
		c.Charge(Iterators, 100)
		c.Charge(Iterators, -100)
	}
}
