package memtable

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// rangeOp is one write of a mixed history: a put of key lo, or the deletion of
// [lo, hi).
type rangeOp struct {
	put    bool
	lo, hi []byte
}

func (o *rangeOp) covers(k []byte) bool {
	return !o.put && bytes.Compare(o.lo, k) <= 0 && (len(o.hi) == 0 || bytes.Compare(k, o.hi) < 0)
}

// rangeHistory is writes; that with sequence s is number s-1.
type rangeHistory struct {
	keys [][]byte // ascending
	ops  []rangeOp
}

func newRangeHistory(rng *rand.Rand, keys, n int) *rangeHistory {
	h := &rangeHistory{}
	for i := range keys {
		h.keys = append(h.keys, fmt.Appendf(nil, "%03d", i))
	}
	for range n {
		o := rangeOp{put: rng.IntN(3) > 0, lo: h.keys[rng.IntN(keys)], hi: h.keys[rng.IntN(keys)]}
		if rng.IntN(10) == 0 {
			o.hi = nil
		}
		h.ops = append(h.ops, o)
	}
	return h
}

func (h *rangeHistory) write(g *half, i int, stripes []base.SeqNum) {
	o, s := &h.ops[i], base.SeqNum(i+1)
	if o.put {
		g.Add(o.lo, base.Hash(o.lo), base.MakeTrailer(s, base.KindPut), nil)
	} else {
		addRange(g, o.lo, o.hi, s, stripes)
	}
}

func (h *rangeHistory) bound() (n int64) {
	for _, o := range h.ops {
		n += max(EntryBound(len(o.lo), 0), RangeBound(len(o.lo), len(o.hi)))
	}
	return n
}

// lives lists the keys that a read at s sees.
func (h *rangeHistory) lives(s base.SeqNum) (keys []string) {
	for _, k := range h.keys {
		live := false
		for i := range h.ops[:s] {
			switch o := &h.ops[i]; {
			case o.put && bytes.Equal(o.lo, k):
				live = true
			case o.covers(k):
				live = false
			}
		}
		if live {
			keys = append(keys, string(k))
		}
	}
	return keys
}

// walkRanges is how an iterator reads a generation at s: it passes dead
// entries, and jumps over clean fragments.
func walkRanges(g *half, v *rangedel.View, s base.SeqNum) (keys []string, jumps int) {
	it := g.NewIter(s)
	for kv := it.First(); kv != nil; {
		f, clean := v.Find(kv.Key)
		switch {
		case f == nil || f.Cover(s) < kv.Trailer.Seq():
			keys = append(keys, string(kv.Key))
		case clean && f.Seqs[0] <= s:
			if jumps++; f.Hi == nil {
				return keys, jumps
			}
			kv = it.SeekGE(f.Hi, base.TrailerMax)
			continue
		}
		kv = it.Next()
	}
	return keys, jumps
}

// TestRangesModel adds in order, and reads at every sequence that may be read.
func TestRangesModel(t *testing.T) {
	jumps := 0
	for seed := range 200 {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		h := newRangeHistory(rng, 12, rng.IntN(40))
		g := newTestHalf(t, h.bound(), 1<<rng.IntN(7))
		var snapshots []base.SeqNum
		entries := 0
		for i, o := range h.ops {
			bound := RangeBound(len(o.lo), len(o.hi))
			if o.put {
				bound = EntryBound(len(o.lo), 0)
				entries++
			}
			before := g.Bytes()
			if !g.Reserve(bound) || g.Bytes() != before+bound {
				t.Fatal("no room")
			}
			h.write(g, i, append(slices.Clone(snapshots), base.SeqNum(i)))
			if rng.IntN(5) == 0 {
				snapshots = append(snapshots, base.SeqNum(i+1))
			}
			for _, s := range append(slices.Clone(snapshots), base.SeqNum(i+1)) {
				got, n := walkRanges(g, g.Ranges(), s)
				if jumps += n; !slices.Equal(got, h.lives(s)) {
					t.Fatalf("seed %d, at %d after %d: %q, want %q", seed, s, i+1, got, h.lives(s))
				}
			}
		}
		if g.Len() != entries || g.Empty() != (entries == 0 && g.Ranges() == nil) {
			t.Fatalf("Len %d of %d, Empty %v", g.Len(), entries, g.Empty())
		}
		checkStructure(t, g)
	}
	if jumps < 1000 {
		t.Errorf("only %d jumps: clean fragments are not seen to be clean", jumps)
	}
}

