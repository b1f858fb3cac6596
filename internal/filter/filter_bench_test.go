package filter

import (
	"fmt"
	"testing"
)

// BenchmarkMayContain asks for absent keys: of one filter that stays in the
// core's cache, and of many that do not, as in a real tree.
func BenchmarkMayContain(b *testing.B) {
	in := hashes(1, 100_000)
	for _, kind := range []struct {
		name string
		data []byte
	}{{"bloom8", build(in, 8)}, {"bloom10", build(in, 10)}, {"bloom16", build(in, 16)}, {"fuse", buildFuse(in)}} {
		for _, filters := range []int{1, 256} {
			b.Run(fmt.Sprintf("%s/filters=%d", kind.name, filters), func(b *testing.B) {
				fs := make([]Filter, filters)
				for i := range fs {
					f, err := Open(append([]byte(nil), kind.data...))
					if err != nil {
						b.Fatal(err)
					}
					fs[i] = f
				}
				h, hit := uint64(1), 0
				for b.Loop() {
					h = h*6364136223846793005 + 1442695040888963407
					if fs[h>>32%uint64(filters)].MayContain(h) {
						hit++
					}
				}
			})
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	in := hashes(1, 500_000)
	for _, fuse := range []bool{false, true} {
		b.Run(fmt.Sprintf("fuse=%v", fuse), func(b *testing.B) {
			var builder Builder
			var out []byte
			for b.Loop() {
				builder.Reset()
				for _, h := range in {
					builder.AddHash(h)
				}
				if fuse {
					out = builder.FinishFuse(out[:0], 10)
				} else {
					out = builder.Finish(out[:0], 10)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(in)), "ns/key")
		})
	}
}
