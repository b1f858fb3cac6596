package keycodec

import "sync"

// Desc returns a codec with the reverse order of c. Both forms are the inner
// form of c with every bit flipped: flipping reverses the order only of
// encodings of which none is a prefix of another.
func Desc[K any](c Codec[K]) Codec[K] { return desc[K]{c} }

type desc[K any] struct{ c Codec[K] }

func (d desc[K]) AppendInner(dst []byte, k K) []byte {
	n := len(dst)
	dst = d.c.AppendInner(dst, k)
	flip(dst[n:])
	return dst
}

func (d desc[K]) Append(dst []byte, k K) []byte { return d.AppendInner(dst, k) }

func (d desc[K]) Decode(b []byte) (K, error) { return whole(d.DecodeInner(b)) }

// flipped has buffers for decoding: decoded values do not point into them.
var flipped = sync.Pool{New: func() any { return new([]byte) }}

// flippedMax bounds the buffers that are kept, so that a rare huge key does not
// stay in memory for ever.
const flippedMax = 64 << 10

func (d desc[K]) DecodeInner(b []byte) (K, []byte, error) {
	buf := flipped.Get().(*[]byte)
	*buf = append((*buf)[:0], b...)
	flip(*buf)
	k, rest, err := d.c.DecodeInner(*buf)
	if cap(*buf) <= flippedMax {
		flipped.Put(buf)
	}
	if err != nil {
		return k, nil, err
	}
	return k, b[len(b)-len(rest):], nil
}

func flip(b []byte) {
	for i := range b {
		b[i] ^= 0xff
	}
}