// TestOnlyRanges: a generation with a range tombstone and nothing else.
func TestOnlyRanges(t *testing.T) {
	g := newTestHalf(t, 1<<16, 4)
	if g.Ranges() != nil || !g.Empty() {
		t.Error("a new generation has ranges")
	}
	addRange(g, []byte("b"), []byte("a"), 1, nil)
	if g.Ranges() != nil || !g.Empty() {
		t.Error("a range without keys was added")
	}
	addRange(g, []byte("a"), nil, 1, nil)
	if g.Empty() || g.Len() != 0 || g.Ranges().Len() != 1 || g.NewAllIter().First() != nil {
		t.Errorf("Empty %v, Len %d, %d fragments", g.Empty(), g.Len(), g.Ranges().Len())
	}
	if f, clean := g.Ranges().Find([]byte("x")); f == nil || f.Cover(5) != 1 || !clean {
		t.Errorf("found %v, clean %v", f, clean)
	}
}

func TestRangeLimits(t *testing.T) {
	g := newTestHalf(t, 1<<20, 1)
	defer func() {
		if recover() == nil {
			t.Error("a range over the limit was taken")
		}
	}()
	addRange(g, nil, make([]byte, maxKeySize+1), 1, nil)
}

// TestRangesConcurrent has commits of puts and range deletes run at once; what
// is visible at any time must read as if they had run one by one.
func TestRangesConcurrent(t *testing.T) {
	rounds, n := 60, 300
	if testing.Short() {
		rounds = 12
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 2))
		h := newRangeHistory(rng, 4+rng.IntN(40), n)
		g := newTestHalf(t, h.bound(), 1<<rng.IntN(7))
		invariant.Yielding.Store(2 + uint32(rng.IntN(4)))
		c := &commits{done: make([]atomic.Bool, n)}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for i := int(c.next.Add(1)) - 1; i < n; i = int(c.next.Add(1)) - 1 {
					h.write(g, i, []base.SeqNum{base.SeqNum(c.visible.Load())})
					c.finish(i)
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for s := base.SeqNum(0); int(s) < n && !t.Failed(); {
					v := g.Ranges()
					s = base.SeqNum(c.visible.Load())
					if g.Ranges() != v {
						continue
					}
					if got, _ := walkRanges(g, v, s); !slices.Equal(got, h.lives(s)) {
						t.Errorf("round %d at %d: %q, want %q", round, s, got, h.lives(s))
					}
				}
			})
		}
		wg.Wait()
		invariant.Yielding.Store(0)
		checkStructure(t, g)
	}
}

// TestRangeRaces lets one put and one older deletion race, many times: whichever
// is later must see the other, or an iterator jumps over the entry.
func TestRangeRaces(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds = 4000
	}
	invariant.Yielding.Store(2)
	defer invariant.Yielding.Store(0)
	g := newTestHalf(t, int64(rounds)*(EntryBound(8, 0)+RangeBound(8, 8)), 1)
	for i := range rounds {
		k := fmt.Appendf(nil, "%08d", i)
		s := base.SeqNum(2*i + 1)
		var wg sync.WaitGroup
		wg.Go(func() { addRange(g, k, fmt.Appendf(nil, "%08d", i+1), s, nil) })
		g.Add(k, base.Hash(k), base.MakeTrailer(s+1, base.KindPut), nil)
		wg.Wait()
		if f, clean := g.Ranges().Find(k); f == nil || clean {
			t.Fatalf("round %d: fragment %v is clean, and has a newer entry", i, f)
		}
	}
}

// addRange adds one range tombstone.
func addRange(g *half, lo, hi []byte, seq base.SeqNum, stripes []base.SeqNum) {
	g.AddRanges([]rangedel.Tombstone{{Lo: lo, Hi: hi, Seq: seq}}, stripes)
}
