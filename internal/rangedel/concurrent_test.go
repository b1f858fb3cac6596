package rangedel

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// TestConcurrent has commits of tombstones run at once, out of order, while
// reads at what is visible, by the rule of Set.View, are held to brute force. Some
// readers are slow, so that edits find views that no reader has.
func TestConcurrent(t *testing.T) {
	n := 4000
	if testing.Short() {
		n = 600
	}
	rng := rand.New(rand.NewPCG(3, 4))
	history := make([]Tombstone, n)
	for i := range history {
		history[i] = randomTombstone(rng, base.SeqNum(i+1))
	}
	var s Set
	var next, visible atomic.Int64
	done := make([]atomic.Bool, n+1)
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			addHistory(&s, history, done, &next, &visible, rand.New(rand.NewPCG(7, uint64(w))))
		})
	}
	for r := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(5, uint64(r)))
			for at := int64(0); at < int64(n) && !t.Failed(); {
				v := s.View()
				at = visible.Load()
				if s.View() != v {
					continue
				}
				if r == 2 {
					time.Sleep(time.Duration(rng.IntN(50)) * time.Microsecond)
				}
				for range 4 {
					k := testKeys[rng.IntN(len(testKeys))]
					f, _ := v.Find(k)
					if got, want := f.coverOrNone(base.SeqNum(at)), cover(history[:at], k, base.SeqNum(at)); got != want {
						t.Errorf("%q at %d: %d, want %d", k, at, got, want)
					}
					v.MarkDirty(k, base.SeqNum(rng.IntN(n)))
				}
			}
		})
	}
	wg.Wait()
	checkTree(t, s.View().root)
	checkList(t, s.View().List())
}

// addHistory adds what is next in a history, one tombstone at a time or several, until
// all is added.
func addHistory(s *Set, history []Tombstone, done []atomic.Bool, next, visible *atomic.Int64, rng *rand.Rand) {
	n := int64(len(history))
	for {
		few := int64(1)
		if rng.IntN(8) == 0 {
			few = 2 * rebuildMin // makes the tree anew
		}
		last := next.Add(few)
		first := last - few + 1
		if first > n {
			return
		}
		last = min(last, n)
		h := history[first-1]
		stripes := []base.SeqNum{base.SeqNum(visible.Load())}
		if few == 1 && rng.IntN(4) == 0 {
			v := s.Add(h.Lo, h.Hi, h.Seq, stripes)
			v.MarkDirtyRange(h.Lo, h.Hi, base.SeqNum(first%7*n))
		} else { // in place where no reader has the view
			s.AddAll(slices.Clone(history[first-1:last]), stripes)
		}
		for i := first; i <= last; i++ {
			done[i].Store(true)
		}
		for at := visible.Load(); at < n && done[at+1].Load(); at = visible.Load() {
			visible.CompareAndSwap(at, at+1)
		}
	}
}

// TestCleanConcurrent races entries with tombstones: none may be in a clean
// fragment and newer than it, as soon as both are done.
func TestCleanConcurrent(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 500
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 6))
		var s Set
		var newest atomic.Uint64
		seqs := rng.Perm(12)
		entries := make([]Tombstone, 6)
		var wg sync.WaitGroup
		for i, seq := range seqs {
			tomb := randomTombstone(rng, base.SeqNum(seq+1))
			if i < len(entries) {
				entries[i] = tomb
				wg.Go(func() {
					for {
						old := newest.Load()
						if old >= uint64(tomb.Seq) || newest.CompareAndSwap(old, uint64(tomb.Seq)) {
							break
						}
					}
					s.View().MarkDirty(tomb.Lo, tomb.Seq)
				})
				continue
			}
			wg.Go(func() {
				if i%2 == 0 {
					v := s.Add(tomb.Lo, tomb.Hi, tomb.Seq, []base.SeqNum{0})
					v.MarkDirtyRange(tomb.Lo, tomb.Hi, base.SeqNum(newest.Load()))
					return
				}
				batch := make([]Tombstone, rebuildMin) // makes the tree anew
				for j := range batch {
					batch[j] = tomb
				}
				s.AddAll(batch, []base.SeqNum{0})
				s.View().MarkDirtyRange(tomb.Lo, tomb.Hi, base.SeqNum(newest.Load()))
			})
		}
		wg.Wait()
		for _, e := range entries {
			if f, clean := s.View().Find(e.Lo); f != nil && clean && f.Seqs[0] < e.Seq {
				t.Fatalf("round %d: %q at %d is in a clean fragment of %d", round, e.Lo, e.Seq, f.Seqs)
			}
		}
	}
}

