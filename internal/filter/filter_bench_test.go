package filter

import (
	"fmt"
	"testing"
)

// BenchmarkMayContain asks for absent and for present keys: of one filter that
// stays in the core's cache, and of many that do not, as in a real tree.
func BenchmarkMayContain(b *testing.B) {
	for _, bits := range []float64{8, 10, 12, 16} {
		for _, filters := range []int{1, 256} {
			b.Run(fmt.Sprintf("bits=%v/filters=%d", bits, filters), func(b *testing.B) {
				in := hashes(1, 100_000)
				fs := make([]Filter, filters)
				for i := range fs {
					f, err := Open(build(in, bits))
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
	var builder Builder
	var out []byte
	for b.Loop() {
		builder.Reset()
		for _, h := range in {
			builder.AddHash(h)
		}
		out = builder.Finish(out[:0], 10)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(in)), "ns/key")
}
