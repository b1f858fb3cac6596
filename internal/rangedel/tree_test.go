package rangedel

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// TestLargeSet: sets with trees of several levels, of small ranges, large ones, and some
// that cover most others, are right for every key, keep the shape of their trees, and leave
// earlier views unchanged.
func TestLargeSet(t *testing.T) {
	defer func(n int) { splitFrom = n }(splitFrom)
	splitFrom = 24
	const keys, rounds, sets = 3000, 250, 4
	for seed := range uint64(sets) {
		rng := rand.New(rand.NewPCG(seed, 1))
		key := func(i int) []byte {
			k := benchKey(i)
			if seed%2 == 1 {
				k = append([]byte("one prefix of all/"), k...) // heads are all the same
			}
			return k
		}
		var s Set
		newest := make([]base.SeqNum, keys) // of the tombstones over each key
		type past struct {
			v    *View
			text string
		}
		var views []past
		seq, largest := base.SeqNum(0), 0
		for round := range rounds {
			var batch []Tombstone
			for range 1 + rng.IntN(60)*rng.IntN(2) {
				lo, n := rng.IntN(keys), 1+rng.IntN(4)
				switch {
				case rng.IntN(50) == 0:
					n = rng.IntN(300)
				case round%80 == 79 && rng.IntN(20) == 0:
					n = rng.IntN(keys)
				}
				seq++
				hi := min(lo+n, keys)
				d := Tombstone{Lo: key(lo), Hi: key(hi), Seq: seq}
				if hi == keys && rng.IntN(2) == 0 {
					d.Hi = nil
				}
				batch = append(batch, d)
				for k := lo; k < hi; k++ {
					newest[k] = seq
				}
			}
			if rng.IntN(2) == 0 {
				rng.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			}
			s.AddAll(batch, []base.SeqNum{seq})
			if rng.IntN(3) > 0 && round%25 != 0 {
				continue // the next edit finds a view that no reader has
			}
			v := s.View()
			if nodes := checkTree(t, v.root); len(nodes) != v.Len() {
				t.Fatalf("Len %d of %d", v.Len(), len(nodes))
			}
			largest = max(largest, v.Len())
			if round%25 == 0 {
				checkNewest(t, v, key, newest)
				views = append(views, past{v, text(v.List())})
			}
		}
		for i, p := range views {
			if now := text(p.v.List()); now != p.text {
				t.Fatalf("view %d changed", i)
			}
		}
		if largest < fan*fan {
			t.Errorf("seed %d: the largest set had %d fragments only", seed, largest)
		}
	}
}

// TestHalves: a batch that two goroutines add leaves what one would leave, even if a
// tombstone is on both sides of the point where they meet, or has no end.
func TestHalves(t *testing.T) {
	defer func(n int) { splitFrom = n }(splitFrom)
	const n = 400
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 9))
		var batches [2][]Tombstone
		for i := range 2 * n {
			lo, hi := benchKey(10*i), benchKey(10*i+7)
			if i%2 == 0 { // below, and cut by the others
				batches[0] = append(batches[0], Tombstone{lo, benchKey(10*i + 14), base.SeqNum(i + 1)})
				continue
			}
			switch rng.IntN(2 * n) {
			case 0:
				hi = nil
			case 1:
				hi = benchKey(10*i + rng.IntN(10*n))
			}
			batches[1] = append(batches[1], Tombstone{lo, hi, base.SeqNum(i + 1)})
		}
		for _, b := range batches {
			rng.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
		}
		var lists [2]string
		for i := range lists {
			splitFrom = 1 + i*2*n
			var s Set
			for _, b := range batches {
				s.AddAll(slices.Clone(b), []base.SeqNum{n})
			}
			if nodes := checkTree(t, s.View().root); len(nodes) != s.View().Len() {
				t.Fatalf("Len %d of %d", s.View().Len(), len(nodes))
			}
			lists[i] = text(s.View().List())
		}
		if lists[0] != lists[1] {
			t.Fatalf("seed %d: by two goroutines\n%s, by one\n%s", seed, lists[0], lists[1])
		}
	}
}

// checkNewest compares what a view finds forward, backward and for each key.
func checkNewest(t *testing.T, v *View, key func(int) []byte, newest []base.SeqNum) {
	t.Helper()
	var all []*node
	v.root.walk(func(n *node) bool { all = append(all, n); return true })
	for k, want := range newest {
		f, _ := v.Find(key(k))
		if got := f.coverOrNone(base.SeqNumMax); got != want {
			t.Fatalf("key %d: %d, want %d", k, got, want)
		}
		if k%31 != 0 {
			continue
		}
		i := slices.IndexFunc(all, func(n *node) bool { return !n.endsBefore(key(k)) })
		if next, _ := v.Next(key(k)); i < 0 && next != nil || i >= 0 && next != &all[i].Fragment {
			t.Fatalf("the fragment that ends after key %d is another", k)
		}
		i = -1
		for j, n := range all {
			if string(n.Lo) < string(key(k)) {
				i = j
			}
		}
		if prev, _ := v.Prev(key(k)); i < 0 && prev != nil || i >= 0 && prev != &all[i].Fragment {
			t.Fatalf("the fragment that begins before key %d is another", k)
		}
	}
}
