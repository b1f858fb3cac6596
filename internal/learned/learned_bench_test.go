package learned

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var sink uint64

func BenchmarkNumber(b *testing.B) {
	keys := make([][]byte, 1024)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "%016x", rand.Uint64())
	}
	for name, c := range map[string]*Code{"raw": nil, "hex": describe(keys, 0)} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				sink += c.Number(keys[i&1023], 0)
			}
		})
	}
}

func BenchmarkPosition(b *testing.B) {
	m := Model{X0: 12345, Slope: 1 << 50, Shift: 3}
	for i := uint64(0); b.Loop(); i++ {
		sink += m.Position(i << 20)
	}
}

func BenchmarkFit(b *testing.B) {
	const n = 9000
	for name, gen := range numberSets {
		xs, ws := make([]uint64, n), make([]uint64, n+1)
		r := rand.New(rand.NewPCG(1, 1))
		for i := range xs {
			xs[i] = gen(r, i)
			ws[i+1] = ws[i] + 116
		}
		slices.Sort(xs)
		b.Run(name, func(b *testing.B) {
			var f Fitter
			for b.Loop() {
				f.Fit(xs, ws, Limits{Target: 8192, Min: 2048, Max: 16384})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/key")
		})
	}
}
