package memtable

import (
	"errors"
	"math/bits"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

func TestOptions(t *testing.T) {
	for _, o := range []Options{{100, 0}, {100, 3}, {100, 128}, {100, -1}, {-1, 1}} {
		if g, err := newHalf(o); !errors.Is(err, base.ErrInvalidOptions) {
			t.Errorf("%+v: %v %v", o, g, err)
		}
	}
	g := newTestHalf(t, 1<<20, 1)
	if g.MemBytes() < 1<<20 || g.MemBytes() > 1<<20+fixedOverhead+indexFixed+lineSize {
		t.Errorf("MemBytes %d for a capacity of 1 MiB", g.MemBytes())
	}
	if !g.Empty() || g.Len() != 0 || g.Bytes() != 0 {
		t.Error("a new generation is not empty")
	}
	if _, _, ok := g.Get([]byte("k"), base.Hash([]byte("k")), base.SeqNumMax); ok {
		t.Error("found in an empty generation")
	}
}

func TestLimits(t *testing.T) {
	g := newTestHalf(t, 1<<20, 1)
	defer func() {
		if recover() == nil {
			t.Error("a key over the limit was taken")
		}
	}()
	k := make([]byte, maxKeySize+1)
	g.Add(k, base.Hash(k), base.MakeTrailer(1, base.KindPut), nil)
}

// TestAddWithoutReserve is a caller's bug that must not write past the arena.
func TestAddWithoutReserve(t *testing.T) {
	g := newTestHalf(t, 0, 1)
	defer func() {
		if recover() == nil {
			t.Error("an entry that was not reserved was taken")
		}
	}()
	for i := range 10_000 {
		k := hashedKey(nil, i)
		g.Add(k, base.Hash(k), base.MakeTrailer(1, base.KindPut), nil)
	}
}

// TestHotKey counts the steps that find a version among many: a scan that
// crosses a hot key must not walk its versions.
func TestHotKey(t *testing.T) {
	const versions = 1 << 14
	for _, late := range []bool{false, true} {
		g := newTestHalf(t, int64(versions)*EntryBound(3, 0), 1)
		for i := range versions {
			s := base.SeqNum(i + 1)
			if late { // pairs out of order
				s = base.SeqNum(i ^ 1 + 1)
			}
			entry{"hot", base.MakeTrailer(s, base.KindPut), ""}.add(g)
		}
		checkStructure(t, g)
		a := &g.arena
		rec := a.record(g.tree.find([]byte("hot")))
		most := 0
		for s := base.SeqNum(1); s <= versions; s++ {
			limit := base.SeekTrailer(s)
			r, steps := a.newestOf(rec), 0
			for a.version(r).trailer > limit {
				r = a.step(r, a.version(r), limit)
				steps++
			}
			if a.version(r).trailer.Seq() != s {
				t.Fatalf("version %d: found %s", s, a.version(r).trailer)
			}
			most = max(most, steps)
		}
		if bound := 3 * bits.Len(versions); most > bound {
			t.Errorf("late %v: %d steps among %d versions, want at most %d", late, most, versions, bound)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	g := newTestHalf(t, 10<<20, 4)
	var key [8]byte
	n := 0
	next := func() []byte {
		n++
		key[n%4] += byte(n)
		return key[:]
	}
	add := func() {
		k := next()
		g.BeginWrite()
		g.Reserve(EntryBound(8, 8))
		g.Add(k, base.Hash(k), base.MakeTrailer(base.SeqNum(n), base.KindPut), k)
		g.EndWrite()
	}
	for range 1000 {
		add()
	}
	var it Iter
	for name, f := range map[string]func(){
		"Add": add,
		"Get": func() { g.Get(key[:], base.Hash(key[:]), base.SeqNumMax) },
		"Prefetch": func() {
			for hash := range uint64(1000) { // any hash, present or not
				g.Prefetch(hash * 0x9e3779b97f4a7c15)
			}
		},
		"Iter": func() {
			it.Init(g, base.SeqNumMax)
			it.SeekGE(key[:], base.TrailerMax)
			for range 30 {
				it.Next()
			}
			for range 60 {
				it.Prev()
			}
			_ = it.Close()
		},
	} {
		if allocs := testing.AllocsPerRun(100, f); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
