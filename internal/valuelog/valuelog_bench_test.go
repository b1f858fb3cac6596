package valuelog

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/compress"
)

// benchPairs are values of which half is noise.
func benchPairs(n, size int) []pair {
	rnd := rand.New(rand.NewPCG(3, 4))
	pairs := make([]pair, n)
	for i := range pairs {
		v := make([]byte, size)
		for k := range size / 2 {
			v[k] = byte(rnd.Uint32())
		}
		pairs[i] = pair{key: fmt.Appendf(nil, "key%013d", i), value: v}
	}
	return pairs
}

func BenchmarkAdd(b *testing.B) {
	for _, codec := range []compress.Codec{compress.None, compress.S2} {
		b.Run(codec.String(), func(b *testing.B) {
			pairs := benchPairs(1000, 1024)
			w := NewWriter(io.Discard, testID, codec)
			b.SetBytes(1040)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p := &pairs[i%len(pairs)]
				if _, err := w.Add(p.key, p.value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, codec := range []compress.Codec{compress.None, compress.S2} {
		pairs := benchPairs(1000, 1024)
		data := build(b, codec, pairs)
		c := cache.New(cache.Options{Budget: 64 << 20})
		r := open(b, data, c)
		for name, read := range readers(r) {
			b.Run(codec.String()+"/"+name, func(b *testing.B) {
				var dst []byte
				var err error
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if dst, err = read(dst[:0], pairs[i%len(pairs)].p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		c.Close()
	}
}
