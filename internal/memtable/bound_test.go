package memtable

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// patterns are orders of insertion: key number i of n as a 32-bit number. Some
// are made to split as often as can be: after 7 inserts into the same leaf, or
// one insert into each leaf that an ascending load has left full.
var patterns = []struct {
	name string
	key  func(i, n int, rng *rand.Rand) uint32
}{
	{"ascending", func(i, _ int, _ *rand.Rand) uint32 { return uint32(i) << 8 }},
	{"descending", func(i, n int, _ *rand.Rand) uint32 { return uint32(n-i) << 8 }},
	{"random", func(_, _ int, rng *rand.Rand) uint32 { return rng.Uint32() }},
	{"inward", func(i, n int, _ *rand.Rand) uint32 {
		if i%2 == 0 {
			return uint32(i)
		}
		return uint32(2*n - i)
	}},
	{"outward", func(i, n int, _ *rand.Rand) uint32 {
		if i%2 == 0 {
			return uint32(n + i)
		}
		return uint32(n - i)
	}},
	{"toward a point", func(i, n int, _ *rand.Rand) uint32 { return uint32(1<<30 - i) }},
	{"ascending, then one into each leaf", func(i, n int, _ *rand.Rand) uint32 {
		if i < n/2 {
			return uint32(i) << 8
		}
		leaf, round := oneIntoEach(i, n)
		return uint32(leaf*14<<8 + 1 + round)
	}},
	{"descending, then one into each leaf", func(i, n int, _ *rand.Rand) uint32 {
		if i < n/2 {
			return uint32(n-i) << 8
		}
		leaf, round := oneIntoEach(i, n)
		return uint32((n-leaf*14)<<8 + 1 + round)
	}},
	{"eight, then one ahead", func(i, _ int, _ *rand.Rand) uint32 {
		if i%9 == 8 {
			return uint32(i+9) << 8
		}
		return uint32(i)<<8 + uint32(i%9)
	}},
	{"runs of seven", func(i, n int, _ *rand.Rand) uint32 { return uint32(i/7)*0x9e3779b1&^7 + uint32(i%7) }},
	{"runs of fourteen", func(i, n int, _ *rand.Rand) uint32 { return uint32(i/14)*0x9e3779b1&^15 + uint32(i%14) }},
}

// oneIntoEach goes round the full leaves that n/2 ordered inserts have left.
func oneIntoEach(i, n int) (leaf, round int) {
	leaves := max(n/2/fanout, 1)
	return (i - n/2) % leaves, (i - n/2) / leaves
}

// TestBound fills generations to the brim in the orders above. Add panics
// when the arena is too small for what Reserve has granted.
func TestBound(t *testing.T) {
	sizes := []int{0, 1, 10, 100, 1000, 10_000}
	if testing.Short() {
		sizes = sizes[:5]
	}
	for _, p := range patterns {
		for _, n := range sizes {
			for _, partitions := range []int{1, 64} {
				if n == 10_000 && partitions == 64 {
					continue // the tree is the same, and the index has more room
				}
				t.Run(fmt.Sprintf("%s/%d/%d", p.name, n, partitions), func(t *testing.T) {
					rng := rand.New(rand.NewPCG(uint64(n), 1))
					g := newTestHalf(t, int64(n)*EntryBound(4, 0), partitions)
					var key [4]byte
					i := 0
					for ; g.Reserve(EntryBound(4, 0)); i++ {
						binary.BigEndian.PutUint32(key[:], p.key(i, n, rng))
						g.Add(key[:], base.Hash(key[:]), base.MakeTrailer(base.SeqNum(i+1), base.KindPut), nil)
					}
					if i != n {
						t.Errorf("%d entries fit, not %d", i, n)
					}
					checkStructure(t, g)
					if n == 10_000 {
						t.Logf("%.1f bytes an entry, of %d", float64(g.arena.used())/float64(n), EntryBound(4, 0))
					}
				})
			}
		}
	}
}

// TestReserve fills small generations with entries of any size.
func TestReserve(t *testing.T) {
	for _, capacity := range []int64{0, 1, int64(EntryOverhead) - 1, int64(EntryOverhead), 1 << 10, 10 << 10, 100 << 10} {
		for _, partitions := range []int{1, 4, 64} {
			rng := rand.New(rand.NewPCG(uint64(capacity), 2))
			g := newTestHalf(t, capacity, partitions)
			m := &model{}
			var keys []string
			left := capacity
			for i := 0; ; i++ {
				e := entry{
					key:   fmt.Sprint(rng.Int64N(1 + capacity/200)),
					t:     base.MakeTrailer(base.SeqNum(i+1), base.KindPut),
					value: string(make([]byte, rng.IntN(200))),
				}
				if fits, want := e.add(g), EntryBound(len(e.key), len(e.value)) <= left; fits != want {
					t.Fatalf("capacity %d: Reserve answers %v with %d left", capacity, fits, left)
				} else if !fits {
					break
				}
				left -= EntryBound(len(e.key), len(e.value))
				m.add(e)
				keys = append(keys, e.key)
			}
			if g.Bytes() != capacity-left {
				t.Errorf("Bytes %d, want %d", g.Bytes(), capacity-left)
			}
			checkStructure(t, g)
			if len(keys) < 200 {
				checkAll(t, g, m, base.SeqNumMax, keys)
			}
		}
	}
}

// TestCollidingHashes gives the index keys whose hashes have the same bucket
// at every size, one that moves whole at every split. Without a bound the
// buckets that overflow and empty again would eat the arena.
func TestCollidingHashes(t *testing.T) {
	const n = 3000
	g := newTestHalf(t, 2*int64(n)*EntryBound(8, 1), 1)
	m := &model{}
	var keys []string
	for i, found := uint64(0), 0; found < n; i++ {
		key := binary.BigEndian.AppendUint64(nil, i*0x9e3779b97f4a7c15)
		if base.Hash(key)>>partitionBits&0x3ff != 0x3ff {
			continue
		}
		found++
		e := entry{string(key), base.MakeTrailer(base.SeqNum(found), base.KindPut), "v"}
		if !e.add(g) {
			t.Fatal("full")
		}
		m.add(e)
		keys = append(keys, e.key)
	}
	if !g.partitions[0].spilled.Load() {
		t.Error("nothing spilled: this tests nothing")
	}
	checkStructure(t, g)
	for i, k := range keys {
		if tr, v, ok := g.Get([]byte(k), base.Hash([]byte(k)), base.SeqNumMax); !ok || string(v) != "v" || tr.Seq() != base.SeqNum(i+1) {
			t.Fatalf("key %d of %d: %s %q %v", i, n, tr, v, ok)
		}
	}
	for i, k := range keys { // a key that only the tree has must not be added again
		entry{k, base.MakeTrailer(base.SeqNum(n+i+1), base.KindDelete), ""}.add(g)
	}
	checkStructure(t, g)
}
