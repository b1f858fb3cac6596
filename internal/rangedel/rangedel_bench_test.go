package rangedel

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

func benchKey(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

func benchSet(n int) *Set {
	s := new(Set)
	for i, at := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		s.Add(benchKey(4*at), benchKey(4*at+2), base.SeqNum(i+1), nil)
	}
	return s
}

// BenchmarkAdd adds disjoint ranges in random order, and the ever longer range
// of a queue.
func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("disjoint/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			rng := rand.New(rand.NewPCG(3, 4))
			s, i := benchSet(n), n
			for b.Loop() {
				at := 4*rng.IntN(n) + 2
				i++
				s.Add(benchKey(at), benchKey(at+1), base.SeqNum(i), []base.SeqNum{base.SeqNum(i - 1)})
			}
		})
	}
	b.Run("queue", func(b *testing.B) {
		b.ReportAllocs()
		var s Set
		i := 0
		for b.Loop() {
			i++
			s.Add(nil, benchKey(i), base.SeqNum(i), []base.SeqNum{base.SeqNum(i - 1)})
		}
	})
}

// BenchmarkAddAll adds batches to a set of 80,000 fragments in random places, each of
// whose tombstones cuts one of them in three.
func BenchmarkAddAll(b *testing.B) {
	const n = 80_000
	wide := func(i int) (lo, hi uint64) { lo = uint64(i) * 0x9E3779B97F4A7C15; return lo, lo | 0xffffffff }
	key := func(k uint64) []byte { return binary.BigEndian.AppendUint64(nil, k) }
	var from Set
	for i := range n {
		lo, hi := wide(i)
		from.Add(key(lo), key(hi), base.SeqNum(i+1), nil)
	}
	for _, m := range []int{1000, 5000, 20_000} {
		b.Run(fmt.Sprint(m), func(b *testing.B) {
			b.ReportAllocs()
			batch := make([]Tombstone, m)
			for i := range batch {
				lo, hi := wide(i)
				batch[i] = Tombstone{key(lo + 1), key(hi - 1), base.SeqNum(n + i + 1)}
			}
			for b.Loop() {
				s := Set{edits: from.edits + 1}
				s.view.Store(&View{root: from.View().root, n: from.View().n})
				s.AddAll(batch, []base.SeqNum{n, base.SeqNum(n + m)})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*m), "ns/tombstone")
		})
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		v := benchSet(n).View()
		l := v.List()
		keys := make([][]byte, 1024)
		for i := range keys {
			keys[i] = benchKey(rand.IntN(4 * n))
		}
		b.Run(fmt.Sprintf("view/%d", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				v.Find(keys[i%len(keys)])
			}
		})
		b.Run(fmt.Sprintf("list/%d", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				l.Find(keys[i%len(keys)])
			}
		})
	}
}
