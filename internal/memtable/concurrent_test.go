package memtable

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// history is a fixed sequence of writes: the entry with sequence s is
// number s-1. A reader that knows s knows all that a read at s must see.
type history struct {
	keys   [][]byte
	of     []int         // of[i] is the key of write i
	writes map[int][]int // writes of each key, ascending
	sorted []int         // keys in order
	place  []int         // of each key among them
	finger bool          // each writer has a finger
}

func newHistory(keys [][]byte, n int, rng *rand.Rand) *history {
	h := &history{keys: keys, writes: map[int][]int{}}
	for i := range n {
		k := rng.IntN(len(keys))
		h.of = append(h.of, k)
		h.writes[k] = append(h.writes[k], i)
	}
	h.sort()
	return h
}

func (h *history) sort() {
	for k := range h.keys {
		h.sorted = append(h.sorted, k)
	}
	slices.SortFunc(h.sorted, func(a, b int) int { return slices.Compare(h.keys[a], h.keys[b]) })
	h.place = make([]int, len(h.keys))
	for at, k := range h.sorted {
		h.place[k] = at
	}
}

// start is where a walk begins: anywhere, or near one of the last writes.
func (h *history) start(s base.SeqNum, rng *rand.Rand) int {
	if s > 0 && rng.IntN(4) != 0 {
		return h.place[h.of[max(int(s)-1-rng.IntN(16), 0)]]
	}
	return rng.IntN(len(h.sorted))
}

// at is the sequence of the write of a key that a read at s sees, or 0.
func (h *history) at(k int, s base.SeqNum) base.SeqNum {
	w := h.writes[k]
	n := sort.SearchInts(w, int(s))
	if n == 0 {
		return 0
	}
	return base.SeqNum(w[n-1] + 1)
}

func (h *history) write(g *half, f *Finger, i int) {
	k := h.keys[h.of[i]]
	var v [8]byte
	binary.LittleEndian.PutUint64(v[:], uint64(i+1))
	if !h.finger {
		f = new(Finger)
	}
	g.AddNear(f, k, base.Hash(k), base.MakeTrailer(base.SeqNum(i+1), base.KindPut), v[:i%2*8])
}

// check compares one entry with the history.
func (h *history) check(t *testing.T, what string, k int, s base.SeqNum, tr base.Trailer, v []byte, ok bool) bool {
	want := h.at(k, s)
	if ok != (want != 0) || tr.Seq() != want {
		t.Errorf("%s at %d: key %.40q has %s %v, want %d", what, s, h.keys[k], tr, ok, want)
		return false
	}
	if ok && (len(v) != int(want-1)%2*8 || len(v) == 8 && binary.LittleEndian.Uint64(v) != uint64(want)) {
		t.Errorf("%s at %d: key %.40q has the value %x", what, s, h.keys[k], v)
		return false
	}
	return true
}

// walk compares a stretch of an iterator at s with the history.
func (h *history) walk(t *testing.T, it base.Iterator, s base.SeqNum, rng *rand.Rand, steps int) bool {
	from := h.start(s, rng)
	by := 1
	kv := it.SeekGE(h.keys[h.sorted[from]], base.TrailerMax)
	if rng.IntN(2) == 0 {
		by = -1
		kv = it.SeekLT(h.keys[h.sorted[from]])
		from--
	}
	at := from
	for ; steps > 0 || by < 0; steps-- {
		for at >= 0 && at < len(h.sorted) && h.at(h.sorted[at], s) == 0 {
			at += by
		}
		if at < 0 || at >= len(h.sorted) {
			if kv != nil {
				t.Errorf("walk at %d by %d: %.40q beyond the end", s, by, kv.Key)
			}
			return kv == nil
		}
		k := h.sorted[at]
		if kv == nil || string(kv.Key) != string(h.keys[k]) {
			t.Errorf("walk at %d by %d: at %v, want key %.40q", s, by, kv, h.keys[k])
			return false
		}
		if !h.check(t, "walk", k, s, kv.Trailer, kv.Value, true) {
			return false
		}
		if steps == 0 { // turn around once
			by, steps = 1, 8
		}
		at += by
		if by > 0 {
			kv = it.Next()
		} else {
			kv = it.Prev()
		}
	}
	return true
}

// commits hands out writes to writers and knows up to where all are done.
type commits struct {
	next    atomic.Int64
	visible atomic.Int64
	done    []atomic.Bool
}

func (c *commits) finish(i int) {
	c.done[i].Store(true)
	for {
		v := c.visible.Load()
		if v == int64(len(c.done)) || !c.done[v].Load() {
			return
		}
		c.visible.CompareAndSwap(v, v+1)
	}
}

