package txn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// TestSet adds keys and ranges at random and asks for every key and range.
func TestSet(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var s ReadSet
		s.reset(1 << 20)
		var model writes // what was added, as if written
		for range rng.IntN(200) {
			ks := rng.Uint32N(3)
			if rng.IntN(4) > 0 {
				k := testKey(rng)
				if err := s.Key(ks, []byte(k)); err != nil {
					t.Fatal(err)
				}
				model = append(model, write{ks, k, "", false, 1})
			} else if lo, hi := testRange(rng); rng.IntN(3) == 0 {
				if err := s.Range(ks, []byte(lo), upperOf(hi)); err != nil {
					t.Fatal(err)
				}
				if hi == "" || lo < hi {
					model = append(model, write{ks, lo, hi, true, 1})
				}
			}
		}
		if err := s.seal(); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(2) == 0 {
			s.order()
		}
		for i := range s.ranges {
			if g := &s.ranges[i]; i > 0 && s.ranges[i-1].Keyspace == g.Keyspace && string(s.ranges[i-1].Hi) >= string(g.Lo) {
				t.Fatalf("ranges are not joined: %v and %v", s.ranges[i-1], *g)
			}
		}
		for range 100 {
			ks, k := rng.Uint32N(3), testKey(rng)
			if got, want := s.has(keyHash(ks, []byte(k)), ks, []byte(k)), model.newer(ks, k, k+"\x00", 0, 1); got != want {
				t.Fatalf("seed %d: key %d/%q: %v, want %v", seed, ks, k, got, want)
			}
			lo, hi := testRange(rng)
			if hi != "" && lo >= hi {
				continue
			}
			if got, want := s.overlaps(&Range{ks, []byte(lo), upperOf(hi)}), model.newer(ks, lo, hi, 0, 1); got != want {
				t.Fatalf("seed %d: range %d/[%q, %q): %v, want %v", seed, ks, lo, hi, got, want)
			}
		}
	}
}

// TestWalk drives an iterator over a few keys and holds what its walk covered
// against the gaps that its steps really showed to be empty.
func TestWalk(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var keys []string
		for i := range 40 {
			if rng.IntN(3) == 0 {
				keys = append(keys, fmt.Sprintf("%02d", i))
			}
		}
		var s ReadSet
		s.reset(1 << 20)
		it := newTestIter(rng, &s, keys)
		for range rng.IntN(30) {
			it.move()
		}
		if rng.IntN(2) == 0 {
			if err := errors.Join(it.w.Close(), it.w.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.seal(); err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			for _, k := range []string{fmt.Sprintf("%02d", i), fmt.Sprintf("%02d-", i)} {
				if got := s.has(keyHash(7, []byte(k)), 7, []byte(k)); got != it.seen[k] {
					t.Fatalf("seed %d: %q: covered %v, seen %v; %v, moves %v, set %v", seed, k, got, it.seen[k], keys, it.log, s.ranges)
				}
			}
		}
	}
}

// testIter is an iterator over keys with bounds; seen are the probes (keys and
// the middles of gaps) that a step passed over or landed on.
type testIter struct {
	rng    *rand.Rand
	w      ReadRange
	keys   []string
	lo, hi string
	at     int // in keys; -1 nowhere
	seen   map[string]bool
	log    []string
}

func newTestIter(rng *rand.Rand, s *ReadSet, keys []string) *testIter {
	it := &testIter{rng: rng, keys: keys, at: -1, seen: map[string]bool{}}
	if rng.IntN(2) == 0 {
		it.lo = fmt.Sprintf("%02d", rng.IntN(20))
	}
	if rng.IntN(2) == 0 {
		it.hi = fmt.Sprintf("%02d", 20+rng.IntN(20))
	}
	it.w.Start(s, 7)
	return it
}

func (it *testIter) move() {
	target := fmt.Sprintf("%02d", it.rng.IntN(40))
	switch op := it.rng.IntN(6); {
	case op == 0:
		it.forward(it.lo)
	case op == 1:
		it.forward(max(target, it.lo))
	case op == 2 && it.at >= 0:
		it.forward(it.keys[it.at] + "\x00")
	case op == 3:
		it.backward(it.hi)
	case op == 4 && (it.hi == "" || target < it.hi):
		it.backward(target)
	case op == 5 && it.at >= 0:
		it.backward(it.keys[it.at])
	}
}

func (it *testIter) forward(from string) {
	it.log = append(it.log, "forward "+from)
	it.at = sort.SearchStrings(it.keys, from)
	ok := it.at < len(it.keys) && (it.hi == "" || it.keys[it.at] < it.hi)
	found := it.hi
	if ok {
		found = it.keys[it.at]
	} else {
		it.at = -1
	}
	_ = it.w.Forward([]byte(from), []byte(found), ok, upperOf(it.hi))
	it.see(from, found, ok)
}

