package valuecodec

import (
	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/merger"
)

// Int64 stores integers in the form of merger.Counter, in 8 bytes.
var Int64 Codec[int64] = int64Codec{}

type int64Codec struct{}

func (int64Codec) Append(dst []byte, v int64) ([]byte, error) { return merger.AppendInt64(dst, v), nil }
func (int64Codec) Decode(b []byte) (int64, error)             { return merger.Int64(b) }

// Ordered stores values with a codec of keys. Their encodings are ordered like
// the values, so that merger.Max and merger.Min keep the largest and the
// smallest: Ordered(keycodec.Time), say, for when something was last seen.
func Ordered[V any](c keycodec.Codec[V]) Codec[V] { return orderedCodec[V]{c} }

type orderedCodec[V any] struct{ c keycodec.Codec[V] }

func (o orderedCodec[V]) Append(dst []byte, v V) ([]byte, error) { return o.c.Append(dst, v), nil }
func (o orderedCodec[V]) Decode(b []byte) (V, error)             { return o.c.Decode(b) }

// Set stores sets in the form of merger.Union. The elements of a slice may come
// in any order and repeat; it decodes to each of them once, in the order of
// their encodings, and to an empty slice, not nil, if there are none. Merge
// operands are the elements to add.
func Set[E any](element Codec[E]) Codec[[]E] { return setCodec[E]{element} }

type setCodec[E any] struct{ element Codec[E] }

func (s setCodec[E]) Append(dst []byte, v []E) ([]byte, error) {
	elements := make([][]byte, len(v))
	for i := range v {
		var err error
		if elements[i], err = s.element.Append(nil, v[i]); err != nil {
			return dst, err
		}
	}
	return merger.AppendSet(dst, elements...), nil
}

func (s setCodec[E]) Decode(b []byte) ([]E, error) {
	elements, err := merger.Set(b)
	if err != nil {
		return nil, err
	}
	v := make([]E, len(elements))
	for i := range elements {
		if v[i], err = s.element.Decode(elements[i]); err != nil {
			return nil, err
		}
	}
	return v, nil
}
