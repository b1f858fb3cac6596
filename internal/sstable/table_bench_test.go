package sstable

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/compress"
)

var benchKeys = flag.Int("keys", 100_000, "entries in benchmarked tables")

// benchTable makes a table of n entries with values of 100 bytes, all in the
// cache.
func benchTable(b testing.TB, keys [][]byte, o WriterOptions) *Reader {
	value := randomBytes(rand.New(rand.NewPCG(1, 1)), 100, 256)
	o.ID = testID
	var buf bytes.Buffer
	w := NewWriter(&buf, o)
	for i, k := range keys {
		if err := w.Add(k, base.MakeTrailer(base.SeqNum(1+i*7919%len(keys)), base.KindPut), value); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.Finish(); err != nil {
		b.Fatal(err)
	}
	c := cache.New(cache.Options{Budget: int64(buf.Len())*3/2 + 32<<20})
	b.Cleanup(c.Close)
	r := openTable(b, buf.Bytes(), c)
	for n := range r.index.pages {
		var it Iter
		it.Init(r, IterOptions{})
		it.enter(n, noHint)
		it.Close()
	}
	return r
}

func uniformKeys(n int) [][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = binary.BigEndian.AppendUint64(nil, rnd.Uint64())
		keys[i] = binary.BigEndian.AppendUint64(keys[i], rnd.Uint64())
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

func decimalKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "user%012d", i)
	}
	return keys
}

var benchSets = []struct {
	name string
	make func(n int) [][]byte
}{{"uniform", uniformKeys}, {"decimal", decimalKeys}}

// order is a fixed random walk over n things.
func order(n int) []int32 {
	p := make([]int32, 1<<16)
	rnd := rand.New(rand.NewPCG(5, 5))
	for i := range p {
		p[i] = int32(rnd.IntN(n))
	}
	return p
}

func BenchmarkGet(b *testing.B) {
	for _, set := range benchSets {
		keys := set.make(*benchKeys)
		for _, mode := range []string{"auto", "fences"} {
			r := benchTable(b, keys, WriterOptions{FilterBits: 10, Index: modes[mode]})
			at := order(len(keys))
			b.Run(set.name+"/"+mode, func(b *testing.B) {
				b.ReportAllocs()
				var res Result
				quiet(b, func(i int) {
					key := keys[at[i&(1<<16-1)]]
					ok, err := r.Get(key, base.SeqNumMax, &res)
					if !ok || err != nil {
						b.Fatal(ok, err)
					}
					res.Release()
				})
			})
		}
	}
}

func BenchmarkGetMissing(b *testing.B) {
	keys := uniformKeys(*benchKeys)
	r := benchTable(b, keys, WriterOptions{FilterBits: 10})
	at := order(len(keys))
	absent := make([][]byte, len(keys))
	for i, k := range keys {
		absent[i] = append(bytes.Clone(k), 'x')
	}
	b.Run("filter", func(b *testing.B) {
		n, passed := 0, 0
		quiet(b, func(i int) {
			n++
			if r.MayContain(base.Hash(absent[at[i&(1<<16-1)]])) {
				passed++
			}
		})
		b.ReportMetric(float64(passed)/float64(n), "passed/op")
	})
	b.Run("page", func(b *testing.B) {
		var res Result
		quiet(b, func(i int) {
			if ok, err := r.Get(absent[at[i&(1<<16-1)]], base.SeqNumMax, &res); ok || err != nil {
				b.Fatal(ok, err)
			}
		})
	})
}

func BenchmarkSeek(b *testing.B) {
	for _, set := range benchSets {
		keys := set.make(*benchKeys)
		r := benchTable(b, keys, WriterOptions{})
		at := order(len(keys))
		b.Run(set.name, func(b *testing.B) {
			b.ReportAllocs()
			it := r.NewIter(IterOptions{})
			defer it.Close()
			quiet(b, func(i int) {
				if it.SeekGE(keys[at[i&(1<<16-1)]], base.TrailerMax) == nil {
					b.Fatal(it.Err())
				}
			})
		})
	}
}

func BenchmarkNext(b *testing.B) {
	for _, set := range benchSets {
		r := benchTable(b, set.make(*benchKeys), WriterOptions{})
		b.Run(set.name, func(b *testing.B) {
			b.ReportAllocs()
			it := r.NewIter(IterOptions{})
			defer it.Close()
			quiet(b, func(int) {
				if it.Next() == nil {
					it.First()
				}
			})
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	value := randomBytes(rand.New(rand.NewPCG(1, 1)), 100, 256)
	for _, set := range benchSets {
		keys := set.make(20_000)
		for _, codec := range []compress.Codec{compress.None, compress.S2} {
			b.Run(fmt.Sprintf("%s/%v", set.name, codec), func(b *testing.B) {
				b.ReportAllocs()
				best, train := time.Duration(1<<62), int64(0)
				for b.Loop() {
					begin := time.Now()
					w := NewWriter(io.Discard, WriterOptions{ID: testID, FilterBits: 10, Codec: codec})
					for _, k := range keys {
						if err := w.Add(k, 256, value); err != nil {
							b.Fatal(err)
						}
					}
					info, err := w.Finish()
					if err != nil {
						b.Fatal(err)
					}
					if d := time.Since(begin); d < best {
						best, train = d, info.Props.TrainNanos
					}
				}
				b.ReportMetric(float64(best.Nanoseconds())/float64(len(keys)), "best-ns/key")
				b.ReportMetric(float64(train)/float64(len(keys)), "train-ns/key")
			})
		}
	}
}