func (it *testIter) backward(from string) { // "" is the end
	it.log = append(it.log, "backward "+from)
	i := len(it.keys)
	if from != "" {
		i = sort.SearchStrings(it.keys, from)
	}
	it.at = i - 1
	ok := it.at >= 0 && it.keys[it.at] >= it.lo
	found := it.lo
	if ok {
		found = it.keys[it.at]
	} else {
		it.at = -1
	}
	_ = it.w.Backward(upperOf(from), []byte(found), ok, []byte(it.lo))
	it.see(found, from, false)
}

// see marks the probes in [lo, hi), or [lo, hi] when inclusive.
func (it *testIter) see(lo, hi string, inclusive bool) {
	for i := range 40 {
		for _, k := range []string{fmt.Sprintf("%02d", i), fmt.Sprintf("%02d-", i)} {
			if k >= lo && (k < hi || hi == "" && !inclusive || inclusive && k == hi) {
				it.seen[k] = true
			}
		}
	}
}

// TestSetLimit fills sets until they refuse: what is counted bounds the memory,
// the refusal is sticky, and what was known before costs nothing.
func TestSetLimit(t *testing.T) {
	var s ReadSet
	s.reset(10_000)
	n := 0
	for ; s.Key(0, fmt.Appendf(nil, "key%05d", n)) == nil; n++ {
		if s.Bytes() > 10_000 {
			t.Fatalf("%d bytes", s.Bytes())
		}
	}
	if n < 50 || n > 100 {
		t.Errorf("%d keys fit", n)
	}
	for _, err := range []error{s.Key(0, []byte("key00000")), s.Key(0, []byte("other")), s.Range(0, nil, nil), s.seal()} {
		if !errors.Is(err, base.ErrTxnTooLarge) {
			t.Errorf("after the limit: %v", err)
		}
	}
	s.reset(10_000)
	for i := range 100_000 {
		if err := s.Range(0, fmt.Appendf(nil, "%06d", i), fmt.Appendf(nil, "%06d", i+1)); err != nil {
			t.Fatalf("range %d, which touches the one before: %v", i, err)
		}
		if err := s.Key(0, []byte("again")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.seal(); err != nil || len(s.ranges) != 1 || cap(s.rangeKeys) > 1<<10 {
		t.Errorf("%v, %d ranges, %d bytes of keys", err, len(s.ranges), cap(s.rangeKeys))
	}
	if err := s.Key(0, []byte("late")); !errors.Is(err, base.ErrTxnDone) {
		t.Errorf("a sealed set took a key: %v", err)
	}
	s.reset(300)
	for i := range 10 {
		_ = s.Range(0, fmt.Appendf(nil, "%06d", 2*i), fmt.Appendf(nil, "%06d", 2*i+1))
	}
	if err := s.seal(); !errors.Is(err, base.ErrTxnTooLarge) {
		t.Errorf("ten ranges in 300 bytes: %v", err)
	}
}

func TestSetBatch(t *testing.T) {
	var b batch.Batch
	_ = b.Put(1, []byte("a"), []byte("v"))
	_ = b.Merge(1, []byte("b"), nil)
	_ = b.DeleteRange(2, []byte("c"), []byte("e"))
	_ = b.DeleteRange(3, []byte("c"), nil)
	_ = b.DeleteRange(3, []byte("b"), []byte("a"))
	var s ReadSet
	if s.reset(1 << 20); !s.Empty() {
		t.Error("a new set is not empty")
	}
	if err := errors.Join(s.Batch(&b), s.seal()); err != nil || s.Empty() {
		t.Fatal(err)
	}
	var got []string
	for ks := range uint32(4) {
		for _, k := range []string{"a", "b", "c", "d", "e"} {
			if s.has(keyHash(ks, []byte(k)), ks, []byte(k)) {
				got = append(got, fmt.Sprint(ks, k))
			}
		}
	}
	if want := []string{"1a", "1b", "2c", "2d", "3c", "3d", "3e"}; !slices.Equal(got, want) {
		t.Errorf("the set has %v, want %v", got, want)
	}
}

// TestWalkOutlivesItsTransaction ends a transaction under an iterator: the walk
// learns it, and does not write into the one that uses the memory next.
func TestWalkOutlivesItsTransaction(t *testing.T) {
	tr := New(1 << 20)
	var x Txn
	var w ReadRange
	tr.Begin(&x, 1, 1<<20, nil)
	w.Start(&x.ReadSet, 0)
	_ = w.Forward(nil, nil, false, nil)
	tr.End(&x)
	tr.Begin(&x, 1, 1<<20, nil)
	if err := w.Forward(nil, []byte("a"), true, nil); !errors.Is(err, base.ErrTxnDone) {
		t.Errorf("the walk went on: %v", err)
	}
	if _ = w.Close(); !x.Empty() {
		t.Error("the set of the next transaction has what the last one read")
	}
}
