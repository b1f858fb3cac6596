package cache

import "testing"

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
