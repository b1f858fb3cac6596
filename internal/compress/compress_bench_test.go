package compress

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The pages of which Default was chosen: 8 KiB, half of each value noise.
func BenchmarkEncode(b *testing.B) {
	for _, ratio := range []float64{0.25, 0.5, 1} {
		src := page(rand.New(rand.NewPCG(9, 9)), 8192, ratio)
		for _, c := range codecs[1:] {
			b.Run(fmt.Sprintf("%v/noise=%v", c, ratio), func(b *testing.B) {
				var dst []byte
				b.SetBytes(int64(len(src)))
				b.ReportAllocs()
				for b.Loop() {
					dst = Encode(dst[:0], src, c)
				}
				b.ReportMetric(float64(len(dst))/float64(len(src)), "size")
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, ratio := range []float64{0.25, 0.5, 1} {
		src := page(rand.New(rand.NewPCG(9, 9)), 8192, ratio)
		for _, c := range codecs {
			b.Run(fmt.Sprintf("%v/noise=%v", c, ratio), func(b *testing.B) {
				enc, dst := Encode(nil, src, c), make([]byte, len(src))
				b.SetBytes(int64(len(src)))
				b.ReportAllocs()
				for b.Loop() {
					if err := Decode(dst, enc, c); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
