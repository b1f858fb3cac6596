package memtable

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// TestHintOverNewerEntry has an iterator of an earlier time leave a hint over
// an entry that came since. Unlike a range tombstone a hint is visible as soon
// as it is there: at no moment may it say that it is clean.
func TestHintOverNewerEntry(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 500
	}
	invariant.Yielding.Store(1)
	defer invariant.Yielding.Store(0)
	for range rounds {
		g := newTestHalf(t, EntryBound(8, 0), 1)
		k := []byte("key")
		g.Add(k, base.Hash(k), base.MakeTrailer(2, base.KindPut), nil)
		var wg sync.WaitGroup
		wg.Go(func() { g.AddHint([]byte("a"), []byte("z"), 1, 0) })
		wg.Go(func() {
			for g.Hints() == nil {
				invariant.Yield()
			}
			if f, clean := g.Hints().Find(k); f == nil || clean {
				t.Errorf("fragment %v, clean %v, over a newer entry", f, clean)
			}
		})
		wg.Wait()
		if t.Failed() {
			return
		}
	}
}

// TestHintsOfLongKeys: what the hints take does not depend on how long keys are.
func TestHintsOfLongKeys(t *testing.T) {
	g := newTestHalf(t, EntryBound(8, 0), 1)
	g.AddHint([]byte("a"), bytes.Repeat([]byte("b"), maxHintKeys), 1, 0)
	if g.Hints() != nil {
		t.Fatal("a hint with a long key was kept")
	}
	g.AddHint([]byte("a"), bytes.Repeat([]byte("b"), maxHintKeys-1), 1, 0)
	if g.Hints().Len() != 1 {
		t.Fatal("a hint is missing")
	}
}

// TestHintRaces lets one put and one older hint race, many times, with a reader
// that asks for the hint as soon as the put is done.
func TestHintRaces(t *testing.T) {
	rounds := 10_000
	if testing.Short() {
		rounds = 2000
	}
	invariant.Yielding.Store(2)
	defer invariant.Yielding.Store(0)
	g := newTestHalf(t, int64(rounds)*EntryBound(8, 0), 1)
	for i := range rounds {
		lo, k, hi := fmt.Appendf(nil, "%07da", i), fmt.Appendf(nil, "%07db", i), fmt.Appendf(nil, "%07dc", i)
		s := base.SeqNum(2*i + 1)
		var wg sync.WaitGroup
		if i%maxHints == 0 {
			g = newTestHalf(t, int64(rounds)*EntryBound(8, 0), 1)
		}
		wg.Go(func() { g.AddHint(lo, hi, s, 0) })
		g.Add(k, base.Hash(k), base.MakeTrailer(s+1, base.KindPut), nil)
		if f, clean := g.Hints().Find(k); f != nil && clean {
			t.Fatalf("round %d: fragment %v is clean, and has a newer entry", i, f)
		}
		wg.Wait()
		if f, clean := g.Hints().Find(k); f == nil || clean {
			t.Fatalf("round %d: fragment %v, clean %v, and has a newer entry", i, f, clean)
		}
	}
}

// TestHintSettles: a hint over nothing newer is clean, and stays so until
// something newer comes.
func TestHintSettles(t *testing.T) {
	g := newTestHalf(t, 3*EntryBound(8, 0), 1)
	add := func(k string, s base.SeqNum) {
		g.Add([]byte(k), base.Hash([]byte(k)), base.MakeTrailer(s, base.KindDelete), nil)
	}
	clean := func(k string) bool {
		f, clean := g.Hints().Find([]byte(k))
		return f != nil && clean
	}
	add("b", 5)
	g.AddHint([]byte("a"), []byte("m"), 5, 0)
	g.AddHint([]byte("m"), []byte("t"), 5, 0)
	if !clean("b") || !clean("n") {
		t.Error("a hint over nothing newer is not clean")
	}
	add("n", 6)
	if clean("n") {
		t.Error("a hint is clean over a newer entry")
	}
	g.AddHint([]byte("a"), []byte("t"), 6, 0)
	if !clean("b") || !clean("n") {
		t.Error("a newer hint is not clean")
	}
	add("b", 7)
	if clean("b") {
		t.Error("a hint is clean over a newer entry")
	}
}
