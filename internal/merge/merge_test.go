package merge

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/base"
)

// list is a child over a sorted slice. It overwrites its KV at each step, as
// the contract allows, and fails when it comes to failAt.
type list struct {
	kvs    []base.KV
	pos    int // -1 and len are beside the ends
	set    bool
	kv     base.KV
	failAt int // -1: never
	err    error
	closed int
}

var errChild = errors.New("child failed")

func newList(kvs []base.KV) *list { return &list{kvs: kvs, failAt: -1} }

func (l *list) show() *base.KV {
	l.set, l.err = true, nil
	l.kv = base.KV{}
	if l.pos < 0 || l.pos >= len(l.kvs) {
		return nil
	}
	if l.pos == l.failAt {
		l.err = errChild
		return nil
	}
	l.kv = l.kvs[l.pos]
	return &l.kv
}

func (l *list) First() *base.KV { l.pos = 0; return l.show() }
func (l *list) Last() *base.KV  { l.pos = len(l.kvs) - 1; return l.show() }

func (l *list) Next() *base.KV {
	if !l.set {
		return l.First()
	}
	l.pos = min(l.pos+1, len(l.kvs))
	return l.show()
}

func (l *list) Prev() *base.KV {
	if !l.set {
		return l.Last()
	}
	l.pos = max(l.pos-1, -1)
	return l.show()
}

func (l *list) SeekGE(key []byte, t base.Trailer) *base.KV {
	l.pos, _ = slices.BinarySearchFunc(l.kvs, base.KV{Key: key, Trailer: t}, compareKV)
	return l.show()
}

func (l *list) SeekLT(key []byte) *base.KV {
	l.SeekGE(key, base.TrailerMax)
	l.pos--
	return l.show()
}

func (l *list) Err() error   { return l.err }
func (l *list) Close() error { l.closed++; return l.err }

func compareKV(a, b base.KV) int { return base.Compare(a.Key, a.Trailer, b.Key, b.Trailer) }

// Keys of up to 20 bytes from a small alphabet, so that prefixes, equal heads,
// equal keys and wholly equal entries all happen.
func kvGen() *rapid.Generator[base.KV] {
	return rapid.Custom(func(t *rapid.T) base.KV {
		prefix := rapid.SampledFrom([]string{"", "", "12345678", "\x00\x00"}).Draw(t, "prefix")
		tail := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 0xff}), 0, 3).Draw(t, "tail")
		return base.KV{
			Key:     append([]byte(prefix), tail...),
			Trailer: base.MakeTrailer(base.SeqNum(rapid.IntRange(0, 20).Draw(t, "seq")), base.KindPut),
		}
	})
}

func drawChildren(t *rapid.T, most int) (children []*list, all []base.KV) {
	for n := range rapid.IntRange(0, most).Draw(t, "children") {
		kvs := rapid.SliceOfN(kvGen(), 0, 12).Draw(t, "entries")
		slices.SortFunc(kvs, compareKV)
		kvs = slices.CompactFunc(kvs, func(a, b base.KV) bool { return compareKV(a, b) == 0 })
		for j := range kvs {
			kvs[j].Value = fmt.Append(nil, "child ", n)
		}
		children = append(children, newList(kvs))
		all = append(all, kvs...)
	}
	slices.SortStableFunc(all, compareKV) // the child listed first comes first
	return children, all
}

func asIterators(children []*list) []base.Iterator {
	iters := make([]base.Iterator, len(children))
	for n, c := range children {
		iters[n] = c
	}
	return iters
}

func same(t *rapid.T, what string, got, want *base.KV) {
	t.Helper()
	if (got == nil) != (want == nil) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
	if got != nil && (compareKV(*got, *want) != 0 || string(got.Value) != string(want.Value)) {
		t.Fatalf("%s: got %q %s %q, want %q %s %q", what, got.Key, got.Trailer, got.Value, want.Key, want.Trailer, want.Value)
	}
}

// walk takes the same random steps on both and compares.
func walk(t *rapid.T, it, want base.Iterator) {
	for range rapid.IntRange(1, 80).Draw(t, "steps") {
		switch rapid.IntRange(0, 9).Draw(t, "op") {
		case 0:
			same(t, "First", it.First(), want.First())
		case 1:
			same(t, "Last", it.Last(), want.Last())
		case 2:
			k := kvGen().Draw(t, "target")
			same(t, "SeekGE", it.SeekGE(k.Key, k.Trailer), want.SeekGE(k.Key, k.Trailer))
		case 3:
			k := kvGen().Draw(t, "target").Key
			same(t, "SeekLT", it.SeekLT(k), want.SeekLT(k))
		case 4, 5, 6:
			same(t, "Prev", it.Prev(), want.Prev())
		default:
			same(t, "Next", it.Next(), want.Next())
		}
	}
}

func TestWalk(t *testing.T) {
	var reused Iter
	rapid.Check(t, func(t *rapid.T) {
		children, all := drawChildren(t, 20)
		iters := asIterators(children)
		if rapid.Bool().Draw(t, "New") {
			walk(t, New(iters...), newList(all))
			return
		}
		reused.Init(iters)
		clear(iters) // Init must not keep the slice
		walk(t, &reused, newList(all))
		for range 2 {
			if err := reused.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
		}
		for n, c := range children {
			if c.closed != 1 {
				t.Fatalf("child %d was closed %d times", n, c.closed)
			}
		}
	})
}

// TestError has one child fail in the middle: the walk must end before any
// entry at or past the damage, with the error, and come back by a seek.
func TestError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		children, all := drawChildren(t, 6)
		var bad *list
		for _, c := range children {
			if len(c.kvs) > 0 {
				bad = c
			}
		}
		if bad == nil {
			return
		}
		bad.failAt = rapid.IntRange(0, len(bad.kvs)-1).Draw(t, "failAt")
		damage := bad.kvs[bad.failAt]
		var it Iter
		it.Init(asIterators(children))
		for kv, n := it.First(), 0; kv != nil; kv, n = it.Next(), n+1 {
			same(t, "before the damage", kv, &all[n])
			if compareKV(*kv, damage) > 0 {
				t.Fatalf("walked over the damage at %q to %q", damage.Key, kv.Key)
			}
		}
		for kv, n := it.Last(), len(all)-1; kv != nil; kv, n = it.Prev(), n-1 {
			same(t, "after the damage", kv, &all[n])
			if compareKV(*kv, damage) < 0 {
				t.Fatalf("walked back over the damage at %q to %q", damage.Key, kv.Key)
			}
		}
		for range 2 {
			if it.Next() != nil || it.Prev() != nil || !errors.Is(it.Err(), errChild) {
				t.Fatalf("after an error: Err %v", it.Err())
			}
		}
		bad.failAt = -1
		same(t, "after repair", it.First(), &all[0])
		if it.Err() != nil || it.Close() != nil {
			t.Fatalf("Err %v stays after a seek", it.Err())
		}
	})
}

func TestReuseDoesNotAllocate(t *testing.T) {
	iters := asIterators([]*list{newList(nil), newList([]base.KV{{Key: []byte("a")}}), newList([]base.KV{{Key: []byte("b")}})})
	var it Iter
	it.Init(iters)
	allocs := testing.AllocsPerRun(10, func() {
		_ = it.Close()
		it.Init(iters)
		for kv := it.First(); kv != nil; kv = it.Next() {
		}
		for kv := it.Last(); kv != nil; kv = it.Prev() {
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
