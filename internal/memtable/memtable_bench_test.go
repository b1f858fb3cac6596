package memtable

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	benchKeys  = 500_000
	benchValue = 100
)

// hashedKey is key number i of a set in random order: 16 hex digits.
func hashedKey(dst []byte, i int) []byte {
	var b [8]byte
	x := (uint64(i) + 1) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	binary.BigEndian.PutUint64(b[:], x^x>>27)
	return hex.AppendEncode(dst, b[:])
}

func sequentialKey(dst []byte, i int) []byte { return fmt.Appendf(dst, "user%012d", i) }

var keySets = []struct {
	name  string
	keyOf func([]byte, int) []byte
}{{"random", hashedKey}, {"sequential", sequentialKey}}

// benchKeySet is the keys, end to end, with their hashes: none is computed
// while the clock runs.
func benchKeySet(n int, keyOf func([]byte, int) []byte) (keys []byte, hashes []uint64) {
	for i := range n {
		keys = keyOf(keys, i)
		hashes = append(hashes, base.Hash(keys[i*16:]))
	}
	return keys, hashes
}

// shuffled is the same in another order, so that a benchmark of random reads
// does not measure its own cache misses.
func shuffled(keys []byte, hashes []uint64) ([]byte, []uint64) {
	n := len(hashes)
	k, h := make([]byte, 0, len(keys)), make([]uint64, 0, n)
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		k, h = append(k, keys[i*16:i*16+16]...), append(h, hashes[i])
	}
	return k, h
}

func benchGeneration(b *testing.B, partitions int) *half {
	g, err := newHalf(Options{Capacity: int64(benchKeys) * EntryBound(16, benchValue), Partitions: partitions})
	if err != nil {
		b.Fatal(err)
	}
	return g
}

func fill(g *half, keys []byte, hashes []uint64, first, last, stride int) {
	value := make([]byte, benchValue)
	for i := first; i < last; i += stride {
		g.BeginWrite()
		if !g.Reserve(EntryBound(16, benchValue)) {
			panic("full")
		}
		g.Add(keys[i*16:i*16+16], hashes[i], base.MakeTrailer(base.SeqNum(i+1), base.KindPut), value)
		g.EndWrite()
	}
}

// BenchmarkInsert fills a generation with 500,000 entries again and again.
func BenchmarkInsert(b *testing.B) {
	for _, set := range keySets {
		keys, hashes := benchKeySet(benchKeys, set.keyOf)
		for _, writers := range []int{1, 2} {
			for _, partitions := range []int{1, 2, 4, 16, 64} {
				b.Run(fmt.Sprintf("%s/writers=%d/partitions=%d", set.name, writers, partitions), func(b *testing.B) {
					for done := 0; done < b.N; done += benchKeys {
						b.StopTimer()
						g := benchGeneration(b, partitions)
						n := min(benchKeys, b.N-done)
						b.StartTimer()
						var wg sync.WaitGroup
						for w := range writers {
							wg.Go(func() { fill(g, keys, hashes, w, n, writers) })
						}
						wg.Wait()
						b.StopTimer()
						b.ReportMetric(float64(g.arena.used())/float64(n), "B/entry")
						g.Free()
						b.StartTimer()
					}
				})
			}
		}
	}
}

// BenchmarkBatch inserts as a commit of many keys does: it asks for buckets a
// few keys ahead. Sorted keys are the random ones in order.
func BenchmarkBatch(b *testing.B) {
	const ahead = 8
	keys, hashes := benchKeySet(benchKeys, hashedKey)
	sets := []struct {
		name   string
		keys   []byte
		hashes []uint64
	}{{"random", keys, hashes}, {name: "sorted"}, {name: "descending"}, {name: "sequential"}, {name: "inside"}}
	order := make([]string, benchKeys)
	for i := range order {
		order[i] = string(keys[i*16 : i*16+16])
	}
	slices.Sort(order)
	for i := range order {
		up, down := order[i], order[len(order)-1-i]
		sets[1].keys = append(sets[1].keys, up...)
		sets[1].hashes = append(sets[1].hashes, base.Hash([]byte(up)))
		sets[2].keys = append(sets[2].keys, down...)
		sets[2].hashes = append(sets[2].hashes, base.Hash([]byte(down)))
	}
	sets[3].keys, sets[3].hashes = benchKeySet(benchKeys, sequentialKey)
	sets[4].keys = append([]byte("zzzzzzzzzzzzzzzz"), sets[1].keys...)
	sets[4].hashes = append([]uint64{base.Hash(sets[4].keys[:16])}, sets[1].hashes...)
	for _, set := range sets {
		b.Run(set.name, func(b *testing.B) {
			for done := 0; done < b.N; done += benchKeys {
				b.StopTimer()
				g := benchGeneration(b, 16)
				n := min(benchKeys, b.N-done)
				g.BeginWrite()
				g.Reserve(int64(n) * EntryBound(16, 0))
				var f Finger
				b.StartTimer()
				for i := range n {
					if i%ahead == 0 {
						for _, h := range set.hashes[i:min(i+ahead, n)] {
							g.Prefetch(h)
						}
					}
					if i%100 == 0 {
						f = Finger{}
					}
					g.AddNear(&f, set.keys[i*16:i*16+16], set.hashes[i], base.MakeTrailer(base.SeqNum(i+1), base.KindDelete), nil)
				}
				b.StopTimer()
				b.ReportMetric(float64(g.arena.used())/float64(n), "B/entry")
				g.EndWrite()
				g.Free()
				b.StartTimer()
			}
		})
	}
}

