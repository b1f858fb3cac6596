package memtable

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/base"
)

// run is a sequence of keys in order: those that a finger is for.
type run struct {
	prefix string
	next   int
	by     int // 0: the same key again and again
}

func (r *run) step() string {
	k := fmt.Sprintf("%s%04d", r.prefix, r.next)
	r.next += r.by
	return k
}

// TestFingerModel adds interleaved runs of keys, some of them through each
// other, by fingers that each follow a run, or another one from time to time.
func TestFingerModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, err := newHalf(Options{Capacity: 16 << 20, Partitions: 1 << rapid.IntRange(0, 6).Draw(t, "partitions")})
		if err != nil {
			t.Fatalf("%v", err)
		}
		defer g.Free()
		runs := make([]run, rapid.IntRange(1, 4).Draw(t, "runs"))
		for i := range runs {
			runs[i] = run{
				prefix: rapid.SampledFrom([]string{"", "a long common prefix/", "b", "\x00"}).Draw(t, "prefix"),
				next:   rapid.IntRange(0, 100).Draw(t, "from") + 3000,
				by:     rapid.SampledFrom([]int{1, 2, 3, 7, -1, -2, 0}).Draw(t, "by"),
			}
		}
		fingers := make([]Finger, len(runs))
		m := &model{}
		seen := map[string]bool{}
		seq := base.SeqNum(0)
		for range rapid.IntRange(1, 30).Draw(t, "bursts") {
			i := rapid.IntRange(0, len(runs)-1).Draw(t, "run")
			f := &fingers[i]
			switch rapid.IntRange(0, 5).Draw(t, "finger") {
			case 0:
				f = &fingers[rapid.IntRange(0, len(runs)-1).Draw(t, "other")]
			case 1:
				*f = Finger{}
			}
			for range rapid.IntRange(1, 20).Draw(t, "keys") {
				seq++
				e := entry{runs[i].step(), base.MakeTrailer(seq, base.KindPut), fmt.Sprint(seq)}
				g.Reserve(EntryBound(len(e.key), len(e.value)))
				g.AddNear(f, []byte(e.key), base.Hash([]byte(e.key)), e.t, []byte(e.value))
				m.add(e)
				seen[e.key] = true
			}
		}
		checkStructure(t, g)
		var keys []string
		for k := range seen {
			keys = append(keys, k)
		}
		for _, s := range []base.SeqNum{seq / 2, seq} {
			checkAll(t, g, m, s, keys)
		}
	})
}

// runKeys are sequences of n writes, given as numbers that are ordered as keys.
// Writers take them in turn, so that what is next to each other here is written
// at the same time.
var runKeys = []struct {
	name string
	key  func(i, n int) int
}{
	{"ascending", func(i, _ int) int { return i }},
	{"descending", func(i, n int) int { return n - i }},
	{"ascending, each twice", func(i, _ int) int { return i / 2 }},
	{"ascending below the last", func(i, n int) int {
		if i == 0 {
			return n
		}
		return i
	}},
	{"three runs", func(i, n int) int { return i%3*n + i/3 }},
	{"three runs, each key thrice", func(i, n int) int { return i/9%3*n + i/27*3 + i%3 }},
	{"two runs that meet", func(i, n int) int {
		if i%2 == 0 {
			return i
		}
		return 2*n - i
	}},
	{"ascending into what is there", func(i, n int) int {
		if i < n/2 {
			return 8 * i
		}
		return 4*(i-n/2) + 1 // the left leaves split under the finger
	}},
}

// TestConcurrentRuns has writers, each with a finger, follow the same runs:
// they split leaves under each other's fingers and add the same keys.
func TestConcurrentRuns(t *testing.T) {
	writes := 12_000
	if testing.Short() {
		writes = 2_000
	}
	for _, set := range runKeys {
		for _, prefix := range []string{"", "a long common prefix"} {
			t.Run(fmt.Sprintf("%s/%d", set.name, len(prefix)), func(t *testing.T) {
				h := &history{writes: map[int][]int{}, finger: true}
				numbers := map[int]int{}
				for i := range writes {
					n := set.key(i, writes)
					k, ok := numbers[n]
					if !ok {
						k = len(h.keys)
						numbers[n] = k
						h.keys = append(h.keys, binary.BigEndian.AppendUint32([]byte(prefix), uint32(n)))
					}
					h.of = append(h.of, k)
					h.writes[k] = append(h.writes[k], i)
				}
				h.sort()
				h.run(t, 16, 3, 2)
			})
		}
	}
}

// TestFingerFollows: of keys in order inside the tree all but two for each leaf
// go where the finger is, and keys in no order do not look there.
func TestFingerFollows(t *testing.T) {
	const n = 3000
	for _, ordered := range []bool{true, false} {
		g := newTestHalf(t, int64(n+1)*EntryBound(4, 0), 1)
		var f Finger
		add := func(k uint32) {
			key := binary.BigEndian.AppendUint32(nil, k)
			g.Reserve(EntryBound(4, 0))
			g.AddNear(&f, key, base.Hash(key), base.MakeTrailer(1, base.KindPut), nil)
		}
		add(1 << 31) // what comes next is not at the end
		order := rand.New(rand.NewPCG(1, 4)).Perm(n)
		if ordered {
			slices.Sort(order)
		}
		near := 0
		for _, k := range order {
			if f.near {
				near++
			}
			add(uint32(k))
		}
		checkStructure(t, g)
		if ordered && near < n*5/7 || !ordered && near > n/20 {
			t.Errorf("ordered %v: the finger was asked for %d of %d keys", ordered, near, n)
		}
	}
}

func TestUsedSlots(t *testing.T) {
	for range 1000 {
		var b bucket
		x, y := rand.Uint64(), rand.Uint32()
		for i := range 8 {
			x &^= uint64(rand.IntN(2)*0xff) << (8 * i)
		}
		for i := range 4 {
			y &^= uint32(rand.IntN(2)*0xff) << (8 * i)
		}
		b.tags0.Store(x)
		b.tags1.Store(y)
		var want uint16
		for i := range bucketSlots {
			if b.tag(i) != 0 {
				want |= 1 << i
			}
		}
		if got := b.used(); got != want {
			t.Fatalf("tags %x %x: used %012b, want %012b (%d)", x, y, got, want, bits.OnesCount16(want))
		}
	}
}