func TestDecodeRejects(t *testing.T) {
	u := func(vs ...uint64) (b []byte) {
		for _, v := range vs {
			b = binary.AppendUvarint(b, v)
		}
		return b
	}
	good := u(0, 1, 'a', 1, 'b', 1, 5)
	for name, b := range map[string][]byte{
		"unknown form":         u(4, 1, 'a', 1, 'b', 1, 5),
		"adjacent to nothing":  u(1, 1, 'b', 1, 5),
		"empty range":          u(0, 1, 'b', 1, 'b', 1, 5),
		"backward range":       u(0, 1, 'b', 1, 'a', 1, 5),
		"no sequences":         u(0, 1, 'a', 1, 'b', 0),
		"sequence 0":           u(0, 1, 'a', 1, 'b', 1, 0),
		"sequence too large":   u(0, 1, 'a', 1, 'b', 1, uint64(base.SeqNumMax)+1),
		"sequence twice":       u(0, 1, 'a', 1, 'b', 2, 5, 0),
		"sequences below 1":    u(0, 1, 'a', 1, 'b', 2, 5, 5),
		"sequences that wrap":  u(0, 1, 'a', 1, 'b', 2, 5, 1<<63),
		"many sequences":       u(0, 1, 'a', 1, 'b', 1<<40),
		"key past the end":     u(0, 100, 'a'),
		"key too large":        append(u(2, base.MaxKeySize+1), make([]byte, base.MaxKeySize+10)...),
		"overlap":              append(bytes.Clone(good), u(0, 1, 'a', 1, 'c', 1, 5)...),
		"a lo that is the hi":  append(bytes.Clone(good), u(0, 1, 'b', 1, 'c', 1, 6)...),
		"behind an endless":    append(u(2, 1, 'a', 1, 5), u(1, 1, 'c', 1, 5)...),
		"behind an endless, 2": append(u(2, 1, 'a', 1, 5), u(0, 1, 'b', 1, 'c', 1, 5)...),
		"half a number":        {0x80},
	} {
		if l, err := Decode(b); err == nil {
			t.Errorf("%s: decoded as\n%s", name, text(l))
		}
	}
	for n := 1; n < len(good); n++ {
		if _, err := Decode(good[:n]); err == nil {
			t.Errorf("%d of %d bytes decoded", n, len(good))
		}
	}
	if l, err := Decode(append(good, u(1, 1, 'c', 1, 6)...)); err != nil || l.Len() != 2 {
		t.Errorf("the good one: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 20 {
		var ts []Tombstone
		for range rng.IntN(6) {
			ts = append(ts, randomTombstone(rng, base.SeqNum(1+rng.Uint64N(1<<56-1))))
		}
		l := Build(ts)
		f.Add(l.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(l.Append(nil))
		if err != nil || text(again) != text(l) {
			t.Fatalf("%v:\n%s became\n%s", err, text(l), text(again))
		}
		for i := range l.Len() {
			f := l.At(i)
			if got := l.Find(f.Lo); got != f || f.Cover(base.SeqNumMax) != f.Seqs[0] || f.Cover(0) != 0 {
				t.Fatalf("fragment %d of\n%s", i, text(l))
			}
		}
		bound := 0
		for i := range l.Len() {
			bound += EncodedBound(l.At(i))
		}
		if n := len(l.Append(nil)); n > bound {
			t.Fatalf("%d bytes, bound %d", n, bound)
		}
	})
}

// TestReadersWaitForNoBatch: a batch that makes the tree anew takes milliseconds, and
// no reader waits for it.
func TestReadersWaitForNoBatch(t *testing.T) {
	var s Set
	s.Add(benchKey(1), benchKey(2), 1, nil)
	s.adding.Lock()
	defer s.adding.Unlock()
	seen := make(chan *View)
	go func() { seen <- s.View() }()
	select {
	case v := <-seen:
		if v.Len() != 1 {
			t.Errorf("%d fragments", v.Len())
		}
	case <-time.After(10 * time.Second):
		t.Error("a reader waits for an edit")
	}
}

// TestSeenViewsStay: a view that a reader has is never changed, though edits change
// in place what no reader has. Reads come between the steps of both.
func TestSeenViewsStay(t *testing.T) {
	invariant.Yielding.Store(3)
	defer invariant.Yielding.Store(0)
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 8))
		var s Set
		const n = 300
		var added atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			for i, at := range rng.Perm(n) {
				s.AddAll([]Tombstone{{benchKey(2 * at), benchKey(2*at + 1), base.SeqNum(i + 1)}}, nil)
				added.Store(int64(i + 1))
			}
		})
		for range 3 {
			wg.Go(func() {
				for last := false; !last && !t.Failed(); {
					least := added.Load()
					last = least == n
					v := s.View()
					first, most := int64(v.Len()), added.Load()+1
					for range 3 {
						runtime.Gosched()
						nodes := int64(0)
						if v != nil {
							v.root.walk(func(*node) bool { nodes++; return true })
						}
						if nodes != first || int64(v.Len()) != first || nodes < least || nodes > most {
							t.Errorf("round %d: %d fragments, Len %d, then %d; %d to %d were added", round, first, v.Len(), nodes, least, most)
						}
					}
				}
			})
		}
		wg.Wait()
	}
}
