package merge

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// deal makes n children; a share of the keys goes to the first, the rest to
// the others.
func deal(n, keys int, share float64) []base.Iterator {
	rng := rand.New(rand.NewPCG(1, 2))
	lists := make([]*list, n)
	for i := range lists {
		lists[i] = newList(nil)
	}
	for k := range keys {
		to := 0
		if n > 1 && rng.Float64() >= share {
			to = 1 + rng.IntN(n-1)
		}
		key := binary.BigEndian.AppendUint64(nil, uint64(k)<<40)
		lists[to].kvs = append(lists[to].kvs, base.KV{Key: append(key, "padding."...), Trailer: 256})
	}
	return asIterators(lists)
}

func BenchmarkNext(b *testing.B) {
	for _, c := range []struct {
		children int
		share    float64
	}{{1, 1}, {2, 0.9}, {3, 0.9}, {3, 1. / 3}, {5, 0.9}, {10, 0.9}, {10, 0.1}} {
		b.Run(fmt.Sprintf("children=%d/share=%.1f", c.children, c.share), func(b *testing.B) {
			var it Iter
			it.Init(deal(c.children, 10_000, c.share))
			var kv *base.KV
			for b.Loop() {
				if kv = it.Next(); kv == nil {
					it.First()
				}
			}
		})
	}
}

// BenchmarkChild is what the children themselves cost.
func BenchmarkChild(b *testing.B) {
	it := deal(1, 10_000, 1)[0]
	for b.Loop() {
		if it.Next() == nil {
			it.First()
		}
	}
}

func BenchmarkPrev(b *testing.B) {
	var it Iter
	it.Init(deal(3, 10_000, 0.9))
	for b.Loop() {
		if it.Prev() == nil {
			it.Last()
		}
	}
}

func BenchmarkSeekGE(b *testing.B) {
	var it Iter
	it.Init(deal(5, 10_000, 0.5))
	rng := rand.New(rand.NewPCG(1, 2))
	key := make([]byte, 8)
	for b.Loop() {
		binary.BigEndian.PutUint64(key, rng.Uint64N(10_000)<<40)
		it.SeekGE(key, base.TrailerMax)
	}
}
