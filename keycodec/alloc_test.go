package keycodec

import (
	"testing"
	"time"
)

// TestNothingIsAllocated checks that encoding takes no memory when there is
// room, and decoding only what the value needs.
func TestNothingIsAllocated(t *testing.T) {
	t.Run("integer", func(t *testing.T) { allocs(t, Int64, -7, 0) })
	t.Run("varint", func(t *testing.T) { allocs(t, Varint, -700, 0) })
	t.Run("uvarint", func(t *testing.T) { allocs(t, Uvarint, 700, 0) })
	t.Run("bool", func(t *testing.T) { allocs(t, Bool, true, 0) })
	t.Run("float64", func(t *testing.T) { allocs(t, Float64, 1.5, 0) })
	t.Run("float32", func(t *testing.T) { allocs(t, Float32, 1.5, 0) })
	t.Run("time", func(t *testing.T) { allocs(t, Time, time.Unix(1, 2), 0) })
	t.Run("array", func(t *testing.T) { allocs(t, ArrayOf[uuid](), uuid{1}, 0) })
	t.Run("string", func(t *testing.T) { allocs(t, String, "some text that is not tiny, \x00 in it", 3) }) // the last form, the inner one and its unescaping
	t.Run("bytes", func(t *testing.T) { allocs(t, Bytes, []byte("some text that is not tiny, \x00 in it"), 2) })
	t.Run("desc", func(t *testing.T) { allocs(t, Desc(Int64), 5, 0) })
	t.Run("convert", func(t *testing.T) { allocs(t, positive(), 5, 0) })
	t.Run("tuple", func(t *testing.T) {
		allocs(t, QuadOf(Int64, Desc(Time), PairOf(Bool, Varint), Uint8),
			Quad[int64, time.Time, Pair[bool, int64], uint8]{-1, time.Unix(5, 0), Pair[bool, int64]{true, 1000}, 9}, 0)
	})
}

func allocs[K any](t *testing.T, c Codec[K], k K, decoding float64) {
	t.Helper()
	if raceEnabled {
		t.Skip("the buffers of Desc are forgotten at random")
	}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(200, func() {
		buf = c.AppendInner(c.Append(buf[:0], k), k)
	}); n != 0 {
		t.Errorf("encoding allocates %v times", n)
	}
	last, inner := c.Append(nil, k), c.AppendInner(nil, k)
	var err, err2 error
	if n := testing.AllocsPerRun(200, func() {
		_, err = c.Decode(last)
		_, _, err2 = c.DecodeInner(inner)
	}); n > decoding {
		t.Errorf("decoding allocates %v times, not %v", n, decoding)
	}
	if err != nil || err2 != nil {
		t.Error(err, err2)
	}
}

// BenchmarkPair encodes and decodes what most tuples look like.
func BenchmarkPair(b *testing.B) {
	c := PairOf(String, Int64)
	k := Pair[string, int64]{"some-user-name", 123456}
	buf := make([]byte, 0, 64)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = c.Append(buf[:0], k)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Decode(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