func filled(b *testing.B, keyOf func([]byte, int) []byte) (*half, []byte, []uint64) {
	keys, hashes := benchKeySet(benchKeys, keyOf)
	g := benchGeneration(b, 16)
	fill(g, keys, hashes, 0, benchKeys, 1)
	b.Cleanup(g.Free)
	keys, hashes = shuffled(keys, hashes)
	b.ResetTimer()
	return g, keys, hashes
}

func BenchmarkGetHit(b *testing.B) {
	g, keys, hashes := filled(b, hashedKey)
	i := 0
	for b.Loop() {
		i = (i + 1) % benchKeys
		if _, _, ok := g.Get(keys[i*16:i*16+16], hashes[i], base.SeqNumMax); !ok {
			b.Fatal("lost")
		}
	}
}

func BenchmarkGetMiss(b *testing.B) {
	g, keys, hashes := filled(b, hashedKey)
	i := 0
	for b.Loop() {
		i = (i + 1) % benchKeys
		if _, _, ok := g.Get(keys[i*16:i*16+15], hashes[i]*0x9e3779b97f4a7c15, base.SeqNumMax); ok {
			b.Fatal("found")
		}
	}
}

func BenchmarkWalk(b *testing.B) {
	for _, set := range keySets {
		g, _, _ := filled(b, set.keyOf)
		b.Run(set.name+"/next", func(b *testing.B) {
			it := g.NewIter(base.SeqNumMax)
			for b.Loop() {
				if it.Next() == nil {
					it.First()
				}
			}
		})
		b.Run(set.name+"/prev", func(b *testing.B) {
			it := g.NewIter(base.SeqNumMax)
			for b.Loop() {
				if it.Prev() == nil {
					it.Last()
				}
			}
		})
	}
}

// BenchmarkSeek is a new iterator and one seek to a random key.
func BenchmarkSeek(b *testing.B) {
	for _, set := range keySets {
		g, keys, _ := filled(b, set.keyOf)
		for _, rows := range []int{1, 10} {
			b.Run(fmt.Sprintf("%s/rows=%d", set.name, rows), func(b *testing.B) {
				var it Iter
				i := 0
				for b.Loop() {
					i = (i + 1) % benchKeys
					it.Init(g, base.SeqNumMax)
					kv := it.SeekGE(keys[i*16:i*16+16], base.TrailerMax)
					for r := 1; r < rows && kv != nil; r++ {
						kv = it.Next()
					}
				}
			})
		}
	}
}

// BenchmarkHotKey walks 100 keys, one of which has 100,000 versions, at the
// newest sequence and at one in the middle.
func BenchmarkHotKey(b *testing.B) {
	const versions = 100_000
	g, err := newHalf(Options{Capacity: 1 << 28, Partitions: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Free()
	for i := range versions + 100 {
		k := sequentialKey(nil, max(0, i-versions)+100)
		g.Reserve(EntryBound(len(k), 100))
		g.Add(k, base.Hash(k), base.MakeTrailer(base.SeqNum(i+1), base.KindPut), k)
	}
	for _, s := range []base.SeqNum{base.SeqNumMax, versions / 3} {
		b.Run(fmt.Sprintf("at=%d", s), func(b *testing.B) {
			it := g.NewIter(s)
			for b.Loop() {
				for kv := it.First(); kv != nil; kv = it.Next() {
				}
			}
		})
	}
}
