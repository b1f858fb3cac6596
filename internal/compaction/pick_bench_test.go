package compaction

import (
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// bigVersion is a tree of n tables, most of them in the last level, with three
// runs in an inner level and two in level 0: at rest.
func bigVersion(n int) *manifest.Version {
	e := &manifest.Edit{}
	num := base.FileNum(0)
	add := func(level int, run uint64, tables int, size uint64) {
		for i := range tables {
			num++
			step := 1_000_000 / tables
			seq := base.SeqNum(run*10 + uint64(6-level)*1000)
			e.Add = append(e.Add, manifest.NewFile{Level: level, Meta: &manifest.FileMeta{
				Num: num, Run: run, Size: size, Entries: 1000, Deletes: 1, Format: base.FormatNewest,
				Smallest: fmt.Appendf(nil, "user%08d", i*step), Largest: fmt.Appendf(nil, "user%08d", (i+1)*step-1),
				SmallestSeq: seq, LargestSeq: seq,
			}})
		}
	}
	add(6, 1, n-n/8, 8<<20)
	for run := range 3 {
		add(5, uint64(run+1), n/24, 8<<20)
	}
	add(0, 7, 8, 8<<20)
	add(0, 8, 8, 8<<20)
	v, err := (&manifest.Version{}).Apply(e)
	if err != nil {
		panic(err)
	}
	return v
}

// BenchmarkPick picks in a tree at rest, the most expensive case: the picker examines all
// of it.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := bigVersion(n)
			b.ReportAllocs()
			for b.Loop() {
				if j, ok := pickOne(v, nil, Workload{}, DefaultConfig()); ok {
					b.Fatalf("%v is due", &j)
				}
			}
		})
	}
}
