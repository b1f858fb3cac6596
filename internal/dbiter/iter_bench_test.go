package dbiter

import (
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/merger"
)

// bench is a rig to fill with many keys.
type bench struct{ *rig }

// every commits an operation of every n-th key.
func (r bench) every(n int, op func(b *batch.Batch, key []byte) error) {
	r.Commit(func(b *batch.Batch) {
		for i := 0; i < 20_000; i += n {
			r.Check(op(b, fmt.Appendf(nil, "key%013d", i)))
		}
	})
}

func putBench(b *batch.Batch, key []byte) error { return b.Put(0, key, make([]byte, 100)) }
func delBench(b *batch.Batch, key []byte) error { return b.Delete(0, key) }
func addBench(b *batch.Batch, key []byte) error { return b.Merge(0, key, key) }
func ttlBench(b *batch.Batch, key []byte) error { return b.PutTTL(0, key, make([]byte, 100), 1<<60) }

// benchShapes are what scans go over. Each begins with a table of all keys.
var benchShapes = []struct {
	name string
	fill func(r bench)
}{
	{"table", func(bench) {}},
	{"sources", func(r bench) {
		r.every(5, putBench)
		r.flush()
		r.every(20, putBench)
	}},
	{"expiry", func(r bench) { r.every(1, ttlBench) }},
	{"tombstones", func(r bench) { r.every(2, delBench) }},
	{"range", func(r bench) {
		r.Commit(func(b *batch.Batch) {
			r.Check(b.DeleteRange(0, []byte("key0000000010000"), []byte("key0000000010010")))
		})
	}},
	{"operands", func(r bench) {
		r.every(1, addBench)
		r.every(1, addBench)
	}},
}

func BenchmarkNext(b *testing.B) { benchmarkMoves(b, (*Iter).First, (*Iter).Next) }

func BenchmarkPrev(b *testing.B) { benchmarkMoves(b, (*Iter).Last, (*Iter).Prev) }

func benchmarkMoves(b *testing.B, start, step func(*Iter) bool) {
	for _, s := range benchShapes {
		b.Run(s.name, func(b *testing.B) {
			r := bench{newRig(b, readstatetest.Options{Merger: merger.Append{}, KeepAll: true, Memtable: 16 << 20})}
			r.env.DeadMin, r.env.FoldFrom = DefaultDeadMin, DefaultFoldFrom
			r.every(1, putBench)
			r.flush()
			s.fill(r)
			it := r.newest()
			for b.Loop() {
				if !step(it) && !start(it) {
					b.Fatal(it.Err())
				}
			}
			r.Check(it.Close())
		})
	}
}
