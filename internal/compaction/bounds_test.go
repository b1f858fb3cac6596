package compaction

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// boundKeys are the keys of the tables of randomBounds, and one between any two.
const boundKeys = 24

func boundKey(i int) []byte { return []byte{byte('A' + i)} }

// randomBounds makes a version of tables that touch, end before a key, or have
// no end.
func randomBounds(t *testing.T, rng *rand.Rand) *manifest.Version {
	e := &manifest.Edit{}
	num := base.FileNum(1)
	for level := 1; level < base.NumLevels; level++ {
		for run := range uint64(1 + rng.IntN(2)) {
			for at := 2 * rng.IntN(3); at < boundKeys; {
				end := at + 2*rng.IntN(4)
				f := &manifest.FileMeta{Num: num, Size: 100, Format: base.FormatNewest, Run: run + 1, Entries: 10,
					Smallest: boundKey(at), Largest: boundKey(end)}
				num++
				at = end + 2*(1+rng.IntN(3))
				switch {
				case rng.IntN(2) == 0 && end > int(f.Smallest[0]-'A'):
					f.LargestBound, f.Ranges = base.BoundExclusive, 1
					at = end + 2*rng.IntN(2)
				case at >= boundKeys && rng.IntN(3) == 0:
					f.LargestBound, f.Ranges = base.BoundNone, 1
				}
				e.Add = append(e.Add, manifest.NewFile{Level: level, Meta: f})
			}
		}
	}
	v, err := (&manifest.Version{}).Apply(e)
	if err == nil {
		err = v.Check()
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// keysOf lists the keys of a table, by number, by the definition of its end.
func keysOf(f *manifest.FileMeta) (out []int) {
	for i := range 2 * boundKeys {
		c := int(f.Largest[0]-'A') - i
		if i >= int(f.Smallest[0]-'A') && (f.LargestBound == base.BoundNone || c > 0 || c == 0 && f.LargestBound == base.BoundInclusive) {
			out = append(out, i)
		}
	}
	return out
}

func meet(f, g *manifest.FileMeta) bool {
	return slices.ContainsFunc(keysOf(f), func(k int) bool { return slices.Contains(keysOf(g), k) })
}

// TestBoundsComponents: tables that meet are in one component, and the hull of
// a component meets no table outside it.
func TestBoundsComponents(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	cfg := DefaultConfig()
	for range 500 {
		v := randomBounds(t, rng)
		tr := newTree(v.Tree(0), nil, Workload{}, cfg)
		from := 1 + rng.IntN(lastLevel-1)
		s := span{from, from + 1 + rng.IntN(lastLevel-from)}
		cs := tr.components(s)
		of := map[base.FileNum]int{}
		for i := range cs {
			if i > 0 && !cs[i-1].end.Before(cs[i].lo()) {
				t.Fatalf("components %d and %d touch", i-1, i)
			}
			for _, p := range cs[i].tables {
				of[p.f.Num] = i
			}
		}
		upper, lower := tr.collect(s)
		for _, a := range upper {
			for _, b := range slices.Concat(upper, lower) {
				if ca, cb := of[a.f.Num], of[b.f.Num]; meet(a.f, b.f) && ca != cb {
					t.Fatalf("%v and %v meet, and are in components %d and %d", a.f, b.f, ca, cb)
				}
			}
		}
	}
}

// TestBoundsElider compares an Elider with all tables below.
func TestBoundsElider(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		v := randomBounds(t, rng)
		level := 1 + rng.IntN(lastLevel-1)
		runs := v.Tree(0).Levels[level]
		r := runs[rng.IntN(len(runs))]
		f := r.Files[rng.IntN(len(r.Files))]
		j := Job{Inputs: []Input{{Level: level, Run: r.ID, Files: []*manifest.FileMeta{f}}}, OutputLevel: level + 1}
		elider := j.Elider(v)
		free := map[int]bool{}
		for _, k := range keysOf(f) {
			free[k] = true
			v.All(func(l int, g *manifest.FileMeta) bool {
				if g != f && (l > level || l == level && g.Run < r.ID) && slices.Contains(keysOf(g), k) {
					free[k] = false
				}
				return true
			})
		}
		keys := keysOf(f)
		for range 10 {
			a, b := rng.IntN(len(keys)), rng.IntN(len(keys))
			want := !slices.ContainsFunc(keys[min(a, b):max(a, b)+1], func(k int) bool { return !free[k] })
			lo, hi := boundKey(keys[min(a, b)]), boundKey(keys[max(a, b)]+1)
			if max(a, b) == len(keys)-1 && f.LargestBound == base.BoundNone {
				hi = nil
			}
			if got := elider.ElidableRange(lo, hi); got != want {
				t.Fatalf("[%q, %q): %v, want %v\n%s", lo, hi, got, want, v)
			}
		}
		for _, k := range keys {
			if got := elider.Elidable(boundKey(k)); got != free[k] {
				t.Fatalf("%q: %v, want %v\n%s", boundKey(k), got, free[k], v)
			}
		}
	}
}

// TestJobBounds: the end of a job's inputs goes by more than their largest keys.
func TestJobBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		v := randomBounds(t, rng)
		var j Job
		want := map[int]bool{}
		v.All(func(level int, f *manifest.FileMeta) bool {
			if rng.IntN(4) == 0 {
				j.Inputs = append(j.Inputs, Input{Level: level, Run: f.Run, Files: []*manifest.FileMeta{f}})
				for _, k := range keysOf(f) {
					want[k] = true
				}
			}
			return true
		})
		lo, end := j.Bounds()
		for k := range 2 * boundKeys {
			beyond := end.Before(boundKey(k))
			if want[k] && (beyond || string(boundKey(k)) < string(lo)) || beyond && want[k+1] {
				t.Fatalf("%q is out of %q to %q (%d)\n%s", boundKey(k), lo, end.Key, end.Bound, v)
			}
		}
	}
}

// TestQuiescent: of a tree that is quiescent, Pick would find nothing to do, so it
// need not look.
func TestQuiescent(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	w := Workload{Idle: true, ExpireAt: 1000, OldestSnapshot: base.SeqNumMax}
	seen := map[bool]int{}
	for range 2000 {
		e := &manifest.Edit{}
		for num := base.FileNum(1); num <= base.FileNum(1+rng.IntN(4)); num++ {
			f := &manifest.FileMeta{Num: num, Run: uint64(num), Size: 100, Format: base.FormatNewest, Entries: 10,
				Smallest: boundKey(2 * int(num)), Largest: boundKey(2*int(num) + 1), SmallestSeq: base.SeqNum(num), LargestSeq: base.SeqNum(num)}
			switch rng.IntN(10) {
			case 0:
				f.Deletes = 8
			case 1:
				f.Ranges = 8
			case 2:
				f.Expiring, f.MinExpiry, f.MaxExpiry = 10, 1, 2
			}
			level := lastLevel
			if rng.IntN(6) == 0 {
				level = rng.IntN(base.NumLevels)
			} else if rng.IntN(4) > 0 {
				f.Run = 1
			}
			e.Add = append(e.Add, manifest.NewFile{Level: level, Meta: f})
		}
		v, err := (&manifest.Version{}).Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		cfg := DefaultConfig()
		cfg.L0Trigger = 1
		_, due := newTree(v.Tree(0), nil, w, cfg).pick(w)
		if seen[isQuiescent(v.Tree(0))]++; due && isQuiescent(v.Tree(0)) {
			t.Fatalf("settled, and yet there is something to do:\n%s", v)
		}
	}
	if seen[true] < 300 || seen[false] < 300 {
		t.Fatalf("settled or not: %v", seen)
	}
}