// run has writers and readers work on one generation until the history has
// been written.
func (h *history) run(t *testing.T, partitions, writers, readers int) {
	bound := int64(0)
	for _, k := range h.of {
		bound += EntryBound(len(h.keys[k]), 8)
	}
	g := newTestHalf(t, bound, partitions)
	invariant.Yielding.Store(2 + uint32(rand.IntN(8)))
	defer invariant.Yielding.Store(0)
	c := &commits{done: make([]atomic.Bool, len(h.of))}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			var f Finger
			for i := int(c.next.Add(1)) - 1; i < len(h.of); i = int(c.next.Add(1)) - 1 {
				if !g.BeginWrite() || !g.Reserve(EntryBound(len(h.keys[h.of[i]]), 8)) {
					t.Error("refused")
				}
				h.write(g, &f, i)
				g.EndWrite()
				c.finish(i)
			}
		})
	}
	for r := range readers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(rand.Uint64(), uint64(r)))
			for h.read(t, g, c, rng) && !t.Failed() {
			}
		})
	}
	wg.Wait()
	checkStructure(t, g)
	if g.Len() != len(h.of) {
		t.Errorf("Len %d after %d writes", g.Len(), len(h.of))
	}
}

// read makes some reads, mostly at the newest sequence. It answers false when
// all has been written.
func (h *history) read(t *testing.T, g *half, c *commits, rng *rand.Rand) bool {
	last := int(c.visible.Load())
	s := base.SeqNum(last)
	if rng.IntN(4) == 0 {
		s = base.SeqNum(rng.IntN(last + 1))
	}
	if !h.walk(t, g.NewIter(s), s, rng, 1<<rng.IntN(7)) {
		return false
	}
	for range 3 {
		k := h.sorted[h.start(s, rng)]
		tr, v, ok := g.Get(h.keys[k], base.Hash(h.keys[k]), s)
		if !h.check(t, "Get", k, s, tr, v, ok) {
			return false
		}
	}
	return last < len(h.of)
}

// TestConcurrent checks every read against what it must see, while writers
// split leaves and buckets under it.
func TestConcurrent(t *testing.T) {
	writes := 15_000
	if testing.Short() {
		writes = 4_000
	}
	keySets := []struct {
		name string
		n    int
		key  func(i int) []byte
	}{
		{"mostly new", writes, func(i int) []byte { return hashedKey(nil, i) }},
		{"common prefix", writes / 2, func(i int) []byte { return fmt.Appendf(nil, "a/long/common/prefix/%d/", i) }},
		{"hot", 40, func(i int) []byte { return fmt.Append(nil, i) }},
		{"prefixes of each other", 300, func(i int) []byte { return make([]byte, i) }},
	}
	for n, set := range keySets {
		t.Run(set.name, func(t *testing.T) {
			keys := make([][]byte, set.n)
			for i := range keys {
				keys[i] = set.key(i)
			}
			h := newHistory(keys, writes, rand.New(rand.NewPCG(uint64(n), 3)))
			h.run(t, 1<<(2*n%7), 3, 3)
		})
	}
}

// TestConcurrentAscending has writers contend for the end of the tree, where
// each insert is beyond the last leaf's fence.
func TestConcurrentAscending(t *testing.T) {
	writes := 12_000
	if testing.Short() {
		writes = 3_000
	}
	keys := make([][]byte, writes)
	h := &history{keys: keys, writes: map[int][]int{}}
	for i := range keys {
		keys[i] = sequentialKey(nil, i)
		h.of = append(h.of, i)
		h.writes[i] = []int{i}
	}
	h.sort()
	h.run(t, 16, 2, 4)
}

// TestWaitWriters lets writers race with the end of a generation: each that
// was let in must have its entry in what the flush then reads.
func TestWaitWriters(t *testing.T) {
	for round := range 50 {
		g := newTestHalf(t, 1<<20, 4)
		var in atomic.Int64
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; g.BeginWrite(); i++ {
					if g.Reserve(EntryBound(16, 0)) {
						k := hashedKey(nil, w<<20|i)
						g.Add(k, base.Hash(k), base.MakeTrailer(base.SeqNum(i+1), base.KindPut), nil)
						in.Add(1)
					}
					g.EndWrite()
				}
			})
		}
		time.Sleep(time.Duration(round%5) * 100 * time.Microsecond)
		g.WaitWriters()
		want := in.Load()
		n := int64(0)
		it := g.NewAllIter()
		for kv := it.First(); kv != nil; kv = it.Next() {
			n++
		}
		if n != want || g.BeginWrite() {
			t.Fatalf("%d entries of %d after WaitWriters, and BeginWrite %v", n, want, g.BeginWrite())
		}
		g.WaitWriters() // again, and from others
		wg.Wait()
	}
}
