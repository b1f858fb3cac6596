package compaction

import (
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// TestIngestLevel compares the level with all tables, level by level, and applies what it
// says.
func TestIngestLevel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	cfg := DefaultConfig()
	levels := [base.NumLevels]int{}
	for range 3000 {
		v := randomBounds(t, rng)
		if rng.IntN(2) == 0 {
			v = upperEmpty(t, v, rng.IntN(base.NumLevels))
		}
		lo := rng.IntN(boundKeys)
		f := &manifest.FileMeta{Num: 1e6, Size: 100, Format: base.FormatNewest, Entries: 10,
			Smallest: boundKey(lo), Largest: boundKey(lo + rng.IntN(4)), SmallestSeq: 7, LargestSeq: 7, OneSeq: 7}
		busy := Busy{}
		job := &Job{OutputLevel: 1 + rng.IntN(lastLevel), Inputs: []Input{{Files: []*manifest.FileMeta{
			{Smallest: boundKey(rng.IntN(boundKeys)), Largest: boundKey(boundKeys)}}}}}
		if rng.IntN(2) == 0 {
			busy[1e6+1] = job
		}
		level, run := IngestLevel(v, busy, 0, f.Smallest, f.End(), cfg)
		levels[level]++
		tr := newTree(v.Tree(0), nil, Workload{}, cfg)
		want := 0
		for l := range base.NumLevels {
			met := false
			v.All(func(level int, g *manifest.FileMeta) bool {
				met = met || level == l && meet(f, g)
				return true
			})
			if met {
				break
			}
			if l >= tr.base && (len(busy) == 0 || job.OutputLevel != l || !meet(f, job.Inputs[0].Files[0])) {
				want = l
			}
		}
		if level != want {
			t.Fatalf("%v goes to level %d, wanted %d (base %d, a job into %d of %d)\n%v", f, level, want, tr.base, job.OutputLevel, len(busy), v)
		}
		if f.Run = run; level == 0 {
			f.Run = 1e6
		}
		next, err := v.Apply(&manifest.Edit{Add: []manifest.NewFile{{Level: level, Meta: f}}})
		if err == nil {
			err = next.Check()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if levels[0] == 0 || levels[lastLevel] == 0 || levels[lastLevel-1] == 0 {
		t.Errorf("levels %v", levels)
	}
	if level, _ := IngestLevel(&manifest.Version{}, nil, 3, []byte("a"), base.NoEnd, cfg); level != lastLevel {
		t.Errorf("in an empty tree it goes to level %d", level)
	}
}

// upperEmpty is v without the tables above a level.
func upperEmpty(t *testing.T, v *manifest.Version, level int) *manifest.Version {
	e := &manifest.Edit{}
	v.All(func(l int, f *manifest.FileMeta) bool {
		if l < level {
			e.Remove = append(e.Remove, manifest.OldFile{Level: l, Num: f.Num})
		}
		return true
	})
	v, err := v.Apply(e)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
