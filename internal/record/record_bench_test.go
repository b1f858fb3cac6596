package record

import (
	"bytes"
	"io"
	"testing"
)

func BenchmarkAppend(b *testing.B) {
	payload := make([]byte, 120)
	var buf []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	var off int64
	for b.Loop() {
		if len(buf) > 1<<20 {
			buf = buf[:0]
		}
		buf = Append(buf, testID, off, KindData, off, payload)
		off += Size(len(payload))
	}
}

// BenchmarkRead reads 1000 records of 120 bytes; the figure is for all.
func BenchmarkRead(b *testing.B) {
	f := newFile()
	for range 1000 {
		f.add(string(make([]byte, 120)))
	}
	b.SetBytes(int64(len(f.data)))
	for b.Loop() {
		r := NewReader(bytes.NewReader(f.data), int64(len(f.data)), testID)
		var err error
		for err == nil {
			_, _, err = r.Next()
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}
