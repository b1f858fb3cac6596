package writeset

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// put is a put of i to a key of its own.
func put(i int) batch.Op {
	key := binary.BigEndian.AppendUint64(nil, uint64(i))
	return batch.Op{Kind: base.KindPut, Key: key, Value: key[:4]}
}

// heap is what is in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestBytes: what the set says that it takes is what it takes, by half or so: of
// writes, of those that an iterator put in order, and of range deletes.
func TestBytes(t *testing.T) {
	const n = 20000
	ops, ranges := make([]batch.Op, n), make([]batch.Op, n)
	for i := range ops {
		ops[i] = put(i)
		ranges[i] = batch.Op{Kind: base.KindRangeDelete, Key: ops[i].Key, Value: append(ops[i].Key, 0)}
	}
	measure := func(what string, work func(*Set)) {
		t.Helper()
		s := new(Set)
		before := heap()
		work(s)
		took, says := heap()-before, s.Bytes()
		if says < took/2 || says > 2*took {
			t.Errorf("%s: %d bytes; the set says %d", what, took, says)
		}
		runtime.KeepAlive(s)
	}
	measure("writes", func(s *Set) {
		for i := range ops {
			s.Add(&ops[i])
		}
	})
	measure("writes in order", func(s *Set) {
		for i := range ops {
			s.Add(&ops[i])
		}
		new(Iter).Init(s, 0)
	})
	measure("range deletes", func(s *Set) {
		for i := range ranges {
			s.Add(&ranges[i])
		}
	})
	runtime.KeepAlive(ops)
	runtime.KeepAlive(ranges)
}

// TestResetForgets: a set that is used again has its room, and nothing else of what was
// in it; what was undone, or forgotten, keeps no batch in memory. So it is with an
// iterator that was closed.
func TestResetForgets(t *testing.T) {
	s := new(Set)
	for i := range 100 {
		o := put(i)
		s.Add(&o)
	}
	var it Iter
	it.Init(s, 0)
	it.Last()
	if !s.Rollback(10) {
		t.Fatal("a rollback is refused")
	}
	holds := func(want int) {
		t.Helper()
		for i, r := range s.refs[:cap(s.refs)] {
			if (r.key != nil) != (i < want) {
				t.Fatalf("of %d operations, place %d holds %q", want, i, r.key)
			}
		}
	}
	holds(10)
	s.Add(&batch.Op{Kind: base.KindRangeDelete, Key: []byte("a"), Value: []byte("b")})
	room := s.Room()
	s.Reset()
	holds(0)
	if s.Room() != room || s.Bytes() != 0 || s.Writes() || s.View(0) != nil {
		t.Errorf("after Reset there is room for %d, not %d, %d bytes are taken, writes %v, ranges %v", s.Room(), room, s.Bytes(), s.Writes(), s.View(0))
	}
	if kv := it.Prev(); kv == nil || kv.Trailer.Seq() != FirstSeq+98 {
		t.Errorf("the iterator shows %v", kv)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range it.path[:cap(it.path)] {
		if n != nil || it.root != nil || it.kv.Key != nil {
			t.Fatal("a closed iterator holds operations")
		}
	}
	o := put(7)
	s.Add(&o)
	if r, _ := s.Get(0, o.Key); r == nil || r.Trailer.Seq() != FirstSeq {
		t.Errorf("the first operation after Reset is %v", r)
	}
}

// TestLargeSet: a set of thousands of operations, in order, in the opposite one, or
// in none, with iterators in between and half of it undone: the tree stays shallow, and
// each iterator shows what was there.
func TestLargeSet(t *testing.T) {
	n := 20000
	if testing.Short() {
		n = 4000
	}
	orders := map[string][]int{"random": rand.New(rand.NewPCG(1, 2)).Perm(n)}
	for i := range n {
		orders["ascending"] = append(orders["ascending"], i)
		orders["descending"] = append(orders["descending"], n-1-i)
	}
	for name, order := range orders {
		s := new(Set)
		var iters []Iter
		var counts []int
		hold := func(count int) {
			iters, counts = append(iters, Iter{}), append(counts, count)
			iters[len(iters)-1].Init(s, 0)
		}
		for i, k := range order {
			o := put(k)
			s.Add(&o)
			if i%1000 == 999 {
				hold(i + 1)
			}
		}
		if d := depth(s.sorted.root); d > 64 {
			t.Errorf("%s: %d operations are %d deep", name, n, d)
		}
		if !s.Rollback(n / 2) {
			t.Fatal("a rollback is refused")
		}
		hold(n / 2)
		for j, count := range counts {
			seen, last := 0, -1
			for kv := iters[j].First(); kv != nil; kv = iters[j].Next() {
				k, i := int(binary.BigEndian.Uint64(kv.Key)), int(kv.Trailer.Seq()-FirstSeq)
				if k <= last || i >= count || order[i] != k {
					t.Fatalf("%s: of the first %d, operation %d is shown with key %d after %d", name, count, i, k, last)
				}
				seen, last = seen+1, k
			}
			if seen != count {
				t.Errorf("%s: %d operations are shown of %d", name, seen, count)
			}
		}
	}
}

// TestNodesAreCopiedOnce: of what an iterator holds, a node is copied once, however
// many operations come after.
func TestNodesAreCopiedOnce(t *testing.T) {
	s := new(Set)
	for i := range 1000 {
		o := put(i)
		s.Add(&o)
	}
	new(Iter).Init(s, 0)
	roots := map[*node]bool{}
	for i := range 100 {
		o := put(i)
		s.sorted.insert(Op{key: o.Key, Trailer: base.MakeTrailer(FirstSeq+1000+base.SeqNum(i), o.Kind)})
		roots[s.sorted.root] = true
	}
	if len(roots) > 20 { // now and then one comes on top
		t.Errorf("over 100 operations there were %d roots", len(roots))
	}
}

func depth(n *node) int {
	if n == nil {
		return 0
	}
	return 1 + max(depth(n.left), depth(n.right))
}
