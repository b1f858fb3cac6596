package batch

import (
	"encoding/binary"
	"testing"
)

// BenchmarkPut encodes a batch of one small operation, as DB.Put does.
func BenchmarkPut(b *testing.B) {
	var batch Batch
	key, value := make([]byte, 16), make([]byte, 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint64(key, uint64(i))
		batch.Reset()
		if err := batch.Put(0, key, value); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPutMany adds to one batch; the figure is per operation.
func BenchmarkPutMany(b *testing.B) {
	var batch Batch
	key, value := make([]byte, 16), make([]byte, 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%1000 == 0 {
			batch.Reset()
		}
		_ = batch.Put(0, key, value)
	}
}

// BenchmarkRead decodes a batch of 1000 operations; the figure is for all.
func BenchmarkRead(b *testing.B) {
	var batch Batch
	for range 1000 {
		_ = batch.Put(0, make([]byte, 16), make([]byte, 100))
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		r, err := Decode(batch.Data)
		for err == nil {
			var ok bool
			var op Op
			if op, ok, err = r.Next(); !ok {
				break
			}
			n += len(op.Key)
		}
	}
	_ = n
}
